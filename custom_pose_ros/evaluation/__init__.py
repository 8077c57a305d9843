"""Scores a bag: reads it, runs or takes over the estimates, compares them with the truth, reports; no ROS needed."""
