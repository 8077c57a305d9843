"""What can be wrong with the folder of an object, done to one that was written before."""

from __future__ import annotations

from pathlib import Path


def without_network(folder: Path) -> None:
    (folder / 'model.onnx').unlink()


def half_a_network(folder: Path) -> None:
    content = (folder / 'model.onnx').read_bytes()
    (folder / 'model.onnx').write_bytes(content[: len(content) // 2])


def empty_network(folder: Path) -> None:
    (folder / 'model.onnx').write_bytes(b'')


def another_first_keypoint(folder: Path) -> None:
    text = (folder / 'object.yaml').read_text(encoding='utf-8')
    (folder / 'object.yaml').write_text(text.replace('front', 'bow').replace('nose', 'bow'), encoding='utf-8')


def broken_object(folder: Path) -> None:
    (folder / 'object.yaml').write_text('name: [', encoding='utf-8')
