"""Object files that nobody can mean, as people brought them: named with the cause."""

from __future__ import annotations

import subprocess
import sys

import pytest

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_model import ObjectModel


def analyze(root, path, *options):
    command = [sys.executable, '-m', 'custom_pose_ros.tools.analyze_object', str(path), *options]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)


def test_13_millimetres_are_named_wherever_the_file_is_read(shared, root, tmp_path):
    case = next((shared / 'cases').glob('13-*'))
    (warning,) = ObjectModel.load(case / 'millimetres.yaml').warnings
    assert warning == (
        'model_points: are spread over 599.4 m; positions are in metres '
        '(if these are millimetres, the object is 0.599 m large; if centimetres, 5.99 m); right if it is 599 m large'
    )
    assert ObjectModel.load(case / 'metres.yaml').warnings == []
    said = analyze(root, case / 'millimetres.yaml', '--distance', '1', '4', '--out', str(tmp_path))
    assert said.returncode == 2  # it does not fit into the image
    assert said.stderr.splitlines()[0] == f'warning: {case}/millimetres.yaml: {warning}'
    assert len(said.stderr.splitlines()) == 2


def test_14_two_keypoints_at_one_place_are_refused(shared, root):
    case = next((shared / 'cases').glob('14-*'))
    assert ObjectModel.load(case / 'distinct.yaml').warnings == []
    with pytest.raises(ConfigError, match=r'dup\.yaml: model_points: a and b are at the same place \(0, 0, 0\)'):
        ObjectModel.load(case / 'dup.yaml')
    said = analyze(root, case / 'dup.yaml')
    assert said.returncode == 1
    assert said.stderr.startswith('error: ') and len(said.stderr.splitlines()) == 1


def test_the_object_of_the_chessboard_is_read_without_a_word(shared):
    model = ObjectModel.load(shared / 'data' / 'chessboard' / 'object.yaml')
    assert (model.warnings, model.mirroring) == ([], (True, None))
