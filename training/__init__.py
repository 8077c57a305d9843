"""Offline work: labelled data, training, evaluation and export; never imported by custom_pose_ros."""
