"""The ROS side: the only package, with two tools, that imports rclpy and messages."""
