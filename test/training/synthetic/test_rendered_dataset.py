"""The synthesize command: COCO labels that reproject, same files for any number of processes, resuming, refusals."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import outlined_box
import pytest
import yaml
from tqdm import tqdm

pytest.importorskip('vtk', reason='vtk is not installed')
pytest.importorskip('trimesh', reason='trimesh is not installed')

from trimesh.creation import box

from custom_pose_ros.core.command_line import PARTLY
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from training import synthesize
from training.synthetic.rendering.gl_probe import missing_requirement

MISSING = missing_requirement()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
COUNT = 6
OBJECT = Path(__file__).resolve().parents[3] / 'config' / 'submarine'


def run(out: Path, *options: str) -> int:
    arguments = ['--object', str(OBJECT), '--out', str(out), '--size', '160x120', '--seed', '5', '--processes', '1']
    return synthesize.main([*arguments, *options])


def settings_file(folder: Path) -> Path:
    """Small blocks, two instances now and then, half of the pictures through a lens."""
    path = folder / 'settings.yaml'
    changes = {'camera': {'distortion_probability': 0.5}, 'pose': {'variants_every': 3, 'instances': [0, 0.5, 0.5]}}
    path.write_text(yaml.safe_dump(changes), encoding='utf-8')
    return path


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with COUNT pictures made by one process."""
    folder = tmp_path_factory.mktemp('synth')
    assert run(folder / 'out', '--count', str(COUNT), '--settings', str(settings_file(folder))) == 0
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in [*sorted((folder / 'images').iterdir()), folder / 'labels.json']}


def test_labels_are_coco_keypoints_that_reproject_from_the_pose(made: Path) -> None:
    content = json.loads((made / 'out' / 'labels.json').read_text())
    model = ObjectModel.load(OBJECT)
    assert [image['id'] for image in content['images']] == list(range(1, COUNT + 1))
    assert content['categories'][0]['keypoints'] == list(model.keypoint_names)
    assert content['categories'][0]['skeleton'] == [[a + 1, b + 1] for a, b in model.skeleton]
    assert len(content['annotations']) >= COUNT
    assert any(any(item['distortion']) for item in content['annotations'])
    for item in content['annotations']:
        keypoints = np.array(item['keypoints']).reshape(-1, 3)
        K, D = np.array(item['camera_matrix']).reshape(3, 3), np.array(item['distortion'])
        R, t = np.array(item['rotation_camera_object']).reshape(3, 3), np.array(item['translation_camera_object'])
        pixels = cv2.projectPoints(model.model_points, cv2.Rodrigues(R)[0], t, K, D)[0][:, 0]
        labelled = keypoints[:, 2] > 0
        assert np.abs(pixels - keypoints[:, :2])[labelled].max(initial=0) < 0.01  # poses are written with 6 digits
        assert (keypoints[~labelled] == 0).all()
        assert item['num_keypoints'] == labelled.sum()
        x, y, width, height = item['bbox']
        assert 0 <= x < x + width <= 160
        assert 0 <= y < y + height <= 120
        assert 0 < item['area'] <= width * height
        assert item['iscrowd'] == 0 and item['category_id'] == 1


def test_pictures_differ_and_have_the_size_asked_for(made: Path) -> None:
    images = [cv2.imread(str(path)) for path in sorted((made / 'out' / 'images').iterdir())]
    assert len(images) == COUNT
    assert all(image.shape == (120, 160, 3) for image in images)
    assert all(np.abs(a.astype(int) - b).mean() > 5 for a, b in zip(images, images[1:]))
    assert (made / 'out' / 'contact_sheet.png').is_file()


def test_two_processes_make_the_same_files(made: Path, tmp_path: Path) -> None:
    assert (
        run(tmp_path / 'out', '--count', str(COUNT), '--settings', str(settings_file(tmp_path)), '--processes', '2')
        == 0
    )
    assert files_of(tmp_path / 'out') == files_of(made / 'out')


