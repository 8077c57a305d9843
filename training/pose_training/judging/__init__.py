"""How good a network is: keypoint errors, average precision, drift between precisions, suspect labels."""
