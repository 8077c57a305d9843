"""The clip that the demo plays: a video, its calibration, and where the object is in every frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from custom_pose_ros.core.errors import ConfigError, DatasetError
from custom_pose_ros.core.files import read_json
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.object_model import ObjectModel


@dataclass(frozen=True)
class Clip:
    """The files of a demo clip: video, camera_calibration YAML, ground truth."""

    video: Path
    camera: Path
    truth: Path

    @classmethod
    def find(cls, folder: Path) -> Clip:
        """Return the clip in a folder; ConfigError naming the file that is missing."""
        clip = cls(folder / 'clip.mp4', folder / 'camera.yaml', folder / 'ground_truth.json')
        for path in (clip.video, clip.camera, clip.truth):
            if not path.is_file():
                raise ConfigError(
                    f'{path}: no such file; the demo wants clip.mp4, camera.yaml and ground_truth.json there'
                )
        return clip

    def true_poses(self, model: ObjectModel | None = None) -> list[Rigid]:
        """
        Read the pose `camera_object` of every frame.

        Args:
            model: The object that the file must be about.

        Raises:
            DatasetError: The file is missing, damaged or about another object.
        """
        try:
            data = read_json(self.truth)
            names, frames = tuple(data['keypoints']), data['frames']
            poses = [
                Rigid(
                    np.array(frame['R_camera_object'], float).reshape(3, 3),
                    np.array(frame['t_camera_object'], float).reshape(3),
                )
                for frame in frames
            ]
        except DatasetError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f'{self.truth}: is not a ground truth of the demo ({error!r})') from error
        if model is not None and names != model.keypoint_names:
            wanted = ', '.join(model.keypoint_names)
            raise DatasetError(f'{self.truth}: is about keypoints {", ".join(map(str, names))}, wanted {wanted}')
        if not poses:
            raise DatasetError(f'{self.truth}: has no frames')
        return poses
