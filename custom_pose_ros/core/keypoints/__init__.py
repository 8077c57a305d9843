"""Network maps to instances: preprocessing, heatmaps, part affinity fields, grouping, tracking."""
