"""
Measure the face estimator on labelled public samples: found, landmark errors, orientation, and the errors' spread.

    python test/benchmarks/faces.py FOLDER          # tests/data of a checkout of github.com/open-mmlab/mmpose
    python test/benchmarks/faces.py --speed         # one drawn face that is followed at 640x480, image to orientation

Errors are in per cent of the distance between the outer corners of the eyes. Orientation is compared with PnP on the
labels. The last table is the standard deviation that inference/faces/face_mesh.py states for each landmark.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

from drawn_face import draw_face  # noqa: E402

from custom_pose_ros import CameraIntrinsics, KeypointPose, ObjectModel, OrientationEstimator  # noqa: E402
from custom_pose_ros.inference.faces.face_estimator import FaceEstimator  # noqa: E402

# The landmarks of config/face, in its order, in the numbering of each data set.
LANDMARKS = {
    '300w': (30, 8, 45, 36, 54, 48),
    '300wlp': (30, 8, 45, 36, 54, 48),
    'wflw': (54, 16, 72, 60, 82, 76),
    'cofw': (20, 28, 9, 8, 23, 22),
    'lapa': (54, 16, 79, 66, 90, 84),
}
CHIN = 1
SMALLEST_FACE_PX = 60
ASSUMED_FOV_DEG = 60


class Face(NamedTuple):
    """A labelled face: data set, picture, its (6, 2) landmarks [px]."""

    data_set: str
    image: np.ndarray
    landmarks: np.ndarray


def labelled_faces(folder: Path) -> Iterator[Face]:
    """Yield the faces of the data sets in a folder."""
    for name, numbers in LANDMARKS.items():
        path = folder / name / f'test_{name}.json'
        if not path.is_file():
            continue
        content = json.loads(path.read_text(encoding='utf-8'))
        images = {
            image['id']: cv2.imread(str(folder / name / Path(image['file_name']).name)) for image in content['images']
        }
        for annotation in content['annotations']:
            points = np.array(annotation['keypoints'], float).reshape(-1, 3)[list(numbers), :2]
            yield Face(name, images[annotation['image_id']], points)


def nearest(poses: list[KeypointPose], landmarks: np.ndarray) -> KeypointPose | None:
    """Return the found face that is meant by a label, None when none is."""
    distances = [np.nanmean(np.linalg.norm(pose.keypoints - landmarks, axis=1)) for pose in poses]
    if not distances or min(distances) > 0.5 * np.ptp(landmarks, axis=0).max():
        return None
    return poses[int(np.argmin(distances))]


def angles(model: ObjectModel, image: np.ndarray, keypoints: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Return roll, pitch, yaw [deg] of one image by PnP."""
    count = len(keypoints)
    pose = KeypointPose(
        keypoints=keypoints, covariances=covariances, scores=np.ones(count), visible=np.ones(count, bool), score=1.0
    )
    camera = CameraIntrinsics.from_fov(image.shape[1], image.shape[0], np.radians(ASSUMED_FOV_DEG))
    (estimate,) = OrientationEstimator(model, camera, reference_frame='camera_body').update([pose], 0.0)
    return np.degrees(estimate.roll_pitch_yaw)


def print_speed(model: ObjectModel, estimator: FaceEstimator, frames: int = 300) -> None:
    """Print how long a frame of a stream with one face takes, landmarks and orientation."""
    image = np.full((480, 640, 3), (120, 130, 110), np.uint8)
    draw_face(image, (320, 240), 200)
    camera = CameraIntrinsics.from_fov(640, 480, np.radians(ASSUMED_FOV_DEG))
    orienter = OrientationEstimator(model, camera)
    times_ms = []
    for i in range(frames):
        start = time.perf_counter()
        orienter.update(estimator(image, 'camera'), i / 60)
        times_ms.append(1e3 * (time.perf_counter() - start))
    low, middle, high = np.percentile(times_ms, [10, 50, 90])
    print(f'image to orientation, one face, 640x480: {middle:.1f} ms (10 to 90 %: {low:.1f} to {high:.1f})')


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, nargs='?')
    parser.add_argument('--speed', action='store_true', help='time a followed face instead')
    options = parser.parse_args()
    if options.speed == (options.folder is not None):
        parser.error('give the folder of the samples, or --speed')
    model = ObjectModel.load(ROOT / 'config' / 'face')
    estimator = FaceEstimator(model)
    if options.speed:
        print_speed(model, estimator)
        return 0
    errors, turned, spread, missed = [], [], [], 0
    print(
        f'{"data set":10}{"face px":>8}'
        + ''.join(f'{name[:14]:>15}' for name in model.keypoint_names)
        + '   r, p, y deg'
    )
    for face in labelled_faces(options.folder):
        pose = nearest(estimator(face.image), face.landmarks)
        size = float(np.ptp(face.landmarks, axis=0).max())
        if pose is None:
            missed += size >= SMALLEST_FACE_PX
            print(f'{face.data_set:10}{size:8.0f}  not found')
            continue
        across = face.landmarks[2] - face.landmarks[3]
        eyes = np.linalg.norm(across)
        offsets = pose.keypoints - face.landmarks
        error = 100 * np.linalg.norm(offsets, axis=1) / eyes
        turn = angles(model, face.image, pose.keypoints, pose.covariances)
        turn -= angles(model, face.image, face.landmarks, pose.covariances)
        turn = (turn + 180) % 360 - 180
        print(
            f'{face.data_set:10}{size:8.0f}' + ''.join(f'{value:15.1f}' for value in error),
            '  ' + ', '.join(f'{value:.1f}' for value in turn),
        )
        errors.append(error)
        turned.append(np.abs(turn))
        # The covariance's own axes and scale, so that the spread can be compared with what was stated.
        stated = np.sqrt(np.linalg.eigvalsh(pose.covariances).mean(axis=1))
        spread.append(np.linalg.norm(offsets, axis=1) / np.sqrt(2) / stated)
    errors_, chinless = np.array(errors), np.delete(np.array(errors), CHIN, axis=1)
    print(f'\n{len(errors)} faces, {missed} of at least {SMALLEST_FACE_PX} px not found')
    print(f'mean error {errors_.mean():.1f} %, without the chin {chinless.mean():.1f} % of the eye distance')
    print('median difference of roll, pitch, yaw: ' + ', '.join(f'{v:.1f}' for v in np.median(turned, axis=0)) + ' deg')
    ratios = np.sqrt(np.mean(np.square(spread), axis=0))
    print('error over stated deviation: ' + ', '.join(f'{n} {r:.2f}' for n, r in zip(model.keypoint_names, ratios)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
