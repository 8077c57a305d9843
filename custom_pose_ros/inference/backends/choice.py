"""
From a path, a name and a precision to a loaded network: the backends there are, and the order in which `auto` tries.

With an NVIDIA GPU: an engine of tensorrt, onnxruntime-gpu, torch with CUDA. Then, on the processor: openvino,
onnxruntime, torch. int8 comes before f32 on processors with instructions for it. For images from several threads at
once, as evaluate_bag has them: onnxruntime, openvino, torch, and f32 first, so that its numbers do not depend on the
processor. What cannot be loaded is left out with a warning. `make bench` measures
all of them.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import logging
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_pose_ros.core.command_line import whole_number
from custom_pose_ros.core.errors import ChoiceError, ConfigError, CustomPoseError, ModelError
from custom_pose_ros.core.files import check_network_file, sha256_of
from custom_pose_ros.core.keypoints.preprocessing import check_input_height
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import hardware
from custom_pose_ros.inference.backends.contract import (
    AUTO,
    MARGINS,
    PRECISIONS,
    Backend,
    LoadedNetwork,
    check_on_probe,
)
from custom_pose_ros.inference.backends.model_files import (
    CHECKPOINT,
    DERIVED,
    ENGINE,
    INT8,
    ONNX,
    WRITTEN_BY,
    ending_of,
    file_beside,
)
from custom_pose_ros.inference.layouts import refusal

_GPU_ORDER = ('tensorrt', 'onnxruntime', 'torch')
_CPU_ORDER = ('openvino', 'onnxruntime', 'torch')
_PARALLEL_ORDER = ('onnxruntime', 'openvino', 'torch')
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """
    One kind of backend.

    Attributes:
        factory: In the module NAME_backend of this package; it takes path, precision and threads.
        libraries: Modules that must be importable.
        package: How they are installed.
        files: Precision -> ending of the file that it reads.
        checked: Precisions that may be used without being asked for: f32, and files that were compared with it when
            they were written.
    """

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
        factory='OnnxRuntimeBackend',
        libraries=('onnxruntime',),
        package='pip install onnxruntime (onnxruntime-gpu for an NVIDIA GPU)',
        files={'f32': ONNX, 'int8': INT8, 'f16': ONNX},
        checked=('f32', 'int8'),
    ),
    'openvino': Kind(
        factory='OpenVinoBackend',
        libraries=('openvino',),
        package='pip install openvino',
        files={'f32': ONNX, 'int8': INT8, 'bf16': ONNX},
        checked=('f32', 'int8'),
    ),
    'torch': Kind(
        factory='TorchBackend.load',
        libraries=('torch',),
        package='pip install torch --index-url https://download.pytorch.org/whl/cpu (without it for an NVIDIA GPU)',
        files={'f32': CHECKPOINT},
        checked=('f32',),
    ),
    'tensorrt': Kind(
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

    Attributes:
        name: Name of the backend.
        precision: Precision of the backend.
        path: The file it reads.
        origin: The .onnx file that a quantised model or an engine must have been made from, if there is one.
    """

    name: str
    precision: str
    path: Path
    origin: Path | None = None

    def __str__(self) -> str:
        return f'{self.name} {self.precision}'

    def load(self, threads: int, model: ObjectModel | None = None) -> Backend:
        """
        Load it.

        Args:
            threads: Threads of the backend.
            model: As in `load_network`.

        Raises:
            ConfigError: The machine cannot run it.
            ModelError: The file is damaged, was made from another network, or cannot be right.
        """
        check_network_file(self.path)
        options = {'model': model} if ending_of(self.path) == CHECKPOINT else {}
        backend = self._factory()(self.path, self.precision, threads, **options)
        if self.origin and self.origin.is_file() and backend.metadata.get('made_from') != sha256_of(self.origin):
            raise ModelError(
                f'{self.path}: was not made from the {self.origin.name} beside it; write it again with '
                f'{WRITTEN_BY[ending_of(self.path)]}, or remove it'
            )
        check_on_probe(backend, self.path, model)
        return backend

    def load_exact(self, threads: int, model: ObjectModel | None = None) -> Backend | None:
        """Load the same network in f32, where the precision is one of MARGINS and the file is there; else None."""
        path = file_beside(self.path, ONNX)
        if self.precision not in MARGINS or not path.is_file():
            return None
        check_network_file(path)
        exact = self._factory()(path, 'f32', threads)
        check_on_probe(exact, path, model)
        return exact

    def _factory(self) -> Any:
        module = importlib.import_module(f'{__package__}.{self.name}_backend')
        return operator.attrgetter(KINDS[self.name].factory)(module)


def input_height(text: str) -> int:
    """Return an argument that is the height of a network's input (for `type` of argparse)."""
    height = whole_number(0)(text)
    try:
        check_input_height(height)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix('input_height: ')) from error
    return height


def add_network_options(parser: argparse._ActionsContainer) -> None:
    """Add --backend, --precision and --input-height."""
    parser.add_argument(
        '--backend', default=AUTO, choices=(AUTO, *KINDS), metavar='NAME',
        help=f'what runs the network: {", ".join(KINDS)} or auto, the first that is there (default: auto)',
    )  # fmt: skip
    parser.add_argument(
        '--precision', default=AUTO, choices=(AUTO, *PRECISIONS), metavar='NAME',
        help='f32, f16, bf16 or int8 (default: auto, f32 or what was checked against it)',
    )  # fmt: skip
    parser.add_argument(
        '--input-height',
        type=input_height,
        metavar='PX',
        help="height of the network input (default: the object file's)",
    )


