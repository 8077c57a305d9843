"""Where things are and how they are turned: rigid transforms, rotations, cameras, symmetries."""
