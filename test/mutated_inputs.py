"""
Every reader, given mutated inputs: it reads them or refuses them in one line, and what it reads is what they say.

    python test/mutated_inputs.py --count 10000            in all, a table of what came of them
    python test/mutated_inputs.py --only coco --seed 3 --count 500
    python test/mutated_inputs.py --only coco --seed 3 --first 217 --count 1 --keep build/mutated

Each input is a function of reader, seed and number, so that what was found can be made again.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import yaml
from bag_maker import ROS1, Messages, tiny_entries, trajectory, write_bag, write_ros1_bag
from mutated_labels import LABEL_READERS, Reader, Wrong, fish
from mutators import mutate_file
from tiny_model import TINY_POINTS, draw_tiny_object, write_tiny_object

from custom_pose_ros.core.errors import CustomPoseError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.pictures import read_picture
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.bags.stored import unpack, zstd
from custom_pose_ros.evaluation.scoring import compare
from custom_pose_ros.evaluation.truth.alignment import read_alignment
from custom_pose_ros.evaluation.truth.apriltag import read_tags
from training.synthetic.settings import DEFAULTS_FILE, load_settings

LIMIT_S = 30  # for one input; everything here takes milliseconds
ACCEPTED, REFUSED, TRACEBACK, WRONG = 'accepted', 'refused', 'traceback', 'wrong number'


@dataclass
class Outcome:
    """What came of the inputs of one reader."""

    counts: collections.Counter = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)


def _yaml(text: str, read: Callable[[Path], Any], check: Callable[[Any, Any], None] | None = None) -> Reader:
    def make(folder: Path) -> None:
        (folder / 'a.yaml').write_text(text, encoding='utf-8')

    def read_and_check(folder: Path, _: Any, kind: str) -> None:
        result = read(folder / 'a.yaml')
        if check is not None:
            check(result, yaml.safe_load((folder / 'a.yaml').read_text(encoding='utf-8')))

    return Reader(make, 'a.yaml', read_and_check, 2)


CAMERA_YAML = """\
image_width: 640
image_height: 480
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [500.5, 0, 320.25, 0, 501.5, 240.75, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.02, 0.001, -0.002, 0.0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [480, 0, 320, 0, 0, 480, 240, 0, 0, 0, 1, 0]}
"""
TAGS_YAML = """\
tags:
  - {id: 3, size_m: 0.1, object_from_tag: {xyz_m: [0.1, 0.2, 0.3], rpy_deg: [10, 20, 30]}}
  - {id: 7, size_m: 0.05, object_from_tag: {xyz_m: [0, 0, 0], quaternion_xyzw: [0, 0, 0, 1]}}
"""
EXTRINSICS_YAML = """\
camera_from_world: {xyz_m: [1, 2, 3], rpy_deg: [0, 90, 0]}
body_from_object: {xyz_m: [0, 0, 0.1], quaternion_xyzw: [0, 0.6, 0, 0.8]}
"""
OBJECT_YAML = """\
name: buoy
keypoints: [front, back, left, right, top]
skeleton: [[front, back], [left, right], [front, top]]
swaps: [[left, right]]
sigmas: {front: 0.05, back: 0.05, left: 0.04, right: 0.04, top: 0.05}
model_points:
  front: [0.5, 0.0, 0.0]
  back: [-0.5, 0.0, 0.0]
  left: [0.0, 0.3, 0.0]
  right: [0.0, -0.3, 0.0]
  top: [0.0, 0.0, 0.25]
