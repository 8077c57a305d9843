"""Source of the true poses in a bag, and their transformation into the camera for each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import ConfigError, UsageError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.evaluation.bags.reader import Bag, is_static
from custom_pose_ros.evaluation.bags.topics import TF_TYPES, choose_truth_topic
from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.notes import Notes
from custom_pose_ros.evaluation.truth.alignment import Alignment, estimate_alignment, read_alignment
from custom_pose_ros.evaluation.truth.tracks import MAX_GAP_S, Trajectory, TransformTree, read_poses

# Estimates that are more likely flipped than this take no part in the alignment. Laxer than AMBIGUOUS: the alignment
# lets go of flipped ones by itself, and needs many frames.
MAX_AMBIGUITY_TO_ALIGN = 0.2


@dataclass(frozen=True)
class TruthSettings:
    """
    What the user says about the truth.

    Attributes:
        topic: Pose topic.
        tf: (object frame,) or (camera frame, object frame).
        tags: YAML of AprilTags on the object.
        moves: 'object' when the truth is the pose of the object's body, 'camera' when it is that of the camera's body
            in a world in which the object stands still.
        extrinsics: 'auto', 'identity', 'estimate' or a YAML of fixed transforms.
        offset_s: Added to the stamps of the truth.
        max_gap_s: Longest hole in the truth to interpolate over.
    """

    topic: str | None = None
    tf: tuple[str, ...] = ()
    tags: Path | None = None
    moves: str = 'object'
    extrinsics: str = 'auto'
    offset_s: float = 0.0
    max_gap_s: float = MAX_GAP_S

    @property
    def kind(self) -> str | None:
        """'topic', 'tf', 'tags', or None; UsageError when more than one is given."""
        given = [name for name in ('topic', 'tf', 'tags') if getattr(self, name)]
        if len(given) > 1:
            raise UsageError('give one truth: --truth, --truth-tf or --truth-tags')
        return given[0] if given else None


class TruthSource:
    """Collects true poses while the bag is read and gives camera_object for each frame afterwards."""

    def __init__(self, settings: TruthSettings, bag: Bag, notes: Notes):
        """Raise UsageError when the bag has no such topic."""
        self.settings, self.notes = settings, notes
        self.kind = settings.kind
        self.topics: tuple[str, ...] = ()
        self.frame = ''
        self._offset_ns = round(settings.offset_s * 1e9)
        self._track = Trajectory(settings.max_gap_s)
        self._tree = TransformTree(settings.max_gap_s)
        self._static_topics: set[str] = set()
        if self.kind == 'topic':
            self.topics = (choose_truth_topic(bag.topics, str(settings.topic)).name,)
        elif self.kind == 'tf':
            self.topics = tuple(sorted(t.name for t in bag.topics.values() if t.msgtype in TF_TYPES))
            self._static_topics = {name for name in self.topics if is_static(name)}
            if not self.topics:
                raise UsageError('--truth-tf: the bag has no /tf')

    def add(self, topic: str, message: Any, time_ns: int) -> None:
        """Remember the poses of a message of one of `topics`."""
        for stamped in read_poses(message):
            stamp_ns = (stamped.stamp_ns or time_ns) + self._offset_ns
            if self.kind == 'tf':
                self._tree.add(stamp_ns, stamped.frame, stamped.child, stamped.pose, topic in self._static_topics)
            else:
                self.frame = self.frame or stamped.frame
                self._track.add(stamp_ns, stamped.pose)

    def camera_objects(self, results: Sequence[FrameResult], camera_frame: str) -> tuple[list[Rigid | None], Alignment]:
        """
        Return camera_object of each result (None where unknown) and the alignment used. camera_frame : of the images.

        Raises ConfigError when there is no truth for any frame, or the alignment cannot be estimated.
        """
        if self.kind == 'tags':
            poses = [result.truth for result in results]
        else:
            poses = [self._at(result.stamp_ns, camera_frame) for result in results]
        if not any(pose is not None for pose in poses):
            raise ConfigError(self._why_none(results, camera_frame))
        alignment = self._alignment(results, poses, camera_frame)
        return [None if pose is None else alignment.apply(pose) for pose in poses], alignment

    def _at(self, stamp_ns: int, camera_frame: str) -> Rigid | None:
        if self.kind == 'topic':
            pose = self._track.at(stamp_ns)
        else:
            camera, target = self._tf_frames(camera_frame)
            pose = self._tree.at(camera, target, stamp_ns)
        if pose is not None and self.settings.moves == 'camera':
            pose = pose.inverse()
        return pose

    def _tf_frames(self, camera_frame: str) -> tuple[str, str]:
        frames = tuple(frame.lstrip('/') for frame in self.settings.tf)
        return (camera_frame.lstrip('/'), frames[0]) if len(frames) == 1 else (frames[0], frames[1])

    def _alignment(self, results: Sequence[FrameResult], poses: Sequence[Rigid | None], camera_frame: str) -> Alignment:
        wanted = self.settings.extrinsics
        if wanted == 'auto':
            wanted = 'identity' if self._is_in_camera(camera_frame) else 'estimate'
            if wanted == 'estimate':
                self.notes.info(
                    f'the truth is given in {self.frame!r}, the images are in {camera_frame!r}: '
                    'extrinsics are estimated'
                )
        if wanted == 'identity':
            return Alignment()
        if wanted != 'estimate':
            return read_alignment(wanted)
        pairs = [(_measured(result), pose) for result, pose in zip(results, poses) if pose is not None]
        usable = [(measured, pose) for measured, pose in pairs if measured is not None]
        alignment = estimate_alignment([measured for measured, _ in usable], [pose for _, pose in usable])
        self.notes.info(
            'the extrinsics are estimated from the frames that are scored: '
            'an error that is the same in all of them does not show'
        )
        if not alignment.unique:
            self.notes.info(
                'the motion does not tell the two extrinsic transforms apart; the errors are right all the same'
            )
        return alignment

    def _is_in_camera(self, camera_frame: str) -> bool:
        """Whether the truth already is the pose in the camera."""
        return self.kind in ('tags', 'tf') or (
            self.frame == camera_frame.lstrip('/') and self.settings.moves == 'object'
        )

    def _why_none(self, results: Sequence[FrameResult], camera_frame: str) -> str:
        if self.kind == 'tags':
            return '--truth-tags: no frame shows the tags well enough; check family (tag36h11), ids and calibration'
        if self.kind == 'tf':
            camera, target = self._tf_frames(camera_frame)
            known = ', '.join(self._tree.frames) or 'none'
            if not self._tree.connected(camera, target):
                return f'--truth-tf: {camera!r} and {target!r} are not connected; frames in the bag: {known}'
            place = f'from {camera!r} to {target!r}'
            return f'--truth-tf: no transform {place} at the stamps of the images; check --truth-offset'
        if not len(self._track):
            return f'--truth {self.topics[0]}: no usable pose in it'
        return f'--truth {self.topics[0]}: its stamps and those of the images do not overlap; check --truth-offset'


def _measured(result: FrameResult) -> Rigid | None:
    """Return the clearest measured orientation of a frame, of its best instance."""
    if len(result.scores):
        estimate = result.estimate_of(int(result.scores.argmax()))
    else:
        estimate = next((e for e in result.estimates if not e.coasting), None)
    if estimate is None or estimate.ambiguity > MAX_AMBIGUITY_TO_ALIGN or estimate.outlier_suspected:
        return None
    return estimate.pose
