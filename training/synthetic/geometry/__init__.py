"""Triangle meshes with materials: of mesh files, of simple shapes and of the built-in submarine."""
