"""The face estimator on labelled photographs of people, which are not stored here: FACE_SAMPLES names their folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = os.environ.get('FACE_SAMPLES', '')
if not SAMPLES:
    pytest.skip('FACE_SAMPLES is not set: tests/data of a checkout of open-mmlab/mmpose', allow_module_level=True)
sys.path.insert(0, str(ROOT / 'test/benchmarks'))
from faces import CHIN, SMALLEST_FACE_PX, angles, labelled_faces, nearest  # noqa: E402

from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from custom_pose_ros.inference.faces.face_estimator import FaceEstimator  # noqa: E402


def test_labelled_faces_are_found_and_read():
    """All of at least 60 px; 5 % of the eye distance without the chin; 4 degrees; left and right never swapped."""
    model = ObjectModel.load('face')
    estimator = FaceEstimator(model, threads=1)
    errors, turned = [], []
    for face in labelled_faces(Path(SAMPLES)):
        pose = nearest(estimator(face.image), face.landmarks)
        if np.ptp(face.landmarks, axis=0).max() < SMALLEST_FACE_PX:
            continue
        assert pose is not None
        across = face.landmarks[2] - face.landmarks[3]
        found_across = pose.keypoints[2] - pose.keypoints[3]
        assert across @ found_across > 0
        distances = np.linalg.norm(pose.keypoints - face.landmarks, axis=1)
        errors.append(np.delete(distances, CHIN) / np.linalg.norm(across))
        difference = angles(model, face.image, pose.keypoints, pose.covariances)
        difference -= angles(model, face.image, face.landmarks, pose.covariances)
        turned.append(np.abs((difference + 180) % 360 - 180))
    assert len(errors) >= 5
    assert np.mean(errors) <= 0.05
    assert (np.median(turned, axis=0) <= 4).all()
