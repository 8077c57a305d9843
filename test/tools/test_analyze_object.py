"""analyze_object as a command: table, numbers and chart of real objects, and one line for bad input."""

from __future__ import annotations

import json

import cv2
import pytest
import yaml

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.tools.analyze_object import main


def test_the_submarine_far_away_needs_a_mast(tmp_path, capsys):
    assert main(['submarine', '--fov-deg', '60', '--out', str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / 'submarine.json').read_text(encoding='utf-8'))
    assert [numbers['distances_m'][0], numbers['distances_m'][-1]] == [1.0, 4.0]
    near, far = numbers['errors'][0], numbers['errors'][-1]
    assert near['ambiguous'] < 0.02
    assert far['ambiguous'] > 0.5
    add, move = numbers['changes']
    assert (add['keypoint'], move['keypoint'] in ObjectModel.load('submarine').keypoint_names) == (None, True)
    for change in (add, move):
        after = change['errors'][-1]['rotation_with_wrong_choice_deg']
        assert after <= 0.5 * far['rotation_with_wrong_choice_deg']
    out = capsys.readouterr().out
    assert out.startswith(
        'submarine: 4 keypoints with a known position, spread over 0.599 m, noise 1 px, '
        'camera of 640x480 px, f = 554 px\n'
        'distances of 1.7 to 6.7 times its size (--distance)\n'
        'all keypoints count as seen, also those the object hides'
    )
    assert f'{far["rotation_with_wrong_choice_deg"]:.1f} deg. Better:\n  add a keypoint near ' in out
    assert cv2.imread(str(tmp_path / 'submarine.png')).shape[1] > 1000


def test_the_mast_and_other_known_points_are_compared(tmp_path, capsys):
    candidates = ['--candidate', 'screw', '0.28', '0.08', '0.018', '--candidate', 'mast', '0.29', '0', '0.13']
    assert main(['submarine', '--distance', '2', '4', '--out', str(tmp_path), *candidates]) == 0
    numbers = json.loads((tmp_path / 'submarine.json').read_text(encoding='utf-8'))
    best, second, anywhere, _ = numbers['changes']
    assert (best['keypoint'], second['keypoint'], anywhere['keypoint']) == ('mast', 'screw', None)
    assert (best['added'], best['near'], best['point_m']) == (True, None, [0.29, 0.0, 0.13])
    assert best['lift_m'] == pytest.approx(0.13)
    before = numbers['errors'][-1]['rotation_with_wrong_choice_deg']
    assert best['errors'][-1]['rotation_with_wrong_choice_deg'] < 0.1 * before  # and of the views 0 % are ambiguous
    assert best['errors'][-1]['ambiguous'] == 0.0
    assert anywhere['either_side']
    out = capsys.readouterr().out
    assert '  add mast, at (0.290, 0.000, 0.130) m, 0.130 m from the main plane: ' in out
    assert 'm from the main plane on either side: ' in out


@pytest.mark.parametrize('mesh', [[], ['--mesh', 'not_read_before.stl']])
@pytest.mark.parametrize('name', ['submarine.json', 'submarine.png'])
def test_files_of_others_are_kept(tmp_path, capsys, name, mesh):
    (tmp_path / name).write_text('{}')
    assert main(['submarine', *mesh, '--out', str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count('\n')) == ('', 1)
    assert f'{name}: is there already and was not written by analyze_object: move it away' in said.err
    assert (tmp_path / name).read_text() == '{}'


def test_a_picture_beside_a_new_object_is_kept(tmp_path, capsys):
    (tmp_path / 'part').mkdir()
    (tmp_path / 'part' / 'part.png').touch()  # such as the texture of the mesh
    assert main(['--mesh', str(tmp_path / 'part' / 'part.obj'), '--choose', '8', '--out', str(tmp_path)]) == 1
    assert 'part.png: is there already and was not written by analyze_object' in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / 'part').iterdir()) == ['part.png']


