"""
Write constraints.txt: the exact version of everything that `make` installs, for every supported Python.

    python3 .make/lock.py python3.10 python3.11 python3.12 python3.13             writes constraints.txt
    python3 .make/lock.py --distro jazzy python3.12                               writes .make/pins/jazzy.txt

Asks pip (25 or newer, of the interpreter that runs this file) to resolve, for each interpreter given, the lists of
setup.cfg and .make/requirements/ around the chosen versions; installs nothing. For maintainers: `make` only reads the
result.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict

from environment import DEFAULT_DISTRO
from pins import ALL_EXTRAS, PINS, REQUIREMENTS, ROOT, package_name, ros_requirements, setup_requirements


def main() -> int:
    """Resolve for every interpreter, merge, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('pythons', nargs='+', metavar='PYTHON', help='interpreters to resolve for, such as python3.10')
    parser.add_argument('--distro', default=DEFAULT_DISTRO, help='ROS 2 distribution (default: %(default)s)')
    args = parser.parse_args()
    versions: dict[str, dict[tuple[int, int], str]] = defaultdict(dict)
    for python in args.pythons:
        release = python_release(python)
        print(f'resolving for Python {release[0]}.{release[1]} ...', flush=True)
        for name, version in resolve(python, args.distro).items():
            versions[name][release] = version
    if args.distro == DEFAULT_DISTRO:
        target, kept = ROOT / 'constraints.txt', versions
    else:
        target, kept = PINS / f'{args.distro}.txt', {n: v for n, v in versions.items() if n.startswith('ros-')}
    lines = [line for name in sorted(kept) for line in pin_lines(name, kept[name])]
    releases = ' '.join(f'python{major}.{minor}' for major, minor in sorted({r for v in versions.values() for r in v}))
    option = '' if args.distro == DEFAULT_DISTRO else f'--distro {args.distro} '
    header = f'# Exact versions of what `make` installs. Written by: python3 .make/lock.py {option}{releases}'
    target.write_text('\n'.join([header, *lines]) + '\n')
    print(f'{target.relative_to(ROOT)}: {len(kept)} packages')
    return 0


def python_release(python: str) -> tuple[int, int]:
    """Return (major, minor) of an interpreter."""
    code = 'import sys; print(*sys.version_info[:2])'
    major, minor = subprocess.run([python, '-c', code], check=True, capture_output=True, text=True).stdout.split()
    return int(major), int(minor)


def resolve(python: str, distro: str) -> dict[str, str]:
    """Return name -> version of everything pip would install for an empty environment of `python`."""
    wanted = all_requirements(distro)
    wanted = [re.sub('^ros-', f'ros-{distro}-', r) for r in wanted]  # the meta packages that fix one distribution
    command = [sys.executable, '-m', 'pip', '--python', python, 'install', '--dry-run', '--ignore-installed', '--quiet']
    command += ['--report', '-', '--constraint', str(REQUIREMENTS / 'chosen.txt'), *wanted]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    installed = {package_name(i['metadata']['name']): i['metadata']['version'].split('+')[0] for i in report['install']}
    return {name: version for name, version in installed.items() if not name.startswith(f'ros-{distro}-')}


def all_requirements(distro: str) -> list[str]:
    """Return what any target of the Makefile installs; of another than the default distribution the ROS part."""
    ros = ros_requirements(distro)
    return ros if distro != DEFAULT_DISTRO else [*ros, 'pip', *setup_requirements(*ALL_EXTRAS)]


def pin_lines(name: str, version_of: dict[tuple[int, int], str]) -> list[str]:
    """Return the pins of one package, with a marker for each run of Pythons that share a version."""
    releases = sorted(version_of)
    starts = [r for i, r in enumerate(releases) if i == 0 or version_of[r] != version_of[releases[i - 1]]]
    lines = []
    for start, end in zip(starts, [*starts[1:], None]):
        marker = []
        if start != starts[0]:
            marker.append(f"python_version >= '{start[0]}.{start[1]}'")
        if end is not None:
            marker.append(f"python_version < '{end[0]}.{end[1]}'")
        lines.append(f'{name}=={version_of[start]}' + ('; ' + ' and '.join(marker) if marker else ''))
    return lines


if __name__ == '__main__':
    sys.exit(main())