def load_network(
    path: str | Path,
    name: str = AUTO,
    threads: int | None = None,
    precision: str = AUTO,
    parallel: bool = False,
    model: ObjectModel | None = None,
) -> LoadedNetwork:
    """
    Load a network.

    Args:
        path: Folder with model.onnx and what was made from it, or one file: .onnx, _int8.onnx, net_trt.pth, or a
            checkpoint of training/train.py. An .onnx file stands for what was made from it, too.
        name: 'onnxruntime', 'openvino', 'torch', 'tensorrt', or 'auto': the first in the order above that is installed,
            has its file and can load it.
        threads: Threads of the backend; default: one per physical core that this process may use, at most 4.
        precision: 'f32', 'f16', 'bf16', 'int8', or 'auto': f32, and files that were compared with it when they were
            written (by training/quantize.py and training/export_tensorrt.py).
        parallel: Several threads will call the backend at once; openvino lets them wait for each other.
        model: The object, for a published checkpoint, which carries none, and for what is said when there is no file.

    Raises:
        ConfigError: The backend is unknown or not installed, or the machine cannot run it.
        ModelError: The file is missing or damaged, or the network cannot be right.
    """
    if threads is None:
        threads = hardware.default_threads()
    elif threads < 1:
        raise ConfigError(f'threads: wanted at least 1, got {threads}')
    candidates = find_candidates(Path(path), name, precision, parallel, model)
    refused: list[tuple[Candidate, Exception]] = []
    for candidate in candidates:
        try:
            backend, exact = candidate.load(threads, model), candidate.load_exact(threads, model)
        except (CustomPoseError, ImportError, OSError) as error:
            refused.append((candidate, error))
            continue
        for left_out, reason in refused:
            _log.warning('%s is left out: %s', left_out, reason)
        return LoadedNetwork(backend, exact, _reason(candidates, len(refused)), candidate.path)
    raise refused[0][1]


def find_candidates(
    path: Path, name: str = AUTO, precision: str = AUTO, parallel: bool = False, model: ObjectModel | None = None
) -> list[Candidate]:
    """
    Return the ways to run a network that are installed and find their files, in the order of choice.

    The arguments are those of `load_network`.

    Raises:
        ConfigError: There is none: the name or precision is unknown, or a library is missing.
        ModelError: There is none: a file is missing.
    """
    if name != AUTO and name not in KINDS:
        raise ChoiceError(f'backend {name!r} is unknown, wanted one of {", ".join([AUTO, *KINDS])}')
    if precision not in (AUTO, *PRECISIONS):
        raise ChoiceError(f'precision {precision!r} is unknown, wanted one of {", ".join([AUTO, *PRECISIONS])}')
    if path.is_file() and not ending_of(path):
        check_network_file(path)
        raise refusal(path)
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
    present = [way for way in present if _is_meant(path, ending_of(way.path))] or present
    usable = [way for way in present if not KINDS[way.name].missing]
    if not usable:
        raise _error(path, name, precision, ways, present, model)
    return sorted(usable, key=lambda way: _rank(way, parallel))


def _reason(candidates: list[Candidate], refused: int) -> str:
    """Say why the first candidate was chosen that was not refused."""
    if len(candidates) == 1:
        return 'nothing to choose from'
    left = ', '.join(map(str, candidates[refused:]))
    return f'the first of {left}' if refused < len(candidates) - 1 else f'the only one that can be loaded: {left}'


def _rank(way: Candidate, parallel: bool) -> tuple[int, bool]:
    """Return the place of a candidate in the order of choice."""
    cpu_order = _PARALLEL_ORDER if parallel else _CPU_ORDER
    if way.name in _GPU_ORDER and _runs_on_gpu(way.name):
        return _GPU_ORDER.index(way.name), way.precision == 'int8'
    place = cpu_order.index(way.name) if way.name in cpu_order else len(cpu_order)
    int8_first = hardware.has_fast_int8() and not parallel
    return len(_GPU_ORDER) + place, (way.precision == 'int8') is not int8_first


def _runs_on_gpu(name: str) -> bool:
    """Tell whether a backend finds an NVIDIA GPU and was built for one."""
    if not hardware.has_nvidia_gpu():
        return False
    if name == 'onnxruntime':
        return _version('onnxruntime-gpu') != ''
    return name == 'tensorrt' or '+cpu' not in _version('torch')


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ''


def _is_meant(path: Path, ending: str) -> bool:
    """Return whether somebody who gives a path without naming a backend means the file with this ending, too."""
    return path.is_dir() or ending_of(path) == ending or (ending_of(path) == ONNX and ending in DERIVED)


def _error(
    path: Path, name: str, precision: str, ways: list[Candidate], present: list[Candidate], model: ObjectModel | None
) -> Exception:
    """Return what to say where no candidate is usable."""
    if name != AUTO and precision not in (AUTO, *KINDS[name].files):
        others = [other for other, kind in KINDS.items() if precision in kind.files]
        return ChoiceError(
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
        return ChoiceError(f'{path}: no backend runs such a file in precision {precision}; take {AUTO}')
    file = ways[0].path
    missing = f'{path}: no {file.name} in this folder' if path.is_dir() else f'{file}: no such file'
    if name != AUTO:
        missing += f', which backend {name!r} needs'
    elif precision != AUTO:
        missing += f', which precision {precision} needs'
    if model and model.network_source:
        return ModelError(f'{missing}; {model.network_source}')
    ending = ending_of(file)
    return ModelError(f'{missing}; {"train one and " * (ending == ONNX)}write it with {WRITTEN_BY[ending]}')
