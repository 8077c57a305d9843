"""The backends there are, and what must be installed for them: from a name and a precision to a loaded network."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import ConfigError, ModelError
from custom_pose_ros.inference.backends.contract import AUTO, MARGINS, PRECISIONS, Backend
from custom_pose_ros.inference.backends.model_files import (
    CHECKPOINT,
    DERIVED,
    ENGINE,
    INT8,
    ONNX,
    WRITTEN_BY,
    ending_of,
    file_beside,
    file_hash,
)


@dataclass(frozen=True)
class Kind:
    """
    One kind of backend.

    module, factory : in this package; the factory takes path, precision and threads.
    libraries : modules that must be importable.
    package : how they are installed.
    files : precision -> ending of the file that it reads.
    checked : precisions that may be used without being asked for: f32, and files that were compared with it when they
        were written.
    """

    module: str
    factory: str
    libraries: tuple[str, ...]
    package: str
    files: Mapping[str, str]
    checked: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        """The libraries that are not installed."""
        return [name for name in self.libraries if importlib.util.find_spec(name) is None]


KINDS: dict[str, Kind] = {
    'onnxruntime': Kind(
        module='onnxruntime_backend',
        factory='OnnxRuntimeBackend',
        libraries=('onnxruntime',),
        package='pip install onnxruntime (onnxruntime-gpu for an NVIDIA GPU)',
        files={'f32': ONNX, 'int8': INT8, 'f16': ONNX},
        checked=('f32', 'int8'),
    ),
    'openvino': Kind(
        module='openvino_backend',
        factory='OpenVinoBackend',
        libraries=('openvino',),
        package='pip install openvino',
        files={'f32': ONNX, 'int8': INT8, 'bf16': ONNX},
        checked=('f32', 'int8'),
    ),
    'torch': Kind(
        module='torch_backend',
        factory='TorchBackend.load',
        libraries=('torch',),
        package='pip install torch --index-url https://download.pytorch.org/whl/cpu (without it for an NVIDIA GPU)',
        files={'f32': CHECKPOINT},
        checked=('f32',),
    ),
    'tensorrt': Kind(
        module='tensorrt_backend',
        factory='TensorRtBackend',
        libraries=('torch', 'tensorrt', 'torch2trt'),
        package="apt install python3-libnvinfer (JetPack) or pip install 'tensorrt<11', and "
        'pip install git+https://github.com/NVIDIA-AI-IOT/torch2trt',
        files={'f16': ENGINE},
        checked=('f16',),
    ),
}


@dataclass(frozen=True)
class Candidate:
    """
    One way to run a network.

    name, precision : of the backend.
    path : the file it reads.
    origin : the .onnx file that a quantised model or an engine must have been made from, if there is one.
    """

    name: str
    precision: str
    path: Path
    origin: Path | None = None

    def __str__(self) -> str:
        return f'{self.name} {self.precision}'

    def load(self, threads: int) -> Backend:
        """Load it. Raises ConfigError or ModelError."""
        backend = self._factory()(self.path, self.precision, threads)
        if self.origin and self.origin.is_file() and backend.metadata.get('made_from') != file_hash(self.origin):
            raise ModelError(
                f'{self.path}: was not made from the {self.origin.name} beside it; write it again with '
                f'{WRITTEN_BY[ending_of(self.path)]}, or remove it'
            )
        return backend

    def load_exact(self, threads: int) -> Backend | None:
        """Load the same network in f32, where the precision is one of MARGINS and the file is there; else None."""
        path = file_beside(self.path, ONNX)
        return self._factory()(path, 'f32', threads) if self.precision in MARGINS and path.is_file() else None

    def _factory(self) -> Any:
        kind = KINDS[self.name]
        factory: Any = importlib.import_module(f'{__package__}.{kind.module}')
        for part in kind.factory.split('.'):
            factory = getattr(factory, part)
        return factory


def find_candidates(path: Path, name: str = AUTO, precision: str = AUTO) -> list[Candidate]:
    """
    Return the ways to run a network that are installed and find their files, in the order of preference.

    Raises ConfigError or ModelError that names what is missing when there is none.
    """
    if name != AUTO and name not in KINDS:
        raise ConfigError(f'backend {name!r} is unknown, wanted one of {", ".join([AUTO, *KINDS])}')
    if precision not in (AUTO, *PRECISIONS):
        raise ConfigError(f'precision {precision!r} is unknown, wanted one of {", ".join([AUTO, *PRECISIONS])}')
    if not path.is_dir() and not ending_of(path):
        raise ModelError(f'{path}: wanted a model (.onnx or .pth) or a folder with one')
    ways = [
        Candidate(kind_name, each, file_beside(path, ending), file_beside(path, ONNX) if ending in DERIVED else None)
        for kind_name, kind in KINDS.items()
        for each, ending in kind.files.items()
        if name in (AUTO, kind_name)
        and each in (kind.checked if precision == AUTO else (precision,))
        and (name != AUTO or _is_meant(path, ending))
    ]
    present = [way for way in ways if way.path.is_file()]
    usable = [way for way in present if not KINDS[way.name].missing]
    if not usable:
        raise _error(path, name, precision, ways, present)
    return usable


def _is_meant(path: Path, ending: str) -> bool:
    """Return whether somebody who gives a path without naming a backend means the file with this ending, too."""
    return path.is_dir() or ending_of(path) == ending or (ending_of(path) == ONNX and ending in DERIVED)


def _error(path: Path, name: str, precision: str, ways: list[Candidate], present: list[Candidate]) -> Exception:
    """Return what to say where no candidate is usable."""
    if name != AUTO and precision not in (AUTO, *KINDS[name].files):
        others = [other for other, kind in KINDS.items() if precision in kind.files]
        return ConfigError(
            f'backend {name!r} has no precision {precision}, only {", ".join(KINDS[name].files)}; '
            f'{precision} has {", ".join(others)}'
        )
    if name != AUTO and KINDS[name].missing:
        return ConfigError(
            f'backend {name!r} is not installed ({", ".join(KINDS[name].missing)} missing): {KINDS[name].package}'
        )
    if present:
        packages = dict.fromkeys(KINDS[way.name].package for way in present)
        return ConfigError(f'no backend for {present[0].path} is installed: {"; or ".join(packages)}')
    if not ways:
        return ConfigError(f'{path}: no backend runs such a file in precision {precision}; take {AUTO}')
    file = ways[0].path
    missing = f'{path}: no {file.name} in this folder' if path.is_dir() else f'{file}: no such file'
    if name != AUTO:
        missing += f', which backend {name!r} needs'
    elif precision != AUTO:
        missing += f', which precision {precision} needs'
    ending = ending_of(file)
    return ModelError(f'{missing}; {"train one and " * (ending == ONNX)}write it with {WRITTEN_BY[ending]}')
