"""Whose network a file holds, for the line that refuses it: told by its bytes and names, running nothing."""

from __future__ import annotations

import contextlib
import io
import json
import pickletools
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from custom_pose_ros.core.errors import ModelFileError

WANTED = (
    'wanted a checkpoint of training/train.py, a model.onnx of training/export_onnx.py or a published checkpoint of '
    'Lightweight OpenPose'
)
ONNX_LAYOUT = 'an ONNX model'
_HEAD_BYTES = 512
_MOST_BYTES = 1 << 22  # of a pickle or header that is looked at
_MOST_PICKLES = 5  # in a file of PyTorch before 1.6
_NAMED = 3
# How a file begins: what it is.
_STARTS = {
    rb'\x89HDF\r\n\x1a\n': 'Keras or HDF5 weights',
    rb'.{4}TFL3': 'a TensorFlow Lite model',
    rb'ftrt|ptrt': 'a bare TensorRT engine',
    rb'.{257}ustar': 'a tar archive',
    rb'PK\x03\x04': 'a zip archive that is cut off (copy or download it again)',
    rb'\x1f\x8b': 'a gzip archive',
    rb'7z\xbc\xaf': 'a 7z archive',
    rb'Rar!': 'a RAR archive',
    rb'\s*(<\?xml[^>]*>)?\s*<net\b': 'an OpenVINO IR, which carries no object',
    rb'7767517\s': 'an ncnn network',
    rb'\x08[\x03-\x10](\x12|\x22|:)': ONNX_LAYOUT,
}
# Ending of a file that has no mark of its own: what it is.
_ENDINGS = {
    '.caffemodel': "Caffe weights, as OpenPose's",
    '.prototxt': "the layers of a Caffe network, as OpenPose's",
    '.weights': 'Darknet weights',
    '.pb': 'a TensorFlow graph',
    '.index': 'a TensorFlow checkpoint, as of DeepLabCut 2',
    '.mlmodel': 'a Core ML model',
}
# Member of a zip archive: what the archive is.
_MEMBERS = {
    r'.*/code/.*|.*/constants\.pkl': 'a TorchScript module (torch.jit.save)',
    r'.*\.tflite': 'a bundle of MediaPipe',
    r'.*\.npy': 'NumPy arrays',
    r'model\.weights\.h5': 'a Keras model',
    r'(.*/)?network\.json|(.*/)?training_config\.json': 'a SLEAP model',
}
# Class that a pickle asks for: what the file is.
_CLASSES = {
    r'ultralytics\.|models\.(yolo|common) ': 'an Ultralytics YOLO checkpoint, which holds its model as code',
    r'mmengine\.|mmcv\.|mmpose\.|mmdet\.': 'an MMPose (mmengine) checkpoint with objects of its trainer',
    r'(pytorch_)?lightning\.': 'a PyTorch Lightning checkpoint with objects of its trainer',
    r'detectron2\.|fvcore\.': 'a Detectron2 checkpoint with objects of its trainer',
    r'deeplabcut\.': 'a DeepLabCut checkpoint with objects of its trainer',
    r'torch\.(nn|fx)\.|torchvision\.': 'a whole pickled PyTorch model (torch.save(model)) instead of its state_dict',
    r'sklearn\.|xgboost\.': 'no neural network but an estimator of another library',
}
_HARMLESS = re.compile(
    r'torch\.(_utils|storage|\w+Storage|Size|device|\w+\d*$)|torch \w*Storage|collections |numpy|argparse '
)
# Name of a tensor: whose network has it; the first that fits.
_TENSORS = {
    r'(.*\.)?vgg\.\d+\.weight|(.*\.)?m\d_[12]\.\d+\.weight': 'a DOPE network',
    r'(.*\.)?(Mconv\d|conv\d_\d_CPM|model\d_[12]\.|Mprelu)': 'the OpenPose body network',
    r'(.*\.)?head\.(cls_x|mlp|gau)\.': 'an RTMPose network (MMPose, SimCC)',
    r'backbone\.stage[234]\.\d+\.branches|keypoint_head\.': 'an MMPose network (HRNet or alike)',
    r'(module\.)?stage[234]\.\d+\.branches': 'an HRNet',
    r'(.*\.)?backbone\.blocks\.\d+\.attn|backbone\.embeddings\.': 'a ViTPose network',
    r'(model\.)?(model\.)?\d+\.(cv\d|m|conv)\b': 'a YOLO network',
    r'(.*\.)?roi_heads?\.': 'a Keypoint R-CNN (torchvision or Detectron2)',
    r'(.*\.)?heads\.\w+\.(heatmap|locref)': 'a DeepLabCut network',
    r'(.*\.)?transformer\.(encoder|decoder)': 'a transformer such as DETR',
    r'backbone\..*|.*\.keypoint_head': 'an MMPose network',
    r'(.*\.)?fc\.weight|(.*\.)?classifier(\.\d+)?\.weight|head\.weight': 'a classifier, as of ImageNet',
}

