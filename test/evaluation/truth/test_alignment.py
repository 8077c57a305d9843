"""Robot-world/hand-eye alignment from noisy poses with flips, and fixed extrinsics from a file."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector, rotation_between
from custom_pose_ros.evaluation.truth.alignment import Alignment, estimate_alignment, read_alignment

MOTIONS = {
    'three axes': lambda s: [0.5 * np.sin(s), 0.4 * np.cos(0.7 * s), s],
    'small': lambda s: [0.2 * np.sin(s), 0.2 * np.cos(0.7 * s), 0.1 * np.sin(0.3 * s)],
    'one axis': lambda s: [0.0, 0.0, np.sin(s)],
    'no turn': lambda s: [0.0, 0.0, 0.0],
}


def poses(motion: str, seed: int, flips: float) -> tuple[list[Rigid], list[Rigid], Rigid, Rigid]:
    """Return measured and true poses with 1.1 deg and 10 mm of noise per axis, a share of them flipped by 57 deg."""
    rng = np.random.default_rng(seed)
    x, y = (Rigid(matrix_from_rotation_vector(rng.normal(0, 3, 3)), rng.normal(0, 1, 3)) for _ in range(2))
    truth = [
        Rigid(
            matrix_from_rotation_vector(np.array(MOTIONS[motion](s))),
            np.array([np.sin(s), np.cos(s), 2 + 0.3 * np.sin(2 * s)]),
        )
        for s in np.linspace(0, 10, 600)
    ]
    measured = [x @ t @ y for t in truth]
    measured = [
        Rigid(matrix_from_rotation_vector(rng.normal(0, 0.02, 3)) @ m.rotation, m.translation + rng.normal(0, 0.01, 3))
        for m in measured
    ]
    for i in rng.choice(600, int(600 * flips), replace=False):
        measured[i] = Rigid(
            measured[i].rotation @ matrix_from_rotation_vector(np.array([1.0, 0.0, 0.0])), measured[i].translation
        )
    return measured, truth, x, y


@pytest.mark.parametrize('motion', MOTIONS)
def test_the_alignment_predicts_the_poses_in_spite_of_noise_and_flips(motion):
    measured, truth, x, y = poses(motion, seed=1, flips=0.2)

    alignment = estimate_alignment(measured, truth)

    angles = [rotation_between(alignment.apply(t).rotation, (x @ t @ y).rotation) for t in truth]
    distances = [np.linalg.norm(alignment.apply(t).translation - (x @ t @ y).translation) for t in truth]
    # 400 frames of 2 deg and 17 mm noise average to about 0.1 deg and 1 mm; flips may pull a little.
    assert np.rad2deg(np.max(angles)) < 0.35
    assert np.max(distances) < 0.006
    assert alignment.rotation_rms_deg == pytest.approx(np.rad2deg(0.02 * np.sqrt(3)), rel=0.25)
    assert alignment.translation_rms_m == pytest.approx(0.01 * np.sqrt(3), rel=0.15)
    assert alignment.unique == (motion in ('three axes', 'small'))


def test_both_transforms_are_found_where_the_motion_tells_them_apart():
    measured, truth, x, y = poses('three axes', seed=4, flips=0.0)
    alignment = estimate_alignment(measured, truth)
    assert np.rad2deg(rotation_between(alignment.camera_world.rotation, x.rotation)) < 0.3
    assert np.rad2deg(rotation_between(alignment.body_object.rotation, y.rotation)) < 0.3
    np.testing.assert_allclose(alignment.body_object.translation, y.translation, atol=0.02)


def test_too_few_frames_are_refused():
    measured, truth, _, _ = poses('three axes', seed=0, flips=0.0)
    with pytest.raises(ConfigError, match='at least 10 frames with both, got 9'):
        estimate_alignment(measured[:9], truth[:9])
    with pytest.raises(ValueError, match='same length, got 9 and 8'):
        estimate_alignment(measured[:9], truth[:8])


def test_printed_lines_are_a_file_that_reads_back(tmp_path):
    rng = np.random.default_rng(3)
    x, y = (Rigid(matrix_from_rotation_vector(rng.normal(0, 1, 3)), rng.normal(0, 1, 3)) for _ in range(2))
    file = tmp_path / 'extrinsics.yaml'
    file.write_text('\n'.join(Alignment(x, y).lines()))

    read = read_alignment(file)

    assert rotation_between(read.camera_world.rotation, x.rotation) < 1e-5  # six digits are written
    np.testing.assert_allclose(read.body_object.translation, y.translation, atol=1e-4)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('camera_from_world: {xyz_m: [1, 2]}', 'camera_from_world.xyz_m: wanted'),
        ('camera_from_world: {quaternion_xyzw: [0, 0, 0, 0]}', 'camera_from_world.quaternion_xyzw: wanted'),
        ('camera_from_world: {xyz: [1, 2, 3]}', 'camera_from_world: wanted'),
        ('cam: {}', "wanted the keys camera_from_world and body_from_object, got {'cam'"),
        ('[1, 2', 'is not valid YAML'),
    ],
)
def test_wrong_extrinsics_are_refused(tmp_path, text, message):
    file = tmp_path / 'extrinsics.yaml'
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_alignment(file)
    with pytest.raises(ConfigError, match='cannot be read'):
        read_alignment(tmp_path / 'none.yaml')


def test_roll_pitch_yaw_in_degrees_are_accepted(tmp_path):
    file = tmp_path / 'extrinsics.yaml'
    file.write_text('body_from_object: {rpy_deg: [0, 0, 90]}')
    np.testing.assert_allclose(read_alignment(file).body_object.rotation @ [1, 0, 0], [0, 1, 0], atol=1e-12)
