"""Triangle meshes with materials: of mesh files, of simple shapes, and what varies about an object."""
