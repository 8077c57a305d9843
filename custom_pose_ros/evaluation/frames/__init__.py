"""What the estimators find in the images of a bag, or what was recorded with it, frame by frame."""