def test_an_interrupted_run_goes_on(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, drawn = ('--settings', str(settings_file(tmp_path))), []
    monkeypatch.setattr(tqdm, 'refresh', lambda bar, **_: drawn.append((bar.desc, bar.n)))
    assert run(tmp_path / 'out', '--count', '4', *settings) == 0
    assert {count for what, count in drawn if what == 'images'} == {0, 1, 2, 3, 4}  # pictures, not blocks of three
    kept = tmp_path / 'out' / 'images' / '0000001.jpg'
    before = kept.stat().st_mtime_ns
    assert run(tmp_path / 'out', '--count', str(COUNT), *settings) == 0
    assert kept.stat().st_mtime_ns == before  # complete blocks are not made again
    assert files_of(tmp_path / 'out') == files_of(made / 'out')


def test_a_folder_of_another_recipe_is_refused(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (made / 'out' / 'preview.png').stat().st_mtime_ns
    settings = ('--settings', str(settings_file(made)))
    for options, different in (
        ((), '--settings or --scene, pose.variants_every (3 there, '),
        ((*settings, '--distance', '0.8', '1.1'), '--distance (0 0 there, 0.8 1.1 now)'),
        (
            (*settings, '--grey', '--preview'),
            '--grey or --color (0 % of the pictures grey there, 100 % of the pictures grey now)',
        ),
        ((*settings, '--seed', '6'), '--seed (5 there, 6 now)'),
    ):
        assert run(made / 'out', '--count', str(COUNT), *options) == 1
        error = capsys.readouterr().err
        assert f'{made / "out"}: holds pictures made with another ' in error and different in error
        assert error.endswith(': give the same options, or an empty --out\n')
    assert (made / 'out' / 'preview.png').stat().st_mtime_ns == before


@pytest.mark.parametrize('name', ['preview.png', 'labels.json', 'recipe.json'])
def test_files_of_somebody_else_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / name).write_text('{}')
    assert run(tmp_path, '--preview') == 1
    text = f'{tmp_path / name}: is there already and was not written by training/synthesize.py: move it away'
    assert text in capsys.readouterr().err
    assert os.listdir(tmp_path) == [name]


def test_photos_of_somebody_else_are_not_replaced_by_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / 'out' / 'backgrounds' / 'mine.png'
    photo.parent.mkdir(parents=True)
    photo.touch()
    film = Path(__file__).resolve().parents[3] / 'config' / 'submarine' / 'demo' / 'clip.mp4'
    assert run(tmp_path / 'out', '--backgrounds', str(film), '--preview') == 1
    assert f'{photo.parent}: is there already and was not written by' in capsys.readouterr().err
    assert photo.is_file()


def test_an_object_without_positions_is_named_by_its_file(tmp_path: Path, capsys) -> None:
    path = tmp_path / 'object.yaml'
    path.write_text('name: bare\nkeypoints: [a, b]\nskeleton: [[a, b]]\n')
    assert synthesize.main(['--object', str(path), '--out', str(tmp_path / 'out'), '--count', '1']) == 1
    assert capsys.readouterr().err.startswith(f'error: {path}: model_points: wanted a position for every keypoint')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('preview', [(), ('--preview',)], ids=['all', 'preview'])
@pytest.mark.parametrize(('options', 'text'), [
    (('--mesh', 'nowhere.stl'), 'nowhere.stl'),
    (('--backgrounds', 'nowhere'), 'nowhere'),
    (('--backgrounds', 'nowhere', '--image', '/x'), 'nowhere'),
    (('--camera', 'nowhere.yaml'), 'nowhere.yaml'),
    (('--settings', 'nowhere.yaml'), 'nowhere.yaml'),
])  # fmt: skip
def test_what_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options, text: str, preview: tuple[str, ...]
) -> None:
    assert run(tmp_path / 'out', *options, *preview) == 1
    error = capsys.readouterr().err
    assert text in error
    assert error.count('\n') == 1


def test_a_preview_is_all_that_is_written(tmp_path: Path) -> None:
    for _ in range(2):  # axes of the mesh are found by trying
        assert run(tmp_path / 'out', '--preview') == 0
    assert [path.name for path in (tmp_path / 'out').iterdir() if not path.name.startswith('.')] == ['preview.png']


def test_sizes_that_are_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, '--size', '480')
    assert "'480'" in capsys.readouterr().err


