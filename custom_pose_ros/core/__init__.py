"""Pure numpy and OpenCV: geometry, decoding and object files; no ROS, no torch."""
