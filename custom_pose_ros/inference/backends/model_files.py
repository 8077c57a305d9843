"""The files that a trained network lies in, beside each other: their names, and who writes them."""

from __future__ import annotations

import hashlib
from pathlib import Path

ONNX = '.onnx'
INT8 = '_int8.onnx'
CHECKPOINT = '.pth'
ENGINE = '_trt.pth'
ENGINE_NAME = f'net{ENGINE}'  # as in the published recipe
WRITTEN_BY = {
    ONNX: 'training/export_onnx.py',
    INT8: 'training/quantize.py',
    CHECKPOINT: 'training/train.py',
    ENGINE: 'training/export_tensorrt.py',
}
DERIVED = (INT8, ENGINE)  # made from the .onnx file beside them, whose SHA-256 they carry as 'made_from'


def ending_of(path: Path) -> str:
    """Return which of the endings a file has, '' for another file."""
    return next((ending for ending in (INT8, ENGINE, ONNX, CHECKPOINT) if path.name.endswith(ending)), '')


def file_beside(path: Path, ending: str) -> Path:
    """Return the file with an ending: in a folder, the file itself, or the one beside it."""
    if path.is_dir():
        return path / (ENGINE_NAME if ending == ENGINE else f'model{ending}')
    own = ending_of(path)
    if own == ending:
        return path
    if ending == ENGINE:
        return path.with_name(ENGINE_NAME)
    if own in ('', ENGINE):
        return path.with_name(f'model{ending}')
    return path.with_name(path.name.removesuffix(own) + ending)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