@pytest.mark.parametrize('clip', [(), ('--trajectory',)])
def test_a_camera_of_another_size_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], clip) -> None:
    path = tmp_path / 'half.yaml'
    camera = CameraIntrinsics(1280, 960, np.array([[600, 0, 320], [0, 600, 240], [0, 0, 1.0]]))
    path.write_text(yaml.safe_dump(camera.to_yaml_dict()))
    arguments = ['--object', str(OBJECT), '--out', str(tmp_path / 'out'), '--size', '640x480']
    assert synthesize.main([*arguments, '--camera', str(path), *clip]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f'error: --camera {path}: the calibration is for 1280x')


def test_options_that_a_clip_would_not_heed_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        run(tmp_path, '--trajectory', '--scene', 'indoor', '--seen-from', 'front', '--image', '/x')
    assert exit_.value.code == 2
    assert '--trajectory draws a pool, whatever --scene, --seen-from, --image says' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='2'):
        run(tmp_path, '--trajectory', '--count', '12')
    assert '--count is of pictures; the length of a clip is trajectory.seconds' in capsys.readouterr().err


def test_distances_are_kept_and_those_that_show_nothing_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    view = ('--distance', '0.8', '1.1', '--scene', 'plain', '--seen-from', 'left', '--color')
    assert run(tmp_path / 'a', '--count', '4', *view) == 0
    assert 'scene: plain' in (told := capsys.readouterr().out) and 'submarine is seen from left' in told
    recipe = json.loads((tmp_path / 'a' / 'recipe.json').read_text())
    assert recipe['settings']['sensor']['grey_probability'] == 0
    content, points = json.loads((tmp_path / 'a' / 'labels.json').read_text()), ObjectModel.load(OBJECT).model_points
    for item in content['annotations']:
        R, t = np.reshape(item['rotation_camera_object'], (3, 3)), np.array(item['translation_camera_object'])
        assert 0.79 < np.linalg.norm(R @ (points.min(0) + points.max(0)) / 2 + t) < 1.11
    assert run(tmp_path / 'b', '--distance', '1.1', '0.8') == 2
    assert '--distance: wanted 0 < NEAR <= FAR, got 1.1 0.8' in capsys.readouterr().err
    assert run(tmp_path / 'b', '--distance', '0.01', '0.02') == 1
    assert 'submarine is larger than the picture' in capsys.readouterr().err
    assert run(tmp_path / 'c', '--distance', '50', '60') == 1
    assert 'too small to label' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='2'):
        run(tmp_path / 'd', '--bag')
    assert '--bag needs --trajectory' in capsys.readouterr().err


def test_memory_does_not_grow_with_the_number_of_pictures() -> None:
    from training.synthetic.geometry.object_builder import object_builder
    from training.synthetic.scenes.scene import SceneGenerator
    from training.synthetic.settings import load_settings

    def resident_mib() -> float:
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith('VmRSS')) / 1024

    if not Path('/proc/self/status').is_file():
        pytest.skip('/proc is needed to read the memory in use')
    model = ObjectModel.load(OBJECT)
    settings = load_settings()
    settings.pose.variants_every = 5
    generator = SceneGenerator(model, object_builder(model, None, settings.surface), settings, 160, 120)
    for index in range(15):
        generator.generate(1, index)
    before = resident_mib()
    for index in range(15, 45):
        generator.generate(1, index)
    # 1 MiB per picture would be 10 GB in 10,000 pictures; the allocator's own breathing is a few MiB
    assert resident_mib() - before < 20


