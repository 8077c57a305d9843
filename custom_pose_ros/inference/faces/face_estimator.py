"""FaceEstimator: BGR images in, keypoint poses of faces out; detect, turn upright, read landmarks, follow the crop."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.preprocessing import check_image
from custom_pose_ros.core.object_file import Thresholds
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import Backend, LoadedNetwork
from custom_pose_ros.inference.faces.face_detector import FaceDetector, Region, regions_of
from custom_pose_ros.inference.faces.face_mesh import Crop, FaceMesh, FaceShape, LandmarkReader

_SMALLEST_FACE_PX = 50.0  # that a search is made to find; somewhat below the 60 px that are promised
_MIN_DETECTION_SCORE = 0.5
_MIN_PRESENCE = (
    0.9  # of a new face in its crop; those of the labelled ones in docs/people_and_faces.md were all above 0.99
)
_MIN_FOLLOWED_PRESENCE = 0.5
_MAX_FITS = 5  # of a new face, each in the crop that the fit before asks for
_SETTLED = 0.03  # movement of a landmark from fit to fit, as a share of the crop; more on faces that are misread
_DETECTION_MARGIN = 1.5  # side of the first crop over the detected box
_SEARCHED_PER_FRAME = 4  # regions of a stream without a face
_SAME_FACE = 0.5  # two faces whose centres are closer than this share of their size are one


@dataclass
class _Stream:
    """
    What is known of one camera.

    Attributes:
        crops: where its faces were in the last image.
        next_region: which region is searched next.
        lock: held while an image of this stream is answered.
    """

    crops: list[Crop] = field(default_factory=list)
    next_region: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class FaceEstimator:
    """
    Finds faces with the networks of MediaPipe, behind the interface of PoseEstimator.

    Images of a named stream follow each other: faces are followed from crop to crop, and new ones are looked for in a
    part of each image. An image without a stream is searched completely.

    Attributes:
        model: the object file; its keypoints are landmarks that the face mesh knows.
        thresholds: acceptance limits; of them `pose_score`, `min_keypoints` and `max_instances` are used.
        network: what runs the networks.
        input_height: of the object file; without meaning here.
        repeated: always 0.
    """

    def __init__(self, model: ObjectModel, thresholds: Thresholds | None = None, threads: int = 2):
        """
        Load both networks.

        Raises:
            ConfigError: the object has keypoints that the face mesh does not know.
            ModelError: OpenVINO or the networks are not installed.
        """
        self.model = model
        self.thresholds = model.thresholds if thresholds is None else thresholds
        model.check_thresholds(self.thresholds)
        self._read = LandmarkReader(model.keypoint_names)
        self._detect = FaceDetector(threads, _MIN_DETECTION_SCORE)
        self._fit = FaceMesh(threads)
        # Here for what it tells of itself; it does not answer with maps.
        self.network = LoadedNetwork(self._detect.network, choice='the networks of MediaPipe')  # type: ignore[arg-type]
        self.input_height = model.input_height
        self.repeated = 0
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.Lock()

    @property
    def backend(self) -> Backend:
        """What runs the networks: its name, precision and device."""
        return self.network.backend

    def __call__(self, image: np.ndarray, stream: str | None = None) -> list[KeypointPose]:
        """Return the faces in one (H, W, 3) uint8 BGR image, best first, in pixels of that image."""
        check_image(image)
        known = _Stream() if stream is None else self._stream(stream)
        with known.lock:
            regions = self._regions(image, known, complete=stream is None)
            faces = self._faces(image, known.crops, regions)
            known.crops = [face.crop() for face in faces]
        poses = [self._pose(face, image) for face in faces]
        limits = self.thresholds
        return [
            pose for pose in poses if pose.visible.sum() >= limits.min_keypoints and pose.score >= limits.pose_score
        ]

    def warm_up(self) -> None:
        """Run both networks once, so that the first real image is as fast as the others."""
        image = np.zeros((480, 640, 3), np.uint8)
        self(image)
        self._fit(image, Crop(np.array([320.0, 240.0]), 200.0, 0.0))

    def batch(self, images: Sequence[np.ndarray], streams: Sequence[str] | None = None) -> list[list[KeypointPose]]:
        """Return the faces in each of several images, which may differ in size; `streams` names the stream of each."""
        names = [None] * len(images) if streams is None else streams
        return [self(image, name) for image, name in zip(images, names)]

    def _stream(self, name: str) -> _Stream:
        with self._lock:
            return self._streams.setdefault(name, _Stream())

    def _regions(self, image: np.ndarray, stream: _Stream, complete: bool) -> list[Region]:
        """Return where to look for faces that are not known yet: everywhere, or the next regions of a stream."""
        regions = _regions(image.shape[1], image.shape[0])
        if complete:
            return regions
        count = min(1 if stream.crops else _SEARCHED_PER_FRAME, len(regions))
        chosen = [regions[(stream.next_region + i) % len(regions)] for i in range(count)]
        stream.next_region = (stream.next_region + count) % len(regions)
        return chosen

    def _faces(self, image: np.ndarray, crops: list[Crop], regions: list[Region]) -> list[FaceShape]:
        """Return the faces that are followed and those that are new, best first."""
        followed = [self._fit(image, crop) for crop in crops]
        faces = [face for face in followed if face.presence >= _MIN_FOLLOWED_PRESENCE]
        for box in self._detect(image, regions):
            if len(faces) >= self.thresholds.max_instances:
                break
            if not any(_same(box.center, box.size_px, face) for face in faces):
                face = self._settled(image, Crop(box.center, _DETECTION_MARGIN * box.size_px, box.angle))
                if face is not None:
                    faces.append(face)
        kept: list[FaceShape] = []
        for face in sorted(faces, key=lambda face: -face.presence):
            if not any(_same(face.crop().center, face.size_px, other) for other in kept):
                kept.append(face)
        return kept[: self.thresholds.max_instances]

    def _settled(self, image: np.ndarray, crop: Crop) -> FaceShape | None:
        """Return the face in a crop once it stays where it is, None when it does not: then it is misread."""
        face = self._fit(image, crop)
        for _ in range(_MAX_FITS - 1):
            again = self._fit(image, face.crop())
            moved = float(np.abs(again.points - face.points).max()) / face.crop().side_px
            if moved <= _SETTLED:
                return again if again.presence >= _MIN_PRESENCE else None
            face = again
        return None

    def _pose(self, face: FaceShape, image: np.ndarray) -> KeypointPose:
        keypoints, covariances = self._read(face)
        height, width = image.shape[:2]
        seen = np.all((keypoints >= 0) & (keypoints <= (width - 1, height - 1)), axis=1)
        return KeypointPose(
            keypoints=np.where(seen[:, None], keypoints, np.nan),
            covariances=np.where(seen[:, None, None], covariances, np.nan),
            scores=np.where(seen, face.presence, 0.0),
            visible=seen,
            score=face.presence,
        )


def _same(center: np.ndarray, size_px: float, face: FaceShape) -> bool:
    """Return whether a face of this centre and size is that one."""
    distance = float(np.linalg.norm(center - face.crop().center))
    return distance < _SAME_FACE * max(size_px, face.size_px)


@lru_cache(maxsize=16)
def _regions(width: int, height: int) -> list[Region]:
    return regions_of(width, height, _SMALLEST_FACE_PX)
