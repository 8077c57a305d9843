"""The mesh that a robot description names: of the package that is meant, never of another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip('trimesh', reason='trimesh is not installed')

from custom_pose_ros.core.errors import DatasetError
from training.synthetic.geometry.mesh_addresses import find_mesh


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (
        'AMENT_PREFIX_PATH', 'COLCON_PREFIX_PATH', 'CMAKE_PREFIX_PATH', 'ROS_PACKAGE_PATH', 'GZ_SIM_RESOURCE_PATH',
        'IGN_GAZEBO_RESOURCE_PATH', 'GAZEBO_MODEL_PATH',
    ):  # fmt: skip
        monkeypatch.delenv(variable, raising=False)


def a_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def a_package(folder: Path, name: str) -> Path:
    """Make a ROS package with a mesh; return the mesh."""
    folder.mkdir(parents=True)
    (folder / 'package.xml').write_text(f'<package><name>{name}</name></package>')
    return a_file(folder / 'meshes' / 'base.stl')


ADDRESS = 'package://gripper/meshes/base.stl'


def test_the_own_package_is_known_by_its_name_whatever_its_folder_is_called(tmp_path):
    mesh = a_package(tmp_path / 'gripper-main', 'gripper')
    assert find_mesh(ADDRESS, tmp_path / 'gripper-main' / 'urdf' / 'a.urdf') == mesh


def test_a_package_in_another_repository_of_the_workspace(tmp_path):
    mesh = a_package(tmp_path / 'src' / 'grippers' / 'nested' / 'gripper-1.2', 'gripper')
    a_package(tmp_path / 'src' / 'arms' / 'arm', 'arm')
    assert find_mesh(ADDRESS, tmp_path / 'src' / 'arms' / 'arm' / 'urdf' / 'a.urdf') == mesh


def test_a_folder_of_that_name_that_is_another_package_is_not_meant(tmp_path):
    a_package(tmp_path / 'gripper', 'old_gripper')
    with pytest.raises(DatasetError, match="no package is called 'gripper'.*ROS_PACKAGE_PATH"):
        find_mesh(ADDRESS, tmp_path / 'arm' / 'a.urdf')


def test_a_pipe_instead_of_a_package_description_holds_nothing_up(tmp_path):
    mesh = a_file(tmp_path / 'gripper' / 'meshes' / 'base.stl')
    os.mkfifo(tmp_path / 'gripper' / 'package.xml')
    (tmp_path / 'ws' / 'src').mkdir(parents=True)
    assert find_mesh(ADDRESS, tmp_path / 'gripper' / 'urdf' / 'a.urdf') == mesh  # by the name of the folder


def test_the_mesh_of_the_own_package_is_never_taken_instead(tmp_path):
    a_package(tmp_path / 'arm', 'arm')
    with pytest.raises(DatasetError, match="no package is called 'gripper'"):
        find_mesh(ADDRESS, tmp_path / 'arm' / 'urdf' / 'a.urdf')
    a_file(tmp_path / 'gripper' / 'meshes' / 'BASE.STL')
    with pytest.raises(DatasetError, match=r'no file .*gripper/meshes/base.stl; BASE.STL is there'):
        find_mesh(ADDRESS, tmp_path / 'arm' / 'urdf' / 'a.urdf')


@pytest.mark.parametrize(
    ('variable', 'place'),
    [
        ('AMENT_PREFIX_PATH', 'share/gripper'),
        ('ROS_PACKAGE_PATH', 'gripper'),
        ('ROS_PACKAGE_PATH', 'grippers/gripper-1'),
        ('GZ_SIM_RESOURCE_PATH', 'gripper'),
    ],
)
def test_packages_of_the_environment(tmp_path, monkeypatch, variable, place):
    mesh = a_package(tmp_path / 'elsewhere' / place, 'gripper')
    monkeypatch.setenv(variable, f'/none:{tmp_path / "elsewhere"}')
    assert find_mesh(ADDRESS, tmp_path / 'one' / 'two' / 'three' / 'a.urdf') == mesh


def test_models_files_and_plain_paths(tmp_path):
    mesh = a_file(tmp_path / 'dock' / 'meshes' / 'a part.stl')
    description = a_file(tmp_path / 'robot' / 'a.urdf')
    for address in (
        'model://dock/meshes/a part.stl',
        'model://dock/meshes/a%20part.stl',
        'package://dock\\meshes\\a part.stl',
        f'file://{mesh}',
        f'file://localhost{mesh}',
        '../dock/meshes/a%20part.stl',
        str(mesh),
    ):
        found = find_mesh(address, description)
        assert found.resolve() == mesh, address


@pytest.mark.parametrize(
    ('address', 'fact'),
    [
        ('https://example.org/a.stl', 'https:// is not read: save the file'),
        ('meshes/a.stl', 'there is no file'),
        ('', 'there is no file'),
        ('package://', "no package is called ''"),
    ],
)
def test_what_leads_nowhere_is_refused(tmp_path, address, fact):
    with pytest.raises(DatasetError, match=fact) as error:
        find_mesh(address, tmp_path / 'a.urdf')
    assert repr(address) in str(error.value)