def test_a_face_close_to_a_calibrated_camera(tmp_path, capsys):
    calibration = tmp_path / 'camera.yaml'
    camera = CameraIntrinsics.from_fov(1280, 720, 1.2)
    calibration.write_text(yaml.safe_dump(camera.to_yaml_dict()), encoding='utf-8')
    arguments = [
        'face', '--camera', str(calibration), '--distance', '0.02', '0.8', '--tilt', '40', '--out', str(tmp_path),
    ]  # fmt: skip
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert 'camera of 1280x720 px' in out
    assert '(does not fit into the image)' in out
    numbers = json.loads((tmp_path / 'face.json').read_text(encoding='utf-8'))
    assert numbers['errors'][0] == {'fitting': 0.0, **dict.fromkeys(list(numbers['errors'][-1])[1:])}
    assert numbers['errors'][-1]['fitting'] == 1.0


def test_names_and_axes_that_do_not_fit_are_told(tmp_path, capsys):
    corners = {f'{z}_{x}_{y}' for z in ('top', 'bottom') for x in ('front', 'back') for y in ('left', 'right')}
    place = {'front': -0.1, 'back': 0.1, 'left': 0.13, 'right': -0.13, 'top': 0.04, 'bottom': -0.04}  # of a viewer
    points = {c: [place[c.split('_')[1]], place[c.split('_')[2]], place[c.split('_')[0]]] for c in sorted(corners)}
    box = {'name': 'box', 'keypoints': list(points), 'skeleton': [], 'model_points': points}
    (tmp_path / 'object.yaml').write_text(json.dumps(box))
    assert main([str(tmp_path), '--out', str(tmp_path / 'out'), '--distance', '1', '2']) == 0
    note = 'note: model_points: by the names, front along -x, left along +y, top along +z: this is left-handed'
    assert capsys.readouterr().err.startswith(note)


@pytest.mark.parametrize(
    ('arguments', 'status', 'text'),
    [
        (['nothing_like_it'], 2, "error: object 'nothing_like_it' not found: wanted a folder"),
        (['human18'], 1, "error: object 'human18' has no model_points: add them to its object.yaml"),
        (['face', '--camera', 'nowhere.yaml'], 1, 'nowhere.yaml: cannot be read'),
        (['face', '--camera', 'camera.yaml', '--size', '640x480'], 2, '--size is of the image with'),
        (['face', '--distance', '4', '1'], 2, '--distance: wanted 0 < NEAR <= FAR, got 4 1'),
        (['face', '--distance', '0.001', '0.002'], 2, 'does not fit into the image even at 0.002 m'),
        (['face', '--candidate', 'ear', '0', 'x', '0'], 2, '--candidate ear: wanted three numbers X Y Z [m], got 0 x'),
        (['face', '--candidate', 'ear', '0', 'nan', '0'], 2, 'wanted three numbers X Y Z [m], got 0 nan 0'),
        (
            ['submarine', '--candidate', 'mast', '290', '0', '130'], 2,
            '--candidate mast: lies 317 m from the nearest keypoint, of an object whose keypoints are spread over '
            '0.599 m; X Y Z are metres',
        ),
        (['submarine', '--candidate', 'head', '0', '0', '0.1'], 2, '--candidate head: is a keypoint of the object'),
        (
            ['submarine', *(part for y in '01' for part in ('--candidate', 'lamp', '0', y, '0'))], 2,
            '--candidate lamp: is given twice; give each a name of its own',
        ),
        (['face', '--choose', '8'], 2, '--mesh and --choose without an object, which make a new one'),
        (['--mesh', 'part.glb'], 2, '--mesh and --choose without an object, which make a new one'),
        (['--choose', '8'], 2, '--mesh and --choose without an object, which make a new one'),
        (['face', '--tilt', '91'], 2, '--tilt: wanted degrees above 0 and up to 90, got 91'),
    ],
)  # fmt: skip
def test_bad_input_ends_in_one_line(arguments, status, text, tmp_path, capsys):
    assert main([*arguments, '--out', str(tmp_path)]) == status
    err = capsys.readouterr().err
    assert text in err
    assert err.count('\n') == 1
    assert not list(tmp_path.iterdir())


def test_noise_is_above_zero(tmp_path, capsys):
    with pytest.raises(SystemExit, match='2'):
        main(['face', '--noise', '0', '--out', str(tmp_path)])
    assert "--noise: wanted a number from 0.001 to 1000, got '0'" in capsys.readouterr().err
