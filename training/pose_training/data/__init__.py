"""Training samples: images and labels to augmented batches."""
