"""evaluate_bag as its user sees it: what it writes and prints, exit status, refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import bag_maker
import cv2
import numpy as np
import pytest
from bag_maker import CAMERA_INFO, TRUTH, tiny_bag, tiny_entries, trajectory, write_bag
from folder_owner import start_owner
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from custom_pose_ros.core.command_line import CANNOT, DONE, PARTLY, WRONG_USE
from custom_pose_ros.evaluation.bags.storage import StorageFile
from custom_pose_ros.tools.evaluate_bag import main

FRAMES = 30


@pytest.fixture(scope='module')
def dive(tmp_path_factory) -> Path:
    return tiny_bag(tmp_path_factory.mktemp('bags') / 'dive', FRAMES)[0]


@pytest.fixture(scope='module')
def two_runs(dive, tiny_folder, tmp_path_factory) -> tuple[Path, Path]:
    """Finished runs of the same bag: at the usual and at half of the input height."""
    folder = tmp_path_factory.mktemp('runs')
    for name, height in (('full', '256'), ('half', '128')):
        arguments = [str(dive), '--object', str(tiny_folder), '--truth', TRUTH, '--input-height', height]
        assert main([*arguments, '--out', str(folder / name)]) == DONE
    return folder / 'full', folder / 'half'


def test_results_are_written_and_the_verdict_printed(dive, tiny_folder, tmp_path, capsys):
    status = main([
        str(dive), '--object', str(tiny_folder), '--truth', TRUTH, '--out', str(tmp_path), '--video',
        '--fail-if', 'rotation_error_deg.p90 > 5', '--fail-if', 'detection.rate < 0.97',
    ])  # fmt: skip

    assert status == DONE
    assert {p.name for p in tmp_path.iterdir()} == {
        '.lock', 'metrics.json', 'frames.csv', 'report.html', 'annotated.mp4',
    }  # fmt: skip
    assert json.loads((tmp_path / 'metrics.json').read_text())['frames']['scored'] == FRAMES
    assert len((tmp_path / 'frames.csv').read_text().splitlines()) == FRAMES + 1
    out = capsys.readouterr().out
    assert 'All 2 limits are kept. Found in 100.0 % of 30 frames in view.' in out
    assert 'pass: detection.rate is 1 (fails if < 0.97)' in out
    video = cv2.VideoCapture(str(tmp_path / 'annotated.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(1e9 / bag_maker.FRAME_NS, rel=0.01)


def test_results_of_another_command_are_kept(dive, tiny_folder, tmp_path, capsys):
    """training/evaluate.py writes another metrics.json; each command replaced that of the other."""
    (tmp_path / 'metrics.json').write_text('{"AP": 1.0}')
    assert main([str(dive), '--object', str(tiny_folder), '--out', str(tmp_path)]) == CANNOT
    assert 'metrics.json: is there already and was not written by evaluate_bag' in capsys.readouterr().err
    (tmp_path / 'metrics.json').rename(tmp_path / 'annotated.mp4')
    assert main([str(dive), '--object', str(tiny_folder), '--out', str(tmp_path), '--video']) == CANNOT
    assert 'annotated.mp4: is there already and was not written by evaluate_bag' in capsys.readouterr().err
    assert os.listdir(tmp_path) == ['annotated.mp4']


def test_the_video_of_an_earlier_run_is_not_left_beside_a_new_report(dive, tiny_folder, tmp_path, capsys):
    arguments = [str(dive), '--object', str(tiny_folder), '--out', str(tmp_path), '--duration', '0.2']
    assert [main([*arguments, '--video']) for _ in range(2)] == [DONE, DONE]
    video = tmp_path / 'annotated.mp4'
    assert video.is_file()
    assert main(arguments) == DONE
    assert not video.exists()
    video.write_bytes(b'of somebody else')
    assert main(arguments) == DONE
    assert main([*arguments, '--video']) == CANNOT
    assert 'annotated.mp4: is there already and was not written by evaluate_bag' in capsys.readouterr().err
    assert video.read_bytes() == b'of somebody else'


def test_two_never_write_into_one_folder(dive, tiny_folder, tmp_path, capsys):
    with start_owner(tmp_path) as owner:
        assert main([str(dive), '--object', str(tiny_folder), '--out', str(tmp_path)]) == CANNOT
        owner.stdin.close()
    assert f'error: {tmp_path}: process {owner.pid} writes into it' in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['.lock']


def test_a_packed_bag_is_unpacked_once(tiny_folder, tmp_path, monkeypatch):
    """Overview, frame rate, reading and the pictures of the report use the same copy, which is removed afterwards."""
    bag = write_bag(tmp_path / 'dive', tiny_entries(trajectory(FRAMES)), compression='file')
    copies = []
    unpack = StorageFile._decompressed_copy
    monkeypatch.setattr(StorageFile, '_decompressed_copy', lambda file: copies.append(unpack(file)) or copies[-1])
    assert main([str(bag), '--object', str(tiny_folder), '--out', str(tmp_path / 'out'), '--video']) == DONE
    assert 'data:image/jpeg' in (tmp_path / 'out' / 'report.html').read_text()
    (copy,) = copies
    assert not copy.parent.exists()


@pytest.mark.parametrize('name', [b'dive_\xff', b'a#b?c%20d', b'a\n\tb\x1b[2J'], ids=['no UTF-8', 'URI', 'control'])
def test_a_bag_of_any_name_is_scored_and_its_results_are_kept(name, tiny_folder, tmp_path, root):
    folder = tmp_path / os.fsdecode(name)
    tiny_bag(tmp_path / 'bag', 3, storage='sqlite3')[0].rename(folder)
    command = [sys.executable, '-m', 'custom_pose_ros.tools.evaluate_bag', folder, '--object', tiny_folder, '--debug']
    done = subprocess.run(
        [*command, '--out', folder / 'out'], cwd=root, capture_output=True, timeout=100,
        env={**os.environ, 'PYTHONIOENCODING': 'ascii'},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (DONE, b'')
    assert done.stdout.isascii() and b'\x1b' not in done.stdout
    assert len(done.stdout.splitlines()) == 2  # the result, and where it is
    assert json.loads((folder / 'out' / 'metrics.json').read_text(encoding='utf-8'))['schema']
    assert (folder / 'out' / 'report.html').is_file()


def test_an_exceeded_limit_ends_in_1(dive, tiny_folder, tmp_path, capsys):
    arguments = [str(dive), '--object', str(tiny_folder), '--truth', TRUTH, '--out', str(tmp_path)]
    assert main([*arguments, '--fail-if', 'rotation_error_deg.p90 > 0.0001']) == CANNOT
    assert 'FAIL: rotation_error_deg.p90 is 0.' in capsys.readouterr().out
    assert (tmp_path / 'report.html').exists()


def test_a_damaged_bag_ends_in_3_and_a_limit_goes_before(dive, tiny_folder, tmp_path, capsys):
    bag = Path(shutil.copytree(dive, tmp_path / 'dive'))
    file = bag / 'dive.mcap'
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    arguments = [str(bag), '--object', str(tiny_folder), '--truth', TRUTH, '--out', str(tmp_path / 'out')]
    assert main(arguments) == PARTLY
    assert 'damaged: dive.mcap: is cut off or damaged after' in capsys.readouterr().err
    assert main([*arguments, '--fail-if', 'frames.scored < 30']) == CANNOT


@pytest.mark.parametrize(
    ('option', 'value', 'text'),
    [
        ('--duration', '0', 'wanted a number from 1e-09'),
        ('--start', '-5', 'wanted a number from 0'),
        ('--start', 'soon', "wanted a number from 0 to 1e+09, got 'soon'"),
        ('--truth-offset', '1e300', 'wanted a number from -1e+09 to 1e+09'),
        ('--truth-max-gap', '-1', 'wanted a number from 1e-09'),
        ('--threads', '0', 'wanted a whole number from 1 up'),
    ],
)
def test_numbers_that_cannot_be_are_refused(capsys, option, value, text):
    with pytest.raises(SystemExit, match=str(WRONG_USE)):
        main(['dive', option, value])
    assert f'argument {option}: {text}' in capsys.readouterr().err


def test_a_calibration_and_an_assumed_field_of_view_contradict_each_other(capsys):
    with pytest.raises(SystemExit, match=str(WRONG_USE)):
        main(['dive', '--camera', 'front.yaml', '--fov-deg', '60'])
    assert 'argument --fov-deg: not allowed with argument --camera' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ([], 'give a bag to evaluate'),
        (['DIVE', '--truth', '/mocap'], '--truth /mocap: is not in the bag'),
        (['DIVE', '--truth', TRUTH, '--truth-tf', 'sub'], 'give one truth'),
        (['DIVE', '--truth-tf', 'a', 'b', 'c'], '--truth-tf: wanted one or two frames'),
        (['DIVE', '--fail-if', 'p90 is bad'], "--fail-if 'p90 is bad': wanted NAME"),
        (['DIVE', '--fail-if', 'rotation_error_deg.p90 > 5'], 'is known only where there is a truth; give --truth'),
        (['DIVE', '--truth', TRUTH, '--fail-if', 'rotation_error.p90 > 5'], 'there is no number rotation_error.p90'),
        (
            ['--compare', 'a', 'b', '--fail-if', 'rotation_error_deg.p90 > 5'],
            'there are difference.rotation_error_deg.p90',
        ),
        (['DIVE', '--video', '--recorded', 'poses'], '--video draws what the estimators find'),
        (['DIVE', '--recorded', 'poses'], '--recorded poses: is not in the bag'),
        (['DIVE', '--object', 'nothing_like_it'], "object 'nothing_like_it' not found"),
        (['DIVE', '--compare', 'a', 'b', '--recorded', 'poses'], '--compare with a bag runs the estimators twice'),
    ],
)
def test_wrong_calls_end_in_2_and_one_line(dive, tiny_folder, tmp_path, capsys, arguments, text):
    assert refused(dive, tiny_folder, tmp_path, arguments) == WRONG_USE
    assert text in only_error(capsys)


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['/nothing'], '/nothing: no such bag'),
        (['DIVE', '--camera', '/none.yaml'], '/none.yaml: cannot be read'),
        (['DIVE', '--truth-tags', '/none.yaml'], '/none.yaml: cannot be read'),
        (['DIVE', '--truth-coco', '/none.json'], '/none.json: cannot be read'),
        (['DIVE', '--truth', TRUTH, '--extrinsics', '/none.yaml'], '/none.yaml: cannot be read'),
        (['--compare', '/a', '/b'], 'wanted a folder that evaluate_bag wrote'),
    ],
)
def test_what_cannot_be_scored_ends_in_1_and_one_line(dive, tiny_folder, tmp_path, capsys, arguments, text):
    assert refused(dive, tiny_folder, tmp_path, arguments) == CANNOT
    assert text in only_error(capsys)


@pytest.mark.parametrize('recorded', [[], ['--recorded', 'poses,orientations']])
@pytest.mark.parametrize('size', [(640, 512), (320, 240)])  # of the same shape as the images, and of another one
def test_a_calibration_of_other_images_is_refused_with_both_sizes(dive, tiny_folder, tmp_path, capsys, recorded, size):
    other = tmp_path / 'other.yaml'
    other.write_text(json.dumps({**bag_maker.CAMERA.to_yaml_dict(), 'image_width': size[0], 'image_height': size[1]}))
    bag = dive
    if recorded:
        bag = tmp_path / 'copy'
        assert refused(dive, tiny_folder, tmp_path, ['DIVE', '--write-bag', str(bag)]) == DONE
    arguments = [str(bag), '--truth', TRUTH, '--camera', str(other), *recorded]
    assert refused(dive, tiny_folder, tmp_path, arguments) == WRONG_USE
    start = f'error: --camera {other}: the calibration is for {size[0]}x{size[1]} and the image has 320x256'
    assert only_error(capsys).startswith(start)


def refused(dive: Path, tiny_folder: Path, tmp_path: Path, arguments: Sequence[str]) -> int:
    given = [str(dive) if argument == 'DIVE' else argument for argument in arguments]
    objects = [] if '--object' in given else ['--object', str(tiny_folder)]
    return main([*given, *objects, '--out', str(tmp_path / 'out')])


def only_error(capsys) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    return line


def test_two_finished_runs_are_compared(two_runs, tmp_path, capsys):
    names = [str(folder) for folder in two_runs]
    out = ['--out', str(tmp_path)]
    assert main(['--compare', *names, *out]) == DONE
    comparison = json.loads((tmp_path / 'comparison.json').read_text())
    assert comparison['frames']['common'] == FRAMES
    # Half of the resolution must cost accuracy: the tiny network decodes to a fraction of a map cell.
    assert comparison['difference']['keypoint_error_px']['median']['better'] == 'a'
    assert '<svg' in (tmp_path / 'compare.html').read_text()
    assert 'A is better in keypoint error' in capsys.readouterr().out
    limit = 'difference.keypoint_error_px.median.value > 0'
    assert main(['--compare', *names, *out, '--fail-if', limit]) == CANNOT
    assert main(['--compare', *names, *out, '--fail-if', 'difference.detection_rate.mean.high < -0.5']) == DONE


def test_two_models_on_one_bag_are_evaluated_and_compared(dive, tiny_folder, tmp_path):
    other = Path(shutil.copytree(tiny_folder, tmp_path / 'other'))
    arguments = [str(dive), '--object', str(tiny_folder), '--truth', TRUTH, '--out', str(tmp_path / 'out')]
    status = main([*arguments, '--compare', str(other), str(tiny_folder / 'model.onnx')])
    assert status == DONE
    comparison = json.loads((tmp_path / 'out' / 'comparison.json').read_text())
    assert comparison['a'] == str(other)
    assert comparison['difference']['rotation_error_deg']['median']['value'] == 0.0  # the same network
    assert {p.name for p in (tmp_path / 'out').iterdir()} == {'a', 'b', 'comparison.json', 'compare.html'}


def test_it_runs_without_ros_and_without_torch(dive, tiny_folder, tmp_path, root):
    """In a fresh process in which importing them fails; a bag only needs rosbags."""
    blocked = ('rclpy', 'torch', 'custom_pose_msgs', 'sensor_msgs')
    code = (
        'import sys; '
        f'sys.modules.update(dict.fromkeys({blocked!r})); '
        'from custom_pose_ros.tools.evaluate_bag import main; '
        f'sys.exit(main([{str(dive)!r}, "--object", {str(tiny_folder)!r}, '
        f'"--out", {str(tmp_path)!r}, "--duration", "0.2"]))'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == DONE, done.stderr


def with_info(change) -> list:
    """Return a dive whose camera_info a function has changed."""
    entries = tiny_entries(trajectory(6))
    for topic, _, _, message in entries:
        if topic == CAMERA_INFO:
            change(message)
    return entries


def baxter(info) -> None:
    """Say the offset of a region, in a camera_info that is of this region already."""
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 80, 60, info.width, info.height


def full_image(info) -> None:
    """Say a region that the driver does not cut out."""
    info.roi.x_offset, info.roi.width, info.roi.height = 80, 160, 128


def resized(info) -> None:
    """Give the calibration of the full sensor."""
    info.width, info.height = 2 * info.width, 2 * info.height
    info.k = np.array([2, 2, 2, 2, 2, 2, 1, 1, 1]) * info.k + np.array([0, 0, 0.5, 0, 0, 0.5, 0, 0, 0])


def fifth_zero(info) -> None:
    info.distortion_model, info.d = 'equidistant', np.array([0.1, 0.01, 0.0, 0.0, 0.0])


def ten_places(info) -> None:
    info.d = np.zeros(10)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (baxter, 'roi is ignored: it has the size of the calibration, so its offset (80, 60) is in K already'),
        (full_image, 'roi of the calibration ignored: images of 320x256 have its full size'),
        (resized, 'the calibration is for 640x512 and is scaled to images of 320x256: right where'),
        (ten_places, ''),
    ],
)
def test_camera_info_as_drivers_fill_it_gives_the_true_poses(change, said, tiny_folder, tmp_path, capsys):
    bag = write_bag(tmp_path / 'bag', with_info(change))
    arguments = [str(bag), '--object', str(tiny_folder), '--out', str(tmp_path / 'out'), '--truth', TRUTH]
    assert main([*arguments, '--fail-if', 'translation_error_m.p90 > 0.05']) == DONE
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith('note: /camera/camera_info')]
    assert len(notes) == bool(said)
    assert said in ''.join(notes)


def test_a_fisheye_with_a_fifth_zero_serves(tiny_folder, tmp_path, capsys):
    bag = write_bag(tmp_path / 'bag', with_info(fifth_zero))
    assert main([str(bag), '--object', str(tiny_folder), '--out', str(tmp_path / 'out')]) == DONE
    assert 'camera_info' not in capsys.readouterr().err


def test_webp_is_read_and_what_cannot_be_is_one_line(tiny_folder, tmp_path, capsys):
    entries = tiny_entries(trajectory(6), compressed='.webp')
    arguments = ['--object', str(tiny_folder), '--out', str(tmp_path / 'out')]
    assert main([str(write_bag(tmp_path / 'webp', entries)), *arguments, '--fail-if', 'detection.rate < 1']) == DONE
    for number, (topic, _, _, message) in enumerate(entries):
        if topic.endswith('/compressed') and number > 3:
            message.format, message.data = 'h264', np.zeros(100 + number, np.uint8)
    capsys.readouterr()
    assert main([str(write_bag(tmp_path / 'h264', entries)), *arguments]) == PARTLY
    (line,) = (line for line in capsys.readouterr().err.splitlines() if 'h264' in line)
    assert "of format 'h264': wanted a jpeg, png or webp file (" in line and line.endswith('times)')


def test_images_of_another_package_are_named_with_it(tiny_folder, tmp_path, capsys):
    kind = 'foxglove_msgs/msg/CompressedImage'
    store = get_typestore(Stores.ROS2_HUMBLE)
    text = 'builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n'
    store.register(get_types_from_msg(text, kind))
    stamp = store.types['builtin_interfaces/msg/Time'](1, 0)
    message = store.types[kind](stamp, 'camera', np.zeros(9, np.uint8), 'jpeg')
    bag = write_bag(tmp_path / 'bag', [('/cam/image', kind, 1, message)], store=store)
    assert main([str(bag), '--object', str(tiny_folder), '--out', str(tmp_path / 'out')]) == WRONG_USE
    assert capsys.readouterr().err == (
        'error: the bag has no topic of type sensor_msgs/Image, sensor_msgs/CompressedImage; '
        'it holds: /cam/image (foxglove_msgs/CompressedImage, 1)\n'
    )
