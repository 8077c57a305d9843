"""Labels of every supported format: read, checked, repaired, split, drafted."""
