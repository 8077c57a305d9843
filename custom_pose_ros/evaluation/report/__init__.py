"""The pages that people read, and the annotated video."""
