"""Proposed labels: our own reader and pycocotools load them, Label Studio's form carries the same points."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import moving_box
import numpy as np
import pytest
from label_files import read_labels
from pycocotools.coco import COCO

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from training import prepare_dataset
from training.pose_training.labels.checking import check
from training.pose_training.labels.coco import read_dataset
from training.pose_training.labels.film import Film
from training.pose_training.labels.image_files import ImageIndex
from training.pose_training.labels.proposed_labels import (
    ObjectNames,
    ProposedImage,
    ProposedObject,
    coco_proposals,
    label_studio_proposals,
)
from training.prelabel import main, names_of

COUNT = 21  # frames of the film
SCRIPT = Path(__file__).resolve().parents[3] / 'training' / 'prelabel.py'
POINTS = np.array([[50.0, 20.5], [20.25, 80.0], [80.0, 80.0]])


@pytest.fixture
def found(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((100, 200, 3), np.uint8))
    visible = np.array([True, True, False])
    pose = KeypointPose(
        keypoints=np.where(visible[:, None], POINTS, np.nan),
        covariances=np.full((3, 2, 2), np.nan),
        scores=visible * 0.9,
        visible=visible,
        score=0.8,
    )
    return [ProposedImage('a.png', 200, 100, [ProposedObject.of_pose(pose)])]


def test_coco_proposals_load_where_coco_loads(tmp_path, dots, found, capsys):
    path = tmp_path / 'labels.json'
    path.write_text(json.dumps(coco_proposals(found, names_of(dots))))
    (image,) = read_dataset(path, dots)
    np.testing.assert_array_equal(image.labelled, [[True, True, False]])
    np.testing.assert_allclose(image.keypoints[0, :2], POINTS[:2])
    annotation = COCO(str(path)).loadAnns([1])[0]
    assert annotation['bbox'] == [14.3, 14.55, 41.65, 71.4]  # a tenth of the longer side around the points
    assert (annotation['num_keypoints'], annotation['ambiguity']) == (2, 0.0)
    assert annotation['segmentation'] == []  # CVAT makes a polygon of one, and refuses it in a skeleton's label
    labels = read_labels(path)
    assert len(check(labels, ImageIndex([tmp_path]), 1024)) == 1
    assert labels.problems == []


def test_label_studio_proposals_hold_the_same_points(tmp_path, dots, found):
    (task,) = label_studio_proposals(found, names_of(dots), '/data/local-files/?d=')
    assert task['data']['image'] == '/data/local-files/?d=a.png'
    # Accepted as they are, predictions become annotations: then our own reader must find the points again.
    path = tmp_path / 'tasks.json'
    path.write_text(json.dumps([{**task, 'annotations': task['predictions']}]))
    labels = read_labels(path)
    (image,) = check(labels, ImageIndex([tmp_path]), 1024)
    points = dict(zip(labels.keypoint_names, image.keypoints[0]))
    np.testing.assert_allclose(points['nose'], [50, 20.5, 2])
    np.testing.assert_allclose(points['left'], [20.25, 80, 2])


def test_the_command_writes_a_file_for_the_shipped_object(tmp_path, found, capsys):
    model = str(SCRIPT.parents[1] / 'config' / 'submarine')
    assert main([model, str(tmp_path), '--out', str(tmp_path / 'out.json')]) == 0
    content = json.loads((tmp_path / 'out.json').read_text())
    assert [image['file_name'] for image in content['images']] == ['a.png']
    assert 'in 1 images' in capsys.readouterr().out
    assert main([model, str(tmp_path), '--out', str(tmp_path / 'out.json')]) == 1
    assert 'out.json: is there already and may hold corrected labels; give another --out' in capsys.readouterr().err


def test_damaged_images_are_told_and_the_rest_is_written(tmp_path, found, capsys):
    (tmp_path / 'b.png').write_text('no image')
    out = tmp_path / 'new' / 'tasks.json'
    cv2.imwrite(str(tmp_path / 'c d.png'), np.zeros((100, 200, 3), np.uint8))
    assert main(['submarine', str(tmp_path), '--out', str(out), '--format', 'label-studio']) == 3
    prefix = f'/data/local-files/?d={tmp_path.name}/'
    assert [task['data']['image'] for task in json.loads(out.read_text())] == [f'{prefix}a.png', f'{prefix}c%20d.png']
    shown = capsys.readouterr()
    assert str(tmp_path / 'b.png') in shown.err and shown.err.count('\n') == 1
    with pytest.raises(DatasetError, match='no KeyPointLabels'):  # proposals are not labels yet
        read_labels(out)


def test_a_folder_without_images_is_refused(tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    model = str(SCRIPT.parents[1] / 'config' / 'submarine')
    assert main([model, str(tmp_path / 'empty'), '--out', str(tmp_path / 'out.json')]) == 1
    assert 'no images found' in capsys.readouterr().err


@pytest.fixture(scope='module')
def clicked(tmp_path_factory):
    """A film, and the labels of five of its frames in a folder with their pictures."""
    folder = tmp_path_factory.mktemp('film')
    moving_box.write_film(folder / 'box.mp4', COUNT)
    numbers = range(0, COUNT, (COUNT - 1) // 4)
    images = [
        ProposedImage(f'{n}.png', moving_box.WIDTH, moving_box.HEIGHT, [ProposedObject(label(n))]) for n in numbers
    ]
    for frame in Film(folder / 'box.mp4').frames(numbers):
        cv2.imwrite(str(folder / f'{frame.number}.png'), frame.image)
    names = ObjectNames('box', moving_box.NAMES, [(i, i + 1) for i in range(7)])
    (folder / 'labels.json').write_text(json.dumps(coco_proposals(images, names)))
    return folder


def label(number: int) -> np.ndarray:
    points = moving_box.labels_at(number / (COUNT - 1))
    points[points[:, 2] == 0] = 0
    return points


def carry(folder, labels, out, *options) -> int:
    return main(['--footage', str(folder / 'box.mp4'), '--from', str(labels), '--out', str(out), *options])


def test_film_to_clicks_to_labels_and_back(clicked, tmp_path, capsys):
    """The folder that is written is a data set, and corrected it is the next start."""
    out = tmp_path / 'proposed'
    assert carry(clicked, clicked / 'labels.json', out) == 0
    assert '5 clicked frames; of the 16 others, all keypoints of' in capsys.readouterr().out
    assert prepare_dataset.main([str(out / 'labels.json'), '--out', str(tmp_path / 'data')]) == 0
    content = json.loads((out / 'labels.json').read_text())
    images = content['images']
    for name in ('labels.json', '../data/train/labels.json', '../data/val/labels.json'):  # the mark goes with them
        annotations = json.loads((out / name).read_text())['annotations']
        assert any(annotation.get('proposed') for annotation in annotations)
    assert sum('proposed' not in annotation for annotation in content['annotations']) == 5  # those that were clicked
    assert {p.name for p in (out / 'images').iterdir()} == {image['file_name'] for image in images}
    assert cv2.imread(str(out / 'contact_sheet.png')).shape[1] == 1280
    again = tmp_path / 'again'
    options = ('--images', str(out / 'images'), '--format', 'label-studio', '--doubtful')  # the others are in doubt
    assert carry(clicked, out / 'labels.json', again, *options) == 0
    tasks = json.loads((again / 'tasks.json').read_text())
    assert sum('annotations' in task for task in tasks) == len(images)  # what was handed in is a person's
    labels = read_labels(again / 'tasks.json')
    assert sum(not i.proposed for image in labels.images for i in image.instances) == 5  # but it remains a proposal
    assert carry(clicked, clicked / 'labels.json', out) == 1  # may have been corrected
    assert 'holds labels already' in capsys.readouterr().err


def test_a_wrong_click_is_kept_marked_and_ends_in_3(clicked, tmp_path, capsys):
    content = json.loads((clicked / 'labels.json').read_text())
    wrong = content['annotations'][2]['keypoints']
    k = next(k for k in range(8) if wrong[3 * k + 2])
    wrong[3 * k] = round(wrong[3 * k] + 80.0, 2)
    for options in ((), ('--format', 'label-studio')):
        (tmp_path / 'labels.json').write_text(json.dumps(content))
        assert (
            carry(clicked, tmp_path / 'labels.json', tmp_path / str(len(options)), '--images', str(clicked), *options)
            == 3
        )
        shown = capsys.readouterr().err
        assert f'error: box_000010.png: {moving_box.NAMES[k]} is ' in shown and 'as they were clicked, marked' in shown
    proposed = json.loads((tmp_path / '0' / 'labels.json').read_text())
    (marked,) = [a for a in proposed['annotations'] if 'contradictions' in a]
    assert marked['keypoints'] == wrong and list(marked['contradictions']) == [moving_box.NAMES[k]]
    assert all(isinstance(v, int) for a in proposed['annotations'] for v in a['keypoints'][2::3])
    tasks = json.loads((tmp_path / '2' / 'tasks.json').read_text())
    regions = [region for task in tasks for a in task.get('annotations', ()) for region in a['result']]
    assert [r['value']['keypointlabels'] for r in regions if 'meta' in r] == [[moving_box.NAMES[k]]]
    assert prepare_dataset.main([str(tmp_path / '0' / 'labels.json'), '--check']) == 0
    assert 'px from where a rigid object has it by the other labels: look at it' in capsys.readouterr().out


def test_frames_to_label_are_chosen_without_a_network(clicked, tmp_path, capsys):
    assert main(['--footage', str(clicked / 'box.mp4'), '--count', '4', '--out', str(tmp_path / 'out')]) == 0
    names = sorted(path.name for path in (tmp_path / 'out' / 'images').iterdir())
    assert len(names) == 4 and names[0].startswith('box_0000')
    said = capsys.readouterr().out
    assert '4 of 21 frames chosen' in said and f'--from LABELS --images {tmp_path / "out" / "images"} --out' in said


def test_a_film_in_which_nothing_can_be_followed_is_told(clicked, tmp_path, capsys):
    """A folder of pictures that are no film: noise, the clicked ones among it."""
    (tmp_path / 'photos').mkdir()
    for path in sorted(clicked.glob('*.png')):
        for i in range(3):
            noise = np.random.default_rng(int(path.stem) + i).integers(0, 255, (240, 320, 3), np.uint8)
            cv2.imwrite(
                str(tmp_path / 'photos' / f'{int(path.stem):03d}{i}.png'), noise if i else cv2.imread(str(path))
            )
    code = main([
        '--footage', str(tmp_path / 'photos'), '--from', str(clicked / 'labels.json'), '--out', str(tmp_path / 'out')
    ])  # fmt: skip
    shown = capsys.readouterr().err
    assert (code, 'in no frame but the clicked ones all keypoints are known' in shown) == (1, True)
    assert not (tmp_path / 'out').exists()


def test_labels_of_another_film_are_refused(clicked, tmp_path, capsys):
    for path in clicked.glob('*.png'):
        cv2.imwrite(str(tmp_path / path.name), np.full((240, 320, 3), 30 + 9 * int(path.stem), np.uint8))
    code = carry(clicked, clicked / 'labels.json', tmp_path / 'out', '--images', str(tmp_path))
    shown = capsys.readouterr().err
    assert (code, '0 of the labelled pictures are frames of it' in shown) == (1, True)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (['--out', 'x'], 'a model and a folder'),
        (['model', 'photos', '--from', 'labels.json', '--out', 'x'], 'with --footage'),
        (['model', 'photos', '--out', 'x', '--footage', 'a.mp4'], 'give folders of pictures after --footage'),
        (['model', '--footage', 'a.mp4', '--from', 'labels.json', '--out', 'x'], 'without a network'),
        (['--footage', 'a.mp4', '--flexible', '--out', 'x'], 'about the labels of --from'),
        (['--footage', 'a.mp4', '--count', '0', '--out', 'x'], 'from 1 up'),
    ],
)
def test_what_does_not_belong_together_is_wrong_use(options, text, capsys):
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert (ended.value.code, text in capsys.readouterr().err) == (2, True)


def test_a_missing_film_is_told(tmp_path, capsys):
    assert main(['--footage', str(tmp_path / 'gone.mp4'), '--out', str(tmp_path / 'out')]) == 1
    assert 'gone.mp4: no such video, bag or folder' in capsys.readouterr().err