# Inputs and outputs of an .onnx file, or how they begin: whose network it is.
_OUTPUTS = {
    r'images? output0': 'a YOLO network (Ultralytics)',
    r'images output': 'a YOLO network',
    r'input simcc_x simcc_y': 'an RTMPose network (MMPose, SimCC)',
    r'data .*stage_\d': 'a Lightweight OpenPose network that another script exported',
    r'input output': 'an MMPose network (HRNet or alike)',
}


def layout_of_file(path: Path) -> str:
    """Say what a file is by its content, such as 'a TorchScript module (torch.jit.save)'; '' where it is not known."""
    with path.open('rb') as file:
        head = file.read(_HEAD_BYTES)
        if zipfile.is_zipfile(file):
            file.seek(0)
            return _layout_of_archive(file)
        known = next((text for start, text in _STARTS.items() if re.match(start, head, re.DOTALL)), '')
        if known:
            return known
        if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') < path.stat().st_size:
            file.seek(8)
            return _layout_of_safetensors(file.read(min(int.from_bytes(head[:8], 'little'), _MOST_BYTES)))
        file.seek(0)
        pickled = _layout_of_pickles(file.read(_MOST_BYTES)) if head[:1] == b'\x80' else ''  # else text looks like one
        return pickled or _ENDINGS.get(path.suffix.lower(), '')


def is_pickled(path: Path) -> bool:
    """Return whether a file is a pickle or an archive, which may hold some: what can run programs."""
    with path.open('rb') as file:
        return file.read(1) == b'\x80' or zipfile.is_zipfile(file)


def layout_of_names(names: Iterable[str]) -> str:
    """Say whose network has tensors of these names; '' where it is not known."""
    names = list(names)
    return next((text for pattern, text in _TENSORS.items() if any(re.match(pattern, n) for n in names)), '')


def layout_of_outputs(inputs: Sequence[str], outputs: Sequence[str]) -> str:
    """Say whose network an .onnx file with these inputs and outputs is; '' where it is not known."""
    names = ' '.join([*inputs, *outputs])
    return next((text for pattern, text in _OUTPUTS.items() if re.match(pattern, names)), '')


def refusal(path: Path) -> ModelFileError:
    """Return the error for a file that is no network of this package: its path, and what it is."""
    layout = layout_of_file(path)
    problem = f'is {layout}' if layout else 'does not end in .onnx or .pth, or is no network'
    return ModelFileError(f'{path}: {problem}; {WANTED}')


def _layout_of_archive(file: IO[bytes]) -> str:
    with contextlib.suppress(Exception), zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        for pattern, text in _MEMBERS.items():
            if any(re.fullmatch(pattern, name) for name in names):
                return text
        pickled = next((name for name in names if name.endswith('data.pkl')), None)
        if pickled is None:
            return f'a zip archive ({", ".join(names[:_NAMED])})'
        with archive.open(pickled) as member:
            return _layout_of_pickles(member.read(_MOST_BYTES))
    return 'a damaged zip archive'


def _layout_of_safetensors(header: bytes) -> str:
    try:
        names = [name for name in json.loads(header) if name != '__metadata__']
    except (ValueError, RecursionError):
        return ''
    whose = layout_of_names(names)
    return f'safetensors weights{f" of {whose}" if whose else ""} ({", ".join(names[:_NAMED])})'


def _layout_of_pickles(content: bytes) -> str:
    classes = [name for name in _classes(io.BytesIO(content)) if not _HARMLESS.match(name)]
    for pattern, text in _CLASSES.items():
        if any(re.match(pattern, name) for name in classes):
            return text
    return f'a pickle (it asks for {classes[0].replace(" ", ".")})' if classes else ''


def _classes(stream: IO[bytes]) -> Iterator[str]:
    """Yield 'module name' of everything that pickles ask for."""
    strings = ['', '']
    with contextlib.suppress(Exception):  # whatever stands where a pickle ends or is damaged
        for _ in range(_MOST_PICKLES):
            for operation, argument, _ in pickletools.genops(stream):
                if operation.name in ('GLOBAL', 'INST'):
                    yield str(argument)
                elif operation.name == 'STACK_GLOBAL':
                    yield ' '.join(strings)
                elif isinstance(argument, str):
                    strings = [strings[1], argument]
