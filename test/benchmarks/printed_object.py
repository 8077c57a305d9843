"""
Print how well a network finds a printed object in a video: the truth comes from the print of its textured mesh.

python test/benchmarks/printed_object.py build/train/cube/best.pth --mesh ../shared/data/cube/cube.obj \
    --video ../shared/data/cube/cube_video.mp4 --camera cube.yaml --heights 192 256

The pose of a frame is refined from a start until the drawn mesh lies over the image: features of the drawing are
matched with those of the frame nearby, and their places on the mesh give the pose. Starts are the network's poses and
the frame before; what they err by does not stay, as dozens of matches outweigh it. Only frames whose matches do not lie
on one plane are judged: a single side leaves the attitude open. A frame is named right when at least 70 % of the
keypoints that it shows and the network reports lie nearest to their own true place.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from custom_pose_ros import CameraIntrinsics, KeypointPose, OrientationEstimator, PoseEstimator  # noqa: E402
from custom_pose_ros.core.errors import CustomPoseError  # noqa: E402
from custom_pose_ros.core.geometry.rigid import Rigid  # noqa: E402
from custom_pose_ros.inference.copies import CopiesEstimator, add_copies_option  # noqa: E402
from custom_pose_ros.inference.estimator import load_trained  # noqa: E402
from training.synthetic.geometry.object_builder import load_parts  # noqa: E402
from training.synthetic.rendering.gl_probe import require_gl  # noqa: E402
from training.synthetic.rendering.mesh_views import MeshViews  # noqa: E402
from training.synthetic.rendering.renderer import Rendering  # noqa: E402

REACHES_PX = (30, 10, 6)  # how far from its drawn place a feature is looked for, in turn
MAX_DISTANCE, MAX_RATIO = 330, 0.85  # of SIFT descriptors: of a match, and against the next best elsewhere
MIN_MATCHES = 12
MAX_RMS_PX = 1.6
MIN_RELIEF = 0.04  # standard deviation of the matches across their plane, over the object's size; 0 for one side
NAMED_SHARE = 0.7
FAR_PX = 15


class Truth(NamedTuple):
    """Pose of the object in a frame by its print, and the relief of the matched points."""

    camera_object: Rigid
    matches: int
    rms_px: float
    relief: float


class Print:
    """The print of a textured mesh, which is drawn and found again in images of one camera."""

    def __init__(self, mesh: Path, camera: CameraIntrinsics):
        self.camera = camera
        self._views = MeshViews(load_parts(mesh), camera.width, camera.height)
        self._features = cv2.SIFT_create(900, contrastThreshold=0.02)

    def draw(self, camera_object: Rigid) -> Rendering:
        """Return the mesh in a pose."""
        return self._views.render(self.camera, camera_object)

    def features(self, image: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return places (N, 2) and descriptors (N, 128) of the features of an image (H, W, 3)."""
        keypoints, descriptors = self._features.detectAndCompute(image, mask)
        places = np.array([keypoint.pt for keypoint in keypoints]).reshape(-1, 2)
        return places, np.zeros((0, 128)) if descriptors is None else descriptors

    def refined(self, frame: tuple[np.ndarray, np.ndarray], start: Rigid) -> Truth | None:
        """Return the pose in which the print lies over the frame with these features, near a start; or None."""
        truth, at = None, start
        for reach in REACHES_PX:
            truth = self._step(frame, at, reach)
            if truth is None:
                return None
            at = truth.camera_object
        return truth if truth and truth.rms_px < MAX_RMS_PX else None

    def _step(self, frame: tuple[np.ndarray, np.ndarray], at: Rigid, reach: float) -> Truth | None:
        drawing = self.draw(at)
        color = (drawing.color * 255).clip(0, 255).astype(np.uint8)
        inside = cv2.erode((drawing.coverage > 0.99).astype(np.uint8), np.ones((5, 5)))
        drawn = self.features(color, inside)
        first, second = matched(drawn, frame, reach)
        points = self._on_the_mesh(drawing, drawn[0][first], at)
        if len(points) < MIN_MATCHES:
            return None
        K = self.camera.K
        places = self.camera.undistort(frame[0][second]) @ K[:2, :2].T + K[:2, 2]  # of a camera without distortion
        rotation, translation = cv2.Rodrigues(at.rotation)[0], at.translation.reshape(3, 1).copy()
        found, rotation, translation, inliers = cv2.solvePnPRansac(
            points, places, K, None, rotation, translation, True, 3000, 3.0, confidence=0.9999
        )
        if not found or inliers is None or len(inliers) < MIN_MATCHES:
            return None
        points, places = points[inliers.ravel()], places[inliers.ravel()]
        rotation, translation = cv2.solvePnPRefineLM(points, places, K, None, rotation, translation)
        pose = Rigid(cv2.Rodrigues(rotation)[0], translation.ravel())
        off = np.linalg.norm(cv2.projectPoints(points, rotation, translation, K, None)[0][:, 0] - places, axis=1)
        thickness = np.linalg.svd(points - points.mean(0), compute_uv=False)[2] / np.sqrt(len(points))
        return Truth(pose, len(points), float(np.sqrt((off**2).mean())), float(thickness / self._views.size))

    def _on_the_mesh(self, drawing: Rendering, places: np.ndarray, at: Rigid) -> np.ndarray:
        """Return the points (N, 3) [m, object] that were drawn at places (N, 2) inside the drawing."""
        column, row = np.round(places).astype(int).T
        rays = np.column_stack([self.camera.undistort(places), np.ones(len(places))])
        return at.inverse().apply(rays * drawing.surfaces.depth[row, column, None])


