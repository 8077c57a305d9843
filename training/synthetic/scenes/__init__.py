"""Random scenes and smooth motions, and the labels of what is in them."""
