"""The messages and services of custom_pose_msgs, or a hint how to build them: the only import of that package."""

try:
    from custom_pose_msgs.msg import Keypoint, Orientation, OrientationArray, Pose, PoseArray
    from custom_pose_msgs.srv import SwitchObject
except ImportError as error:
    raise ImportError(
        'custom_pose_msgs is not built or not sourced (plain "colcon build" does not find the nested package). '
        'With ROS 2: "colcon build --base-paths . custom_pose_msgs" in the repository, then source install/setup.bash. '
        f'Without ROS 2: "make demo" builds it into .venv. ({error})'
    ) from error

__all__ = ['Keypoint', 'Orientation', 'OrientationArray', 'Pose', 'PoseArray', 'SwitchObject']