def matched(
    drawn: tuple[np.ndarray, np.ndarray], frame: tuple[np.ndarray, np.ndarray], reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return which features of the drawing are which of the frame: two arrays (N,) of indices."""
    first, second = [], []
    for index, (place, descriptor) in enumerate(zip(*drawn)):
        near = np.flatnonzero(np.linalg.norm(frame[0] - place, axis=1) < reach)
        distance = np.linalg.norm(frame[1][near] - descriptor, axis=1)
        if not len(near) or distance.min() > MAX_DISTANCE:
            continue
        best = near[distance.argmin()]
        others = distance[np.linalg.norm(frame[0][near] - frame[0][best], axis=1) > 3]
        if not len(others) or distance.min() < MAX_RATIO * others.min():
            first.append(index)
            second.append(best)
    return np.array(first, int), np.array(second, int)


class Judged(NamedTuple):
    """One frame: was it found and named right, errors [px] of its keypoints, of the pose; NaN without a pose."""

    found: bool
    named: bool
    errors_px: np.ndarray
    rotation_deg: float
    position_mm: float


def judged(pose: KeypointPose | None, orienter: OrientationEstimator, texture: Print, truth: Truth) -> Judged:
    """Return what the best instance of a frame is worth against the truth; keypoints that the frame shows count."""
    if pose is None:
        return Judged(False, False, np.zeros(0), np.nan, np.nan)
    points = truth.camera_object.apply(orienter.model.model_points)
    places = texture.camera.project(points)
    size = np.linalg.norm(np.ptp(points, axis=0))
    near = cv2.dilate(texture.draw(truth.camera_object).surfaces.depth, np.ones((5, 5)))
    height, width = near.shape
    column, row = np.round(places).astype(int).T
    shown = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    shown[shown] = near[row[shown], column[shown]] > points[shown, 2] - 0.05 * size
    counted = np.flatnonzero(shown & pose.visible)
    off = np.linalg.norm(pose.keypoints[counted][:, None] - places[shown][None], axis=2)
    own = np.linalg.norm(pose.keypoints[counted] - places[counted], axis=1)
    named = bool(len(counted)) and (own <= off.min(1) + 1e-9).mean() >= NAMED_SHARE
    estimates = orienter.update([pose])
    step = estimates[0].pose.step_to(truth.camera_object) if estimates else np.full(6, np.nan)
    rotation, position = np.degrees(np.linalg.norm(step[3:])), 1e3 * np.linalg.norm(step[:3])
    return Judged(True, named, own, float(rotation), float(position))


def print_table(
    estimator: PoseEstimator, copies: int, camera: CameraIntrinsics, mesh: Path, video: Path, every: int
) -> None:
    """Print the figures of every n-th frame of a video at the estimator's input height."""
    texture, orienter = Print(mesh, camera), OrientationEstimator(estimator.model, camera)
    find = CopiesEstimator(estimator, copies) if copies > 1 else estimator
    reader, rows, known, frames, before = cv2.VideoCapture(str(video)), [], 0, 0, None
    while reader.grab():
        frames += 1
        if (frames - 1) % every:
            continue
        image = reader.retrieve()[1]
        poses = find(image)
        starts = [estimate.pose for estimate in orienter.update(poses)] + ([before] if before else [])
        features = texture.features(image)
        truths = [truth for truth in (texture.refined(features, start) for start in starts) if truth]
        truth = max(truths, key=lambda each: each.matches, default=None)
        before = truth.camera_object if truth else None
        known += truth is not None
        if truth and truth.relief > MIN_RELIEF:
            best = poses[0] if poses else None
            rows.append(judged(best, orienter, texture, truth))
    found, named = sum(row.found for row in rows), sum(row.named for row in rows)
    errors = np.concatenate([row.errors_px for row in rows if row.named] or [np.zeros(0)])
    far = np.mean(errors > FAR_PX) if len(errors) else np.nan
    rotation, position = (np.array([row[n] for row in rows]) for n in (3, 4))
    print(
        f'height {estimator.input_height}: print found in {known} of {-(-frames // every)} frames, on several sides in '
        f'{len(rows)}; of these {found} found, {named} named right; keypoints {np.median(errors):.2f} median, '
        f'{np.mean(errors):.2f} mean px, {far:.1%} beyond {FAR_PX} px; '
        f'rotation {np.nanmedian(rotation):.2f} / {np.nanpercentile(rotation, 90):.2f} deg, '
        f'position {np.nanmedian(position):.1f} mm, {np.isnan(rotation).sum()} without a pose'
    )


def main() -> None:
    """Print one line for each height."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='checkpoint or model.onnx')
    parser.add_argument(
        '--object', help='folder or object.yaml with other thresholds or limbs (default: the one inside the model)'
    )
    parser.add_argument('--mesh', required=True, type=Path, help='textured mesh in the axes of the object')
    parser.add_argument('--video', required=True, type=Path)
    parser.add_argument('--camera', required=True, help='camera_calibration YAML of the video')
    parser.add_argument('--every', type=int, default=8, metavar='N', help='judge every n-th frame (default 8)')
    add_copies_option(parser)
    parser.add_argument('--heights', nargs='+', type=int, help='input heights [px] (default: that of the object)')
    parsed = parser.parse_args()
    try:
        require_gl()
        camera = CameraIntrinsics.from_yaml(parsed.camera)
        for height in parsed.heights or [None]:
            estimator = load_trained(parsed.model, parsed.object, input_height=height)
            print_table(estimator, parsed.copies, camera, parsed.mesh, parsed.video, parsed.every)
    except CustomPoseError as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