symmetries: [{axis: [0, 0, 1], fold: 2}]
thresholds: {keypoint_score: 0.2, min_keypoints: 3}
input_height: 256
"""


def _check_camera(camera: CameraIntrinsics, said: Any) -> None:
    K, D = (
        np.array(entry['data'] if isinstance(entry, dict) else entry, float)
        for entry in (said['camera_matrix'], said['distortion_coefficients'])
    )
    K = K.reshape(3, 3)
    if not np.array_equal(camera.K, K) or (camera.width, camera.height) != (said['image_width'], said['image_height']):
        raise Wrong(f'K {camera.K.ravel().tolist()} of {said["camera_matrix"]}')
    if (
        camera.distortion_model == said.get('distortion_model')
        and np.trim_zeros(D, 'b').tolist() != np.trim_zeros(camera.D, 'b').tolist()
    ):
        raise Wrong(f'D {camera.D.tolist()} of {D.tolist()}')
    if not np.isfinite(camera.project(np.array([[0.0, 0.0, 1.0]]))).all():
        raise Wrong('its centre is nowhere')


def _check_object(model: ObjectModel, said: Any) -> None:
    kept = model.to_dict()
    for key in ('name', 'keypoints', 'skeleton', 'swaps', 'model_points', 'input_height', 'sigmas'):
        if key in said and said[key] and not _same(kept[key], said[key]):
            raise Wrong(f'{key}: {kept[key]} of {said[key]}')
    for points in (model.model_points, model.sigmas):
        if points is not None and np.isinf(points).any():
            raise Wrong(f'{points}')
    ObjectModel.from_dict(kept, 'copy')


def _same(kept: Any, said: Any) -> bool:
    if isinstance(said, dict):
        return isinstance(kept, dict) and all(_same(kept.get(key), value) for key, value in said.items())
    if isinstance(said, list):
        return isinstance(kept, list) and len(kept) == len(said) and all(map(_same, kept, said))
    if isinstance(said, float) or isinstance(kept, float):
        return isinstance(kept, (int, float)) and abs(kept - float(said)) <= 1e-9 * max(1.0, abs(kept))
    return kept == said


def _check_tags(tags: Any, said: Any) -> None:
    for tag, entry in zip(tags, said['tags']):
        if (tag.number, tag.size_m) != (entry['id'], entry['size_m']) or not np.isfinite(tag.corners).all():
            raise Wrong(f'{tag}')
        if not np.allclose(tag.object_tag.translation, entry['object_from_tag'].get('xyz_m') or [0, 0, 0]):
            raise Wrong(f'{tag}')


def _check_alignment(alignment: Any, said: Any) -> None:
    for pose in (alignment.camera_world, alignment.body_object):
        if (
            not np.allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-6)
            or not np.isfinite(pose.translation).all()
        ):
            raise Wrong(f'{pose}')


# Meshes.


def _mesh(suffix: str) -> Reader:
    def make(folder: Path) -> None:
        import trimesh

        mesh = trimesh.creation.box((0.2, 0.1, 0.3))
        if suffix == 'urdf':
            mesh.export(folder / 'part.stl')
            (folder / 'a.urdf').write_text(URDF, encoding='utf-8')
        else:
            mesh.export(folder / f'a.{suffix}')

    def read(folder: Path, _: Any, kind: str) -> None:
        from training.synthetic.geometry.object_builder import load_parts

        parts = load_parts(folder / f'a.{suffix}')
        for part in parts:
            if not len(part.faces) or part.faces.min() < 0 or part.faces.max() >= len(part.vertices):
                raise Wrong(f'{part.name}: faces that point nowhere')
            if not np.isfinite(part.vertices).all():
                raise Wrong(f'{part.name}: vertices that are no numbers')
        if suffix == 'stl':
            _check_stl(parts, (folder / 'a.stl').read_bytes())

    return Reader(make, f'a.{suffix}', read)


URDF = """\
<?xml version="1.0"?>
<robot name="r">
  <link name="base"><visual><geometry><mesh filename="part.stl" scale="1 1 1"/></geometry></visual></link>
  <link name="arm"><visual><origin xyz="0 0 0.1"/><geometry><box size="0.1 0.2 0.3"/></geometry></visual></link>
  <joint name="j" type="fixed"><parent link="base"/><child link="arm"/><origin xyz="0 0 0.2" rpy="0 0 1.57"/></joint>
