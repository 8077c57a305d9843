"""What stands where: random scenes and smooth motions."""
