"""Settings: the defaults file, what a user's file may change, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from custom_pose_ros.core.errors import ConfigError
from training.synthetic.settings import DEFAULTS_FILE, SCENES, load_settings, settings_from_dict, settings_to_dict


def written(folder: Path, text: str) -> Path:
    path = folder / 'mine.yaml'
    path.write_text(text, encoding='utf-8')
    return path


def test_defaults_go_round() -> None:
    settings = load_settings()
    assert settings_to_dict(settings_from_dict(settings_to_dict(settings))) == settings_to_dict(settings)


def test_a_users_file_changes_only_what_it_names(tmp_path: Path) -> None:
    changed = settings_to_dict(load_settings(written(tmp_path, 'water: {haze: [0.1, 0.2]}\npose: {tilt_deg: 10}\n')))
    expected = settings_to_dict(load_settings())
    expected['water']['haze'] = [0.1, 0.2]
    expected['pose']['tilt_deg'] = 10
    assert changed == expected


@pytest.mark.parametrize(('text', 'facts'), [
    ('watre: {haze: [0, 1]}', ['watre', "'water'"]),
    ('water: {hase: [0, 1]}', ['water.hase', "'haze'"]),
    ('water: {haze: 1}', ['water.haze', 'got 1']),
    ('water: {haze: [1, 0]}', ['water.haze', '[low, high]', '[1, 0]']),
    ('water: {haze_probability: 2}', ['water.haze_probability', '0 to 1', 'got 2']),
    ('pose: {instances: [0, 0]}', ['pose.instances', 'positive sum', '[0, 0]']),
    ('pose: {tilt_deg: steep}', ['pose.tilt_deg', 'number', "'steep'"]),
    ('pose: {seen_from: [top]}', ['pose.seen_from', 'anywhere, above', "['top']"]),
    ('pose: {seen_from: above}', ['pose.seen_from', "'above'"]),
    ('pose: 3', ['pose', 'got 3']),
    ('- 1', ['settings.yaml', '[1]']),
    ('a: [', ['YAML']),
])  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, text: str, facts: list[str]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_settings(path)
    assert all(fact in str(error.value) for fact in [str(path), *facts])
    assert '\n' not in str(error.value)


def test_scenes_change_knobs_and_users_change_scenes(tmp_path: Path) -> None:
    assert SCENES == ('indoor', 'outdoor', 'plain', 'underwater')
    scenes = {scene: load_settings(scene=scene) for scene in SCENES}
    hazy = [scene for scene, settings in scenes.items() if settings.water.haze_probability > 0]
    assert hazy == ['underwater']
    assert max(scenes, key=lambda scene: scenes[scene].distractors.hand_probability) == 'indoor'
    changed = load_settings(written(tmp_path, 'water: {haze_probability: 0.1}'), 'underwater')
    assert changed.water.haze_probability == 0.1
    assert changed.water.caustics_probability == scenes['underwater'].water.caustics_probability > 0


def test_every_default_is_documented() -> None:
    """Each knob stands on its own line and says what it is."""
    lines = DEFAULTS_FILE.read_text(encoding='utf-8').splitlines()
    knobs = [line for line in lines if line.startswith('  ') and not line.strip().startswith('#')]
    assert len(knobs) == sum(len(group) for group in settings_to_dict(load_settings()).values())
    assert [line for line in knobs if '#' not in line] == []