</robot>
"""


def _check_stl(parts: list[Any], data: bytes) -> None:
    """Whether all vertices stand in a binary STL; a file of another length than it states was to be refused."""
    triangles = int.from_bytes(data[80:84], 'little')
    if len(data) != 84 + 50 * triangles:
        raise Wrong(f'{triangles} triangles in {len(data)} bytes')
    layout = np.dtype([('normal', '<f4', 3), ('vertices', '<f4', (3, 3)), ('more', '<u2')])
    stated = np.frombuffer(data[84:], layout)['vertices'].reshape(-1, 3).astype(float)
    for part in parts:
        for vertex in part.vertices:
            if np.abs(stated - vertex).max(1).min() > 1e-6 * max(1.0, np.abs(vertex).max()):
                raise Wrong(f'vertex {vertex.tolist()} stands nowhere in the file')


# Bags.


def _bag(name: str) -> Reader:
    kind = name.removeprefix('bag_')

    def make(folder: Path) -> Any:
        entries = tiny_entries(trajectory(5), compressed='.jpg')
        if kind == 'ros1':
            path = write_ros1_bag(folder / 'a.bag', tiny_entries(trajectory(5), Messages(ROS1), '.jpg'))
        elif kind in ('sqlite3', 'message'):
            path = write_bag(folder / 'bag', entries, 'sqlite3', 'message' if kind == 'message' else 'none')
        else:
            path = write_bag(folder / 'bag', entries, compression='storage' if kind == 'mcap_zstd' else 'none')
            _add_sums(path / 'bag.mcap')
        if kind == 'file':
            packed = folder / 'a.mcap.zstd'
            packed.write_bytes(zstd.compress((path / 'bag.mcap').read_bytes()))
            shutil.rmtree(path)
            path = packed
        return SimpleNamespace(messages=_messages(path)[0], path=path.relative_to(folder))

    def read(folder: Path, made: Any, mutation: str) -> None:
        found, notes = _messages(folder / made.path)
        lost, more = made.messages - found, found - made.messages
        checked = kind in ('metadata', 'mcap', 'mcap_zstd', 'file')  # sqlite3 and ROS 1 have no sums
        if more and (checked or (mutation == 'cut' and not notes)):
            raise Wrong(f'{sum(more.values())} messages that nobody recorded: {notes}')
        if lost and not more and not notes:
            raise Wrong(f'{sum(lost.values())} of {sum(made.messages.values())} messages lost without a word')

    spoilt = {'ros1': 'a.bag', 'metadata': 'bag/metadata.yaml', 'file': 'a.mcap.zstd'}.get(kind, 'bag/bag.*')
    return Reader(make, spoilt, read)


def _add_sums(path: Path) -> None:
    """Set the CRC of each chunk of an mcap, which rosbags leaves out."""
    data, position = bytearray(path.read_bytes()), 8
    while data[position] not in (0x02, 0x0F):
        length = int.from_bytes(data[position + 1 : position + 9], 'little')
        if data[position] == 0x06:
            start = position + 9
            name = int.from_bytes(data[start + 28 : start + 32], 'little')
            compression = data[start + 32 : start + 32 + name].decode()
            block = unpack(bytes(data[start + 40 + name : start + length]), compression)[0]
            data[start + 24 : start + 28] = zlib.crc32(block).to_bytes(4, 'little')
        position += 9 + length
    path.write_bytes(data)


def _messages(path: Path) -> tuple[collections.Counter, list[str]]:
    """Return time and bytes of each message with how often it was read, and what was noted of damage."""
    found: collections.Counter = collections.Counter()
    with Bag([path]) as bag:
        for message in bag.messages():
            bag.decode(message)
            found[message.time_ns, bytes(message.data)] += 1
        return found, bag.notes.lines()


# Pictures, networks, results.


def _picture(suffix: str) -> Reader:
    def make(folder: Path) -> Any:
        smooth = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), (96, 72))
        cv2.imwrite(str(folder / f'a{suffix}'), smooth)
        return cv2.imread(str(folder / f'a{suffix}'))

    def read(folder: Path, original: np.ndarray, kind: str) -> None:
        picture = read_picture(folder / f'a{suffix}')
        image = picture.upright
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise Wrong(f'{image.shape} {image.dtype}')
        unseen = kind == 'cut' or suffix == '.png'  # what its sums or its end give away
        if unseen and not picture.damage and not np.array_equal(image, original):
            raise Wrong('not the same picture, without a word')

    return Reader(make, f'a{suffix}', read)


def _make_network(folder: Path) -> np.ndarray:
    write_tiny_object(folder)
    return draw_tiny_object(TINY_POINTS)


def _read_network(folder: Path, image: np.ndarray, kind: str) -> None:
    from custom_pose_ros.inference.estimator import PoseEstimator

    for pose in PoseEstimator.load(str(folder), backend='onnxruntime')(image):
        seen = pose.keypoints[pose.visible]
        if not np.isfinite(seen).all() or not np.isfinite(pose.scores).all() or not 0 <= pose.score < 1e6:
            raise Wrong(f'{pose}')


def _make_checkpoint(folder: Path) -> Any:
    import torch

    from custom_pose_ros.inference.checkpoints import Checkpoint, save_checkpoint
    from custom_pose_ros.inference.network import build_network

    torch.manual_seed(0)
    network = build_network('light', fish())
    checkpoint = Checkpoint('light', {}, fish(), network.state_dict())
    save_checkpoint(folder / 'a.pth', checkpoint)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _read_checkpoint(folder: Path, weights: Any, kind: str) -> None:
    import torch

    from custom_pose_ros.inference.checkpoints import load_checkpoint

    loaded = load_checkpoint(folder / 'a.pth')
    for name, tensor in weights.items():
        if name not in loaded.weights or not torch.equal(loaded.weights[name], tensor):
            raise Wrong(f'{name} has other numbers')


FRAMES_OF_RUN = 40


def _make_run(folder: Path) -> Any:
    """Two finished runs as evaluate_bag writes them."""
    source = Path(os.environ['MUTATED_RUN']) if 'MUTATED_RUN' in os.environ else None
    if source is None:
        source = folder.parent / 'run'
        if not source.is_dir():
            _evaluate(source)
    for name in 'ab':
        shutil.copytree(source, folder / name)
    return json.loads((folder / 'b' / 'metrics.json').read_text(encoding='utf-8'))


def _evaluate(out: Path) -> None:
    from custom_pose_ros.tools import evaluate_bag

    with tempfile.TemporaryDirectory() as temporary:
        model = write_tiny_object(Path(temporary, 'tiny'))
        bag = write_bag(Path(temporary, 'bag'), tiny_entries(trajectory(FRAMES_OF_RUN), compressed='.jpg'))
        with contextlib.redirect_stdout(None), contextlib.redirect_stderr(open(os.devnull, 'w')):
            evaluate_bag.main([str(bag), '--object', str(model), '--truth', '/truth/pose', '--out', str(out)])


def _read_run(folder: Path, metrics: Any, kind: str) -> None:
    from custom_pose_ros.evaluation.report import comparison_report
    from custom_pose_ros.evaluation.scoring.conditions import Verdict
    from custom_pose_ros.evaluation.scoring.summary import to_json

    a, b = (compare.FinishedRun.load(folder / name) for name in 'ab')
    result = compare.compare(a, b)
    json.loads(to_json(result))
    comparison_report.summary(result, Verdict.of((), result))


READERS: dict[str, Reader] = {
    **LABEL_READERS,
    'object': _yaml(OBJECT_YAML, ObjectModel.load, _check_object),
    'camera': _yaml(CAMERA_YAML, CameraIntrinsics.from_yaml, _check_camera),
    'tags': _yaml(TAGS_YAML, read_tags, _check_tags),
    'extrinsics': _yaml(EXTRINSICS_YAML, read_alignment, _check_alignment),
    'render_settings': _yaml(DEFAULTS_FILE.read_text(encoding='utf-8'), load_settings),
    **{f'mesh_{suffix}': _mesh(suffix) for suffix in ('stl', 'obj', 'ply', 'glb', 'dae', 'urdf')},
    **{
        name: _bag(name)
        for name in ('bag_mcap', 'bag_mcap_zstd', 'bag_sqlite3', 'bag_ros1', 'bag_message', 'bag_file', 'bag_metadata')
    },
    **{f'picture{suffix}': _picture(suffix) for suffix in ('.jpg', '.png', '.bmp', '.webp')},
    'network': Reader(_make_network, 'model.onnx', _read_network, 0.5),
    'checkpoint': Reader(_make_checkpoint, 'a.pth', _read_checkpoint, 0.1),
    'run': Reader(_make_run, 'b/*[sv]*', _read_run, 0.5),
}


class _TooLong(BaseException):
    """One input took longer than LIMIT_S."""


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(name: str, count: int, folder: Path, seed: int = 0, first: int = 0, keep: Path | None = None) -> Outcome:
    """Give a reader `count` mutated inputs; `folder` is empty and may be written to."""
    reader, outcome = READERS[name], Outcome()
    sound, mutated = folder / 'sound', folder / 'mutated'
    sound.mkdir()
    made = reader.make(sound)
    reader.read(sound, made, 'none')
    for number in range(first, first + count):
        rng = random.Random(f'{name} {seed} {number}')
        shutil.rmtree(mutated, ignore_errors=True)
        shutil.copytree(sound, mutated)
        kind = mutate_file(rng.choice(sorted(mutated.glob(reader.spoilt))), rng)
        result, text = ACCEPTED, ''
        try:
            with _time_limit():
                reader.read(mutated, made, kind)
        except Wrong as error:
            result, text = WRONG, str(error)[:300]
        except (CustomPoseError, OSError) as error:
            result = REFUSED
            if '\n' in str(error).strip() or len(str(error)) > 2000:
                result, text = TRACEBACK, f'a refusal of {len(str(error))} characters: {str(error)[:200]!r}'
        except (_TooLong, Exception) as error:
            result = TRACEBACK
            where = traceback.extract_tb(error.__traceback__)[-1]
            own = [f for f in traceback.extract_tb(error.__traceback__) if 'site-packages' not in f.filename]
            place = own[-1] if own else where
            text = f'{type(error).__name__}: {str(error)[:150]!r} at {Path(place.filename).name}:{place.lineno}'
        outcome.counts[result] += 1
        if text:
            outcome.faults.append(f'{name} seed {seed} number {number} ({kind}): {result}: {text}')
            if keep is not None:
                shutil.copytree(mutated, keep / f'{name}_{seed}_{number}', dirs_exist_ok=True)
    return outcome


def shares(count: int, names: list[str]) -> dict[str, int]:
    """Return how many of `count` inputs each reader gets, at least one."""
    whole = sum(READERS[name].share for name in names)
    return {name: max(1, round(count * READERS[name].share / whole)) for name in names}


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=10_000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--first', type=int, default=0)
    parser.add_argument('--only', nargs='+', choices=READERS, default=list(READERS))
    parser.add_argument('--keep', type=Path, help='folder for the inputs that were read wrongly')
    args = parser.parse_args()
    total: collections.Counter = collections.Counter()
    for name, count in shares(args.count, args.only).items():
        with tempfile.TemporaryDirectory() as folder:
            outcome = run(name, count, Path(folder), args.seed, args.first, args.keep)
        total += outcome.counts
        print(f'{name:16}', *(f'{kind} {outcome.counts[kind]:5}' for kind in (ACCEPTED, REFUSED, TRACEBACK, WRONG)))
        print('\n'.join(outcome.faults), end='\n' if outcome.faults else '', flush=True)
    print(f'{"all":16}', *(f'{kind} {total[kind]:5}' for kind in (ACCEPTED, REFUSED, TRACEBACK, WRONG)))
    return 1 if total[TRACEBACK] or total[WRONG] else 0


if __name__ == '__main__':
    sys.exit(main())
