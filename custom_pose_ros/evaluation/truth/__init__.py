"""True poses of the object: topics, TF, tags, labels, and how they become poses in the camera."""
