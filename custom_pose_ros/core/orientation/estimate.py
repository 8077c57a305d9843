"""OrientationEstimate: where one instance is and how it is turned, with covariance, in a named frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import quaternion_from_matrix, roll_pitch_yaw_from_matrix
from custom_pose_ros.core.object_model import ObjectModel

CAMERA_OPTICAL = 'camera_optical'  # the frame of every estimate that was not moved to another one
AMBIGUOUS = 0.05  # likelihood of the second solution over that of the best from which on a pose is called ambiguous

_LEAST_SHARE = 1e-13  # of a variance that the other errors do not tell; below it, rounding has left no covariance


@dataclass(frozen=True, kw_only=True, eq=False)
class OrientationEstimate:
    """
    Where one instance is and how it is turned.

    Attributes:
        pose: `frame_object`, maps the object frame to `frame`.
        covariance: (6, 6) over x, y, z [m] and rotations about the fixed X, Y, Z of `frame` [rad] (ROS order):
            R_true = exp(error[3:]) pose.rotation, t_true = pose.translation + error[:3].
        reprojection_error_px: root mean square distance of keypoints and reprojected model points; NaN without them.
        ambiguity: how well the second solution explains what was seen compared with this one, in [0, 1] (likelihood
            ratio; 1: equally well, 0: there is no second one). It is mirrored, or of another identity of the keypoints.
        alternative: pose of the second solution, or None; also None where the other identity shows too little for one.
        frame: name of the frame of pose, alternative and covariance; the camera optical frame (REP 103) at first.
        track_id: as in the KeypointPose.
        keypoints_used: number of keypoints the estimate was computed from; 0 where it was predicted, or measured by the
            outline alone.
        outlier_suspected: True when the keypoints contradict each other.
        outline_agreement: share of the object's lines whose edge the image shows within a pixel, in [0, 1]; NaN where
            the pose was not measured by the outline: no image, no outline, or none that is credible.
        outline_remark: why the outline did not measure the pose, or what contradicts it where it did; mostly empty.
        model: the object, for its zero attitude; None when that is the identity.
        R_reference_frame: (3, 3), maps `frame` to the axes that `roll_pitch_yaw` is about.
    """

    pose: Rigid
    covariance: np.ndarray
    reprojection_error_px: float
    ambiguity: float
    alternative: Rigid | None = None
    frame: str = CAMERA_OPTICAL
    track_id: int | None = None
    keypoints_used: int
    outlier_suspected: bool = False
    outline_agreement: float = math.nan
    outline_remark: str = ''
    model: ObjectModel | None = None
    R_reference_frame: np.ndarray = field(default_factory=lambda: np.eye(3))

    @property
    def R_camera_object(self) -> np.ndarray:
        """(3, 3) rotation of `pose`. Raises ValueError in another frame than the camera's."""
        return self._camera_object.rotation

    @property
    def t_camera_object(self) -> np.ndarray:
        """(3,) translation of `pose` [m]. Raises ValueError in another frame than the camera's."""
        return self._camera_object.translation

    @property
    def _camera_object(self) -> Rigid:
        if self.frame != CAMERA_OPTICAL:
            raise ValueError(f'the pose must be in the frame {CAMERA_OPTICAL!r}, got {self.frame!r}: read `pose`')
        return self.pose

    @property
    def quaternion(self) -> np.ndarray:
        """(4,) unit quaternion x, y, z, w of the rotation of `pose`."""
        return quaternion_from_matrix(self.pose.rotation)

    @property
    def roll_pitch_yaw(self) -> np.ndarray:
        """(3,) fixed-axis angles [rad] about the reference axes X, Y, Z, see `ObjectModel.roll_pitch_yaw`."""
        rotation = self.R_reference_frame @ self.pose.rotation
        return roll_pitch_yaw_from_matrix(rotation) if self.model is None else self.model.roll_pitch_yaw(rotation)

    @property
    def coasting(self) -> bool:
        """Whether this was predicted through a gap, not measured."""
        return self.keypoints_used == 0 and math.isnan(self.outline_agreement)

    @cached_property
    def impossibility(self) -> str | None:
        """Why no object can be there, or no error be distributed so; None when one can. In the camera's frame only."""
        pose, covariance = self._camera_object, self.covariance
        error_px = self.reprojection_error_px if self.keypoints_used else 0.0
        numbers = [part.ravel() for part in (*pose, covariance, *(self.alternative or ()))]
        if not math.isfinite(error_px) or not np.isfinite(np.concatenate(numbers)).all():
            return 'the pose is not finite'
        middle = np.zeros(3) if self.model is None else self.model.middle
        # The origin of an object that is seen may be behind a camera between its parts.
        depth = pose.translation[2]
        if depth + pose.rotation[2] @ middle <= 0.0 or (self.coasting and depth <= 0.0):
            return 'the object would be behind the camera'
        return None if _positive_definite(covariance) else 'the covariance is not positive definite'

    def in_frame(self, name: str, transform: Rigid) -> OrientationEstimate:
        """
        Return this estimate in another frame; roll, pitch and yaw are then about the axes of that frame.

        Args:
            name: of the new frame.
            transform: maps the present `frame` to the new one; taken as exact.
        """
        axes = np.kron(np.eye(2), transform.rotation)  # errors of position and rotation are both about fixed axes
        covariance = axes @ self.covariance @ axes.T
        return replace(
            self,
            pose=transform @ self.pose,
            covariance=0.5 * (covariance + covariance.T),
            alternative=None if self.alternative is None else transform @ self.alternative,
            frame=name,
            R_reference_frame=np.eye(3),
        )


def _positive_definite(covariance: np.ndarray) -> bool:
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return False
    return bool((factor.diagonal() ** 2 > _LEAST_SHARE * covariance.diagonal()).all())
