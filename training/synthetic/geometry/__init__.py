"""What is drawn: triangle meshes from files, simple shapes and the built-in submarine."""
