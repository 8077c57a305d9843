"""Tests of custom_pose_ros.nodes.ros.temperature on folders made as Linux makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from custom_pose_ros.nodes.ros.temperature import Temperature, read_temperature


def make_zone(folder: Path, number: int, **files: str) -> None:
    zone = folder / f'thermal_zone{number}'
    zone.mkdir()
    for name, content in files.items():
        (zone / name).write_text(content + '\n', encoding='ascii')


def test_the_zone_nearest_to_its_limit_is_told(tmp_path: Path) -> None:
    trips = {'trip_point_0_type': 'active', 'trip_point_0_temp': '40000', 'trip_point_1_type': 'passive'}
    make_zone(tmp_path, 0, type='acpitz', temp='60000')
    make_zone(tmp_path, 1, type='cpu', temp='88500', trip_point_1_temp='95000', **trips)
    make_zone(tmp_path, 2, type='battery', temp='nonsense')
    make_zone(tmp_path, 3, type='asleep', temp='-274000')
    assert read_temperature(tmp_path) == Temperature('cpu', 88.5, 95.0)


@pytest.mark.parametrize(('celsius', 'limit', 'high'), [(91.0, 95.0, True), (89.0, 95.0, False), (120.0, None, False)])
def test_it_is_high_shortly_before_the_limit(celsius: float, limit: float | None, high: bool) -> None:
    assert Temperature('cpu', celsius, limit).is_high == high


def test_a_computer_without_sensors_has_no_temperature(tmp_path: Path) -> None:
    assert read_temperature(tmp_path) is None
    assert read_temperature(tmp_path / 'nothing') is None