def test_a_mesh_a_calibrated_camera_and_the_users_own_backgrounds(tmp_path: Path) -> None:
    """A second object, in millimetres and z forward, from mesh file to labels."""
    trimesh = pytest.importorskip('trimesh', reason='trimesh is not installed')
    body = trimesh.creation.box((60, 60, 200))
    fin = trimesh.creation.box((120, 10, 40))
    fin.apply_translation((0, 0, -80))
    trimesh.util.concatenate([body, fin]).export(tmp_path / 'thing.stl')
    points = {'nose': [0.1, 0, 0], 'left_fin': [-0.08, 0.06, 0], 'right_fin': [-0.08, -0.06, 0]}
    thing = {
        'name': 'thing',
        'keypoints': list(points),
        'skeleton': [['nose', 'left_fin'], ['nose', 'right_fin']],
        'model_points': points,
    }
    (tmp_path / 'object.yaml').write_text(yaml.safe_dump(thing))
    camera = CameraIntrinsics(320, 240, np.array([[300, 0, 160], [0, 300, 120], [0, 0, 1.0]]), [-0.2, 0.05, 0, 0, 0])
    (tmp_path / 'camera.yaml').write_text(yaml.safe_dump(camera.to_yaml_dict()))
    (tmp_path / 'pool').mkdir()
    cv2.imwrite(str(tmp_path / 'pool' / 'empty.jpg'), np.full((200, 300, 3), 90, np.uint8))
    arguments = [
        '--object', str(tmp_path), '--mesh', str(tmp_path / 'thing.stl'), '--mesh-scale', '0.001',
        '--mesh-axes=z,x,y', '--camera', str(tmp_path / 'camera.yaml'), '--backgrounds', str(tmp_path / 'pool'),
    ]  # fmt: skip
    assert (
        synthesize.main([
            *arguments,
            '--out',
            str(tmp_path / 'out'),
            '--size',
            '160x120',
            '--count',
            '3',
            '--processes',
            '1',
        ])
        == 0
    )
    content = json.loads((tmp_path / 'out' / 'labels.json').read_text())
    assert content['categories'][0]['keypoints'] == list(points)
    assert content['annotations']
    for item in content['annotations']:
        assert item['camera_matrix'] == pytest.approx(camera.scaled_to(160, 120).K.ravel())
        assert item['distortion'] == pytest.approx(camera.D)
    assert synthesize.main([*arguments, '--out', str(tmp_path / 'no'), '--mesh-scale', '1']) == 1


@pytest.mark.parametrize(
    ('module', 'out', 'options'),
    [
        ('training.synthesize', 'out', ['--object', 'OBJECT', '--count', '1', '--processes', '1', '--size', '64x48']),
        ('training.outline', 'out.npz', ['--object', 'OBJECT', '--views', '20']),
        ('training.choose_keypoints', 'out.json', ['--candidates-for', 'OBJECT']),
        ('custom_pose_ros.tools.analyze_object', 'out', ['OBJECT']),
    ],
)
def test_colours_of_a_mesh_that_are_missing_are_told_once_and_by_the_exit_code(tmp_path, capfd, module, out, options):
    """They were told twice, and the command ended with 0."""
    mesh = tmp_path / 'box.obj'
    mesh.write_text('mtllib gone.mtl\nusemtl paper\n' + box(2 * outlined_box.HALF_M).export(file_type='obj'))
    (tmp_path / 'object.yaml').write_text(yaml.safe_dump(outlined_box.MODEL.to_dict()))
    arguments = [str(tmp_path) if option == 'OBJECT' else option for option in options]
    for _ in range(2 if out == 'out.json' else 1):  # that was refused as somebody else's
        status = importlib.import_module(module).main([*arguments, '--mesh', str(mesh), '--out', str(tmp_path / out)])
        assert (status, capfd.readouterr().err.count('its file gone.mtl is missing')) == (PARTLY, 1)
        assert (tmp_path / out).exists()


def test_a_process_that_dies_is_told(tmp_path: Path) -> None:
    from custom_pose_ros.core.errors import DatasetError
    from training.synthetic.output.rendered_dataset import Job, write_dataset

    job = Job(tmp_path, 4, 0, {'categories': []}, _dying_generator, block=2)
    with pytest.raises(DatasetError, match='process'):
        write_dataset(job, 2)


def _dying_generator(recipe: dict) -> None:
    os._exit(3)


def children_of(pid: int) -> list[int]:
    """Return the living processes that a process has started."""
    tasks = Path(f'/proc/{pid}/task').glob('*/children')
    return [int(child) for task in tasks for child in task.read_text().split()]


def test_a_command_that_is_killed_leaves_no_process_behind(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, 'training/synthesize.py', '--object', str(OBJECT), '--out', str(tmp_path / 'out')]
    with subprocess.Popen([*command, '--count', '5000'], cwd=root, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 120
        while not any((tmp_path / 'out' / 'images').glob('*.jpg')) and time.monotonic() < deadline:
            time.sleep(0.2)
        started = children_of(running.pid)
        assert len(started) >= 2  # both draw; one more keeps track of shared resources
        running.send_signal(signal.SIGKILL)
    while any(Path(f'/proc/{pid}').exists() for pid in started) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert [pid for pid in started if Path(f'/proc/{pid}').exists()] == []
