"""A trained network goes on with unlabelled footage: labels made of what it finds, and whether it got better."""
