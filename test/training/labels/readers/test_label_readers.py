"""Labels of other tools by value: every reader gets a file as its tool writes it, with known points."""

from __future__ import annotations

import csv
import json
import re

import cv2
import numpy as np
import pytest
from label_files import picture, read_labels, texts

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.categories import CategoryChoice
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED, with_object
from custom_pose_ros.core.object_model import ObjectModel
from training.prepare_dataset import main

HEAD, TAIL = (30.0, 40.0), (50.0, 60.0)


def instances(labels):
    """Return image -> its instances as name -> x, y, visibility, of labelled points only."""
    return {
        image.name: [
            {
                name: tuple(map(float, p))
                for name, p in zip(labels.keypoint_names, instance.keypoints)
                if float(p[2]) > 0
            }
            for instance in image.instances
            if instance.keypoints is not None
        ]
        for image in labels.images
    }


# YOLO pose -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def yolo(tmp_path):
    """A data set with two pictures of 200 x 100 px to train on and one to validate on, which has no text file."""
    for seed, name in enumerate(('train/a.jpg', 'train/b.png', 'val/c.jpg')):
        picture(tmp_path / 'images' / name, 200, 100, seed)
    (tmp_path / 'labels/train').mkdir(parents=True)
    (tmp_path / 'labels/train/a.txt').write_text('0 0.25 0.5 0.2 0.4 0.25 0.5 2 0.3 0.6 1 0 0 0\n')
    (tmp_path / 'labels/train/b.txt').write_text(
        '0 0.5 0.5 0.2 0.4 0.5 0.5 2 0.45 0.6 2 0.4 0.3 2\n0 0.1 0.1 0.1 0.1\n'
    )
    path = tmp_path / 'data.yaml'
    path.write_text('kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\nnames: {0: fish}\ntrain: images/train\nval: images/val\n')
    return path


def test_yolo_pose(yolo, tmp_path):
    out = tmp_path / 'out'
    assert main([str(yolo), '--out', str(out), '--val-share', '0']) == 0
    content = json.loads((out / 'train/labels.json').read_text())
    keypoints = [annotation['keypoints'] for annotation in content['annotations']]
    # Shares count from the corner of the picture, pixels from the centre of the first one.
    assert keypoints[0] == pytest.approx([49.5, 49.5, 2, 59.5, 59.5, 1, 0, 0, 0], abs=1e-3)
    assert content['annotations'][0]['bbox'] == pytest.approx([30, 30, 40, 40], abs=0.6)
    assert keypoints[1] == pytest.approx([99.5, 49.5, 2, 89.5, 59.5, 2, 79.5, 29.5, 2], abs=1e-3)
    assert [a['iscrowd'] for a in content['annotations']] == [0, 0, 1]  # the box without keypoints
    assert len(content['images']) == 3
    draft = ObjectModel.load(out)
    assert (draft.name, draft.swaps) == ('fish', ((1, 2),))


def test_yolo_keypoints_take_the_names_of_an_object_unless_the_order_is_another(yolo):
    """The file has no names; where it has, as newer ones, these count."""
    text = (
        'name: fish\nkeypoints: [nose, left, right]\nskeleton: [[nose, left], [nose, right]]\nswaps: [[left, right]]\n'
    )
    folder = yolo.parent / 'object'
    folder.mkdir()
    (folder / 'object.yaml').write_text(text)
    labels = with_object(yolo, read_labels(yolo), ObjectModel.load(folder))
    assert labels.keypoint_names == ['nose', 'left', 'right']
    assert 'no keypoint names' in texts(labels, NOTE)[-1]
    (folder / 'object.yaml').write_text(text.replace('swaps: [[left', 'swaps: [[nose'))
    with pytest.raises(DatasetError, match=r'flip_idx exchanges \[\(1, 2\)\]'):
        with_object(yolo, read_labels(yolo), ObjectModel.load(folder))
    yolo.write_text(yolo.read_text() + 'kpt_names: {0: [right, nose, left]}\n')
    labels = with_object(yolo, read_labels(yolo), ObjectModel.load(folder))
    assert [p[2] for p in labels.images[0].instances[0].keypoints] == [1, 0, 2]


def test_yolo_of_roboflow_with_two_numbers_a_point(tmp_path):
    """Folders are named from another one than that of data.yaml; a point at (0, 0) is not labelled."""
    picture(tmp_path / 'train/images/a.jpg', 100, 100)
    (tmp_path / 'train/labels').mkdir()
    (tmp_path / 'train/labels/a.txt').write_text('0 0.5 0.5 1 1 0.2 0.4 -0.1 0.5\n1 0.5 0.5 1 1 0.3 0.4 0.6 0.7\n')
    path = tmp_path / 'data.yaml'
    path.write_text('train: ../train/images\nval: ../valid/images\nnc: 2\nnames: [cat, dog]\nkpt_shape: [2, 2]\n')
    with pytest.raises(DatasetError, match=r'cat, dog.*--merge-categories'):
        read_labels(path)
    labels = read_labels(path, CategoryChoice(merge=True))
    (found,) = instances(labels).values()
    assert found == [{'point_1': (0.2, 0.4, 2)}, {'point_1': (0.3, 0.4, 2), 'point_2': (0.6, 0.7, 2)}]
    (found,) = instances(read_labels(path, CategoryChoice(('dog',)))).values()
    assert len(found) == 1


@pytest.mark.parametrize(
    ('line', 'text'),
    [
        ('0 0.5 0.5 0.2 0.2 0.4 0.4 0.5 0.5 0.6 0.6', r'wanted 14 numbers, as kpt_shape \[3, 3\] says, got 11'),
        ('0 0.5 0.5 x 0.2', 'not all numbers'),
        ('7 0.5 0.5 0.2 0.2 0.4 0.4 2 0.4 0.4 2 0.4 0.4 2', 'class 7 is not in the names'),
        ('0 0.5 0.5 0.2 0.2 128 96 2 160 144 2 1 1 2', 'no shares of the image size'),
        ('0 nan 0.5 0.2 0.2 0.4 0.4 2 0.4 0.4 2 0.4 0.4 2', 'not all numbers'),
    ],
)
def test_yolo_lines_that_mean_nothing_are_refused(yolo, line, text, capsys):
    (yolo.parent / 'labels/train/a.txt').write_text(line)
    assert main([str(yolo), '--check']) == 1
    shown = capsys.readouterr()
    assert re.search(text, shown.out)
    assert 'line 1' in shown.out and shown.err.count('\n') == 1


def test_yolo_text_files_without_picture_and_parts_that_are_not_there_are_said(yolo):
    (yolo.parent / 'labels/train/lost.txt').write_text('0 0.5 0.5 0.2 0.2')
    yolo.write_text(yolo.read_text().replace('val: images/val', 'val: images/gone'))
    labels = read_labels(yolo)
    assert texts(labels, REFUSED) == ['lost.txt  has no picture']
    assert 'images/gone is not there, left out' in texts(labels, NOTE)
    for text in ('/', '..', '\0', 'x' * 999):
        yolo.write_text(f'kpt_shape: [3, 3]\nnames: [a]\ntrain: {json.dumps(text)}\n')
        with pytest.raises(DatasetError, match='pictures are not there'):
            read_labels(yolo)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('names: {0: a}\ntrain: images\n', 'without kpt_shape'),
        ('kpt_shape: [0, 3]\nnames: [a]\ntrain: images\n', 'kpt_shape: wanted'),
        ('kpt_shape: [2, 4]\nnames: [a]\ntrain: images\n', 'kpt_shape: wanted'),
        ('kpt_shape: [3, 3]\nnames: 7\ntrain: images\n', 'names: wanted'),
        ('kpt_shape: [3, 3]\nnames: [a]\ntrain: nowhere\n', 'pictures are not there: nowhere'),
        ('kpt_shape: [3, 3]\nnames: [a]\ntrain: images\nflip_idx: [1, 2, 0]\n', 'mirrored twice'),
        ('kpt_shape: [3, 3]\nnames: [a]\ntrain: images\nflip_idx: [0, 0, 1]\n', 'flip_idx: wanted'),
        ('kpt_shape: [3, 3]\nnames: [a]\ntrain: images\nkpt_names: {0: [a]}\n', 'kpt_names: wanted'),
        ('bodyparts: [nose]\nTask: x\n', 'DeepLabCut'),
        ('keypoints: [a, b]\nskeleton: []\n', '--object'),
        ('7', 'no kpt_shape'),
    ],
)
def test_other_yaml_is_named(yolo, text, message):
    yolo.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_labels(yolo)


# CVAT ----------------------------------------------------------------------------------------------------------------

SVG = (
    '&lt;line x1="1" data-type="edge" data-node-from="1" data-node-to="2"&gt;&lt;/line&gt;'
    '&lt;circle r="0.75" data-type="element node" data-element-id="1" data-node-id="1" data-label-name="tail"&gt;'
    '&lt;/circle&gt;&lt;circle r="0.75" data-node-id="2" data-label-name="head"&gt;&lt;/circle&gt;'
)
META = (
    '<meta><{kind}><id>1</id><labels><label><name>fish</name><type>skeleton</type><svg>' + SVG + '</svg></label>'
    '<label><name>head</name><type>points</type><parent>fish</parent></label>'
    '<label><name>tail</name><type>points</type><parent>fish</parent></label>'
    '<label><name>fin</name><type>points</type><parent>fish</parent></label></labels>{more}</{kind}></meta>'
)


def point(label, places, outside=0, occluded=0, more=''):
    return f'<points label="{label}" outside="{outside}" occluded="{occluded}" points="{places}" {more}></points>'


def cvat(folder, body, kind='task', more=''):
    path = folder / 'annotations.xml'
    meta = META.format(kind=kind, more=more)
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{body}</annotations>'
    )
    return path


def test_cvat_skeletons(tmp_path):
    """Outside is not labelled, occluded is hidden; names and edges come from the labels of the task."""
    skeleton = point('tail', '50.00,60.00', occluded=1) + point('head', '30.00,40.00') + point('fin', '1,1', outside=1)
    body = f'<image id="0" name="a.jpg" width="200" height="100"><skeleton label="fish">{skeleton}</skeleton></image>'
    labels = read_labels(
        cvat(tmp_path, body + '<image id="1" name="b.jpg" width="200" height="100"></image>', 'project')
    )
    assert labels.keypoint_names == ['head', 'tail', 'fin']
    assert labels.skeleton == [(1, 0)]
    assert instances(labels) == {'a.jpg': [{'head': (*HEAD, 2), 'tail': (*TAIL, 1)}], 'b.jpg': []}
    assert (labels.images[0].width, labels.images[0].height) == (200, 100)
    assert labels.problems == []


def test_a_cvat_skeleton_of_which_every_point_is_outside_is_no_object(tmp_path):
    """CVAT's tracks say of each point, not of the skeleton, that the object has left the image."""
    frames = ''.join(
        f'<skeleton frame="{number}" keyframe="1"><points label="head" outside="{number}" points="30,40"/></skeleton>'
        for number in range(2)
    )
    path = cvat(tmp_path, f'<track id="0" label="fish">{frames}</track>')
    for number in range(2):
        cv2.imwrite(str(tmp_path / f'frame_{number:06d}.png'), np.zeros((64, 96, 3), np.uint8))
    found = instances(read_labels(path))
    assert [len(objects) for objects in found.values()] == [1, 0]


def test_cvat_tracks_in_exported_frames_and_in_the_video(tmp_path, capsys):
    """Frame 1 of every second one from 2 on is frame 4 of the video; a track that is outside has ended."""
    frames = ''.join(
        f'<skeleton frame="{number}" keyframe="{int(not number)}" outside="{int(number == 2)}">'
        f'{point("head", f"{30 + number}.00,40.00")}{point("tail", "50.00,60.00")}</skeleton>'
        for number in range(3)
    )
    more = '<start_frame>2</start_frame><frame_filter>step=2</frame_filter><source>clip.mp4</source>'
    more += '<original_size><width>64</width><height>96</height></original_size>'
    path = cvat(tmp_path, f'<track id="0" label="fish" source="manual">{frames}</track>', more=more)
    assert main([str(path), '--check']) == 1
    assert "nor is there the video 'clip.mp4'" in capsys.readouterr().err
    video = cv2.VideoWriter(str(tmp_path / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10, (64, 96))
    for number in range(8):
        video.write(np.full((96, 64, 3), 30 * number, np.uint8))
    video.release()
    labels = read_labels(path)
    assert list(instances(labels)) == ['clip_000002.png', 'clip_000004.png', 'clip_000006.png']
    assert instances(labels)['clip_000004.png'] == [{'head': (31, 40, 2), 'tail': (50, 60, 2)}]
    assert instances(labels)['clip_000006.png'] == []
    brightness = cv2.imread(str(tmp_path / 'frames/clip_000004.png')).mean()
    assert brightness == pytest.approx(120, abs=6)  # of lossy coding; the next frames differ by 30
    assert '1 objects were interpolated' in texts(labels, NOTE)[-1]
    for number in range(3):
        picture(tmp_path / f'images/frame_{number:06d}.PNG', 64, 96)
    assert list(instances(read_labels(path))) == [f'frame_{n:06d}.PNG' for n in range(3)]


def test_cvat_single_points_in_groups_and_boxes(tmp_path):
    box = '<box label="{}" xtl="{}" ytl="0" xbr="{}" ybr="90" occluded="0"></box>'
    images = {
        'groups': point('head', '30,40', more='group_id="1"') + point('head', '90,40', more='group_id="2"'),
        'boxes': box.format('fish', 0, 60)
        + box.format('fish', 70, 99)
        + point('head', '30,40')
        + point('tail', '80,9'),
    }
    for name, body in images.items():
        labels = read_labels(cvat(tmp_path, f'<image id="0" name="a.jpg">{body}</image>'))
        second = {'head': (90, 40, 2)} if name == 'groups' else {'tail': (80, 9, 2)}
        assert instances(labels)['a.jpg'] == [{'head': (*HEAD, 2)}, second]
    assert labels.category == 'fish'
    twice = point('head', '30,40') + point('head', '90,40')
    labels = read_labels(cvat(tmp_path, f'<image id="0" name="a.jpg">{twice}</image>'))
    assert 'head is labelled twice in one object; draw a box' in texts(labels, REFUSED)[0]


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        ('<image id="0" name="a.jpg"><box label="a" xtl="1" ytl="1" xbr="2" ybr="2"/></image>', 'no named points'),
        ('<image id="0"/>', 'has no name'),
        ('<image id="0" name="a.jpg"><points label="a" points="1,1;2,2"/></image>', 'label a skeleton'),
        ('<image id="0" name="a.jpg"><points label="a" points="1,x"/></image>', 'no pair of numbers'),
        ('<image', 'damaged XML'),
    ],
)
def test_cvat_files_that_cannot_be_used(tmp_path, body, message):
    with pytest.raises(DatasetError, match=message):
        read_labels(cvat(tmp_path, body))


def test_xml_entities_are_not_expanded(tmp_path):
    path = tmp_path / 'bomb.xml'
    path.write_text('<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotations>&b;</annotations>')
    with pytest.raises(DatasetError, match='defines XML entities'):
        read_labels(path)


# labelme, VIA, Labelbox: points with names ---------------------------------------------------------------------------


def labelme(name, *shapes):
    """Return a file as labelme writes it; shapes : label, type, points, group."""
    entries = [
        {'label': label, 'shape_type': kind, 'points': points, 'group_id': group, 'flags': {}}
        for label, kind, points, group in shapes
    ]
    return {
        'version': '5.4.1', 'flags': {}, 'shapes': entries, 'imagePath': name, 'imageData': None,
        'imageWidth': 200, 'imageHeight': 100,
    }  # fmt: skip


def test_labelme_folder_with_groups(tmp_path):
    files = {
        'a.json': labelme(
            'a.jpg', ('head', 'point', [HEAD], 1), ('tail', 'point', [TAIL], 1), ('head', 'point', [[9, 8]], 2),
            ('fish', 'rectangle', [[60, 70], [20, 30]], 1), ('weed', 'polygon', [[1, 1], [2, 2], [3, 1]], None),
        ),
        'b.json': labelme('..\\pictures\\b.jpg', ('tail', 'point', [TAIL], None)),
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    labels = read_labels(tmp_path, CategoryChoice(merge=True))
    assert instances(labels) == {
        'a.jpg': [{'head': (*HEAD, 2), 'tail': (*TAIL, 2)}, {'head': (9, 8, 2)}],
        '..\\pictures\\b.jpg': [{'tail': (*TAIL, 2)}],
    }
    assert labels.images[0].instances[0].box == (20, 30, 40, 40)
    assert (labels.images[0].width, labels.images[0].height) == (200, 100)
    notes = '\n'.join(texts(labels, NOTE))
    assert 'a.jpg shape 5 polygon is not read' in notes and 'in 1 pictures without groups' in notes


def test_labelme_points_without_their_object_are_refused(tmp_path):
    shapes = [('head', 'point', [HEAD], 1), ('tail', 'point', [TAIL], None), ('head', 'point', [[1, 1]], 1)]
    (tmp_path / 'a.json').write_text(json.dumps(labelme('a.jpg', *shapes, ('tail', 'point', [['x', 1]], 1))))
    labels = read_labels(tmp_path / 'a.json')
    refused = ' | '.join(texts(labels, REFUSED))
    assert 'tail has no group, others have' in refused
    assert 'head is labelled twice in one object' in refused
    assert 'shape 4 point: its points are not pairs of numbers' in refused


def test_objects_without_a_keypoint_of_the_object_are_neither_object_nor_background(tmp_path):
    """Their region is ignored; a single other point has none."""
    others = [('fin', 'point', [(60, 70)], 2), ('gill', 'point', [(80, 75)], 2), ('weed', 'point', [(9, 9)], 3)]
    content = labelme('a.jpg', ('head', 'point', [HEAD], 1), ('tail', 'point', [TAIL], 1), *others)
    (tmp_path / 'a.json').write_text(json.dumps(content))
    picture(tmp_path / 'deep/a.jpg', 200, 100)
    (tmp_path / 'object').mkdir()
    text = 'name: fish\nkeypoints: [tail, head]\nskeleton: [[tail, head]]\n'
    (tmp_path / 'object/object.yaml').write_text(text)
    arguments = ['--object', str(tmp_path / 'object'), '--out', str(tmp_path / 'out'), '--val-share', '0']
    # The same picture, found through two folders, is one.
    arguments += ['--images', str(tmp_path), '--images', str(tmp_path / 'deep')]
    assert main([str(tmp_path / 'a.json'), *arguments]) == 0
    annotations = json.loads((tmp_path / 'out/train/labels.json').read_text())['annotations']
    assert [a['keypoints'] for a in annotations] == [[*TAIL, 2, *HEAD, 2], []]
    assert (annotations[1]['iscrowd'], annotations[1]['bbox']) == (1, [60, 70, 20, 5])


def via_region(x, y, **attributes):
    return {'shape_attributes': {'name': 'point', 'cx': x, 'cy': y}, 'region_attributes': attributes}


def test_via_json_project_and_csv(tmp_path):
    regions = [
        via_region(*HEAD, kp='head', id='1'), via_region(*TAIL, kp={'tail': True, 'fin': False}, id='1'),
        via_region(9, 8, kp='head', id='2'),
    ]  # fmt: skip
    files = {
        'a.jpg1': {'filename': 'a.jpg', 'size': 1, 'regions': regions, 'file_attributes': {}},
        'b.jpg2': {'filename': 'b.jpg', 'size': 2, 'regions': [], 'file_attributes': {}},
    }
    (tmp_path / 'list.json').write_text(json.dumps(files))
    (tmp_path / 'project.json').write_text(json.dumps({'_via_settings': {}, '_via_img_metadata': files}))
    with (tmp_path / 'table.csv').open('w', newline='') as stream:
        table = csv.writer(stream)
        table.writerow(
            ['filename', 'file_size', 'file_attributes', 'region_count', 'region_id', 'region_shape_attributes',
             'region_attributes']
        )  # fmt: skip
        for number, region in enumerate(regions):
            values = (json.dumps(region[key]) for key in ('shape_attributes', 'region_attributes'))
            table.writerow(['a.jpg', 1, '{}', 3, number, *values])
        table.writerow(['b.jpg', 2, '{}', 0, 0, '{}', '{}'])
    for name in ('list.json', 'project.json', 'table.csv'):
        assert instances(read_labels(tmp_path / name)) == {
            'a.jpg': [{'head': (*HEAD, 2), 'tail': (*TAIL, 2)}, {'head': (9, 8, 2)}],
            'b.jpg': [],
        }
    lines = (tmp_path / 'table.csv').read_text().splitlines(keepends=True)
    (tmp_path / 'table.csv').write_text(''.join(lines[:3]))  # cut at the end of a line
    with pytest.raises(DatasetError, match='a.jpg has 3 regions, and rows for 2 of them'):
        read_labels(tmp_path / 'table.csv')


def test_via_attributes_that_are_not_clear(tmp_path):
    path = tmp_path / 'via.json'
    regions = [via_region(1, 2, kp='head', colour='red'), via_region(3, 4)]
    path.write_text(json.dumps({'a': {'filename': 'a.jpg', 'regions': regions}}))
    with pytest.raises(DatasetError, match=r'several attributes \(colour, kp\)'):
        read_labels(path)
    del regions[0]['region_attributes']['colour']
    path.write_text(json.dumps({'a': {'filename': 'a.jpg', 'regions': regions}}))
    assert 'a point has no name' in texts(read_labels(path), REFUSED)[0]


def labelbox_row(name, *objects, labels=1):
    return {
        'data_row': {'id': f'id-{name}', 'external_id': name, 'row_data': f'https://x.example/{name}?s=1'},
        'media_attributes': {'width': 200, 'height': 100},
        'projects': {'p': {'labels': [{'annotations': {'objects': list(objects)}}] * labels}},
    }


def test_labelbox_ndjson(tmp_path):
    points = [{'name': name, 'point': {'x': x, 'y': y}} for name, (x, y) in (('head', HEAD), ('tail', TAIL))]
    box = {'name': 'fish', 'bounding_box': {'left': 10, 'top': 20, 'width': 60, 'height': 50}}
    rows = [labelbox_row('a.jpg', *points, box), labelbox_row('b.jpg', box, labels=2), {'data_row': {'id': 'c'}}]
    rows[0]['data_row'].pop('external_id')
    path = tmp_path / 'labels.ndjson'
    for text in ('\n'.join(map(json.dumps, rows)), json.dumps(rows)):
        path.write_text(text)
        labels = read_labels(path)
        assert instances(labels) == {'a.jpg': [{'head': (*HEAD, 2), 'tail': (*TAIL, 2)}]}
        assert labels.images[0].instances[0].box == (10, 20, 60, 50)
        assert texts(labels, REFUSED) == ['b.jpg id-b.jpg is annotated 2 times: delete all but one']
        assert texts(labels, NOTE)[-1] == 'c not annotated, left out'
    path.write_text('\n'.join(map(json.dumps, rows))[:-9])
    with pytest.raises(DatasetError, match='line 3 is no JSON'):
        read_labels(path)


# DeepLabCut ----------------------------------------------------------------------------------------------------------


def test_deeplabcut_unique_bodyparts_are_another_category(tmp_path):
    path = tmp_path / 'CollectedData_me.csv'
    path.write_text(
        'scorer,me,me,me,me,me,me\nindividuals,one,one,two,two,single,single\nbodyparts,nose,nose,nose,nose,door,door\n'
        'coords,x,y,x,y,x,y\na.png,1,2,3,4,5,6\n'
    )
    labels = read_labels(path)
    assert instances(labels) == {'a.png': [{'nose': (1, 2, 2)}, {'nose': (3, 4, 2)}]}
    assert 'belong to no individual: door; left out' in texts(labels, NOTE)[0]
    labels = read_labels(path, CategoryChoice(('single',)))
    assert instances(labels) == {'a.png': [{'door': (5, 6, 2)}]}
    path.write_text(path.read_text().replace('door', 'nose'))  # an animal of that name
    assert len(instances(read_labels(path))['a.png']) == 3


# Formats that are named ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.json', [{'image_id': 'a.jpg', 'keypoints': [1, 2, 0.5], 'score': 2.1}], 'what a network found'),
        (
            'a.json',
            [{'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 3, 4], 'score': 0.5}],
            'boxes that a network found',
        ),
        ('a.json', [{'frame': 1, 'points': []}], 'list of an unknown tool'),
        ('a.json', {'a.jpg': {'version': 'AlphaPose v0.3', 'bodies': []}}, 'AlphaPose'),
        ('a.json', {'version': 1.3, 'people': []}, 'OpenPose'),
        ('a.json', {'meta_info': {}, 'instance_info': []}, 'MMPose'),
        ('a.json', {'info': {}, 'categories': {}, 'items': []}, 'Datumaro'),
        ('a.json', {'description': '', 'tags': [], 'size': {}, 'objects': []}, 'Supervisely'),
        ('a.json', {'version': '2.0', 'item': {}, 'annotations': []}, 'Darwin'),
        ('a.json', [{'image': 'a.jpg', 'annotations': []}], 'CreateML'),
        ('a.json', [{'image': 'a.jpg', 'joints': [[1, 2]]}], 'MPII'),
        ('a.xml', '<annotation><object><bndbox/></object></annotation>', 'Pascal VOC'),
        ('a.xml', '<html></html>', 'unknown tool'),
        ('a.txt', '0 0.5 0.5 0.2 0.2 0.4 0.4 2\n', r'give its data\.yaml'),
        ('a.txt', '0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.2 0.2\n', 'boxes, as LabelImg'),
        ('a.pts', 'version: 1\nn_points: 68\n{\n1 2\n', r'\.pts'),
        ('a.csv', 'scorer,n,n,n\nbodyparts,a,a,a\ncoords,x,y,likelihood\n0,1,2,0.9\n', 'not labels'),
        ('a.csv', 'filename,width,height,class,xmin,ymin,xmax,ymax\n', 'table of boxes'),
        ('a.csv', 'track,frame_idx,instance.score,nose.x\n', 'SLEAP'),
        ('a.csv', 'id,image,kp-1,annotator,annotation_id\n', "Label Studio's CSV: export as JSON"),
        ('a.csv', 'ID,DataRow ID,Labeled Data,Label,External ID\n', 'old export of Labelbox'),
        ('a.csv', '# Exported using VGG Image Annotator\n# CSV_HEADER = metadata_id\n', 'VIA 3'),
        ('a.csv', 'scorer;me;me\nbodyparts;a;a\n', 'with semicolons'),
        ('a.json', [{'type': 'dataset', 'task': 'pose', 'class_names': {}}, {'type': 'image'}], 'Ultralytics'),
        ('a.json', b'PK\x03\x04', 'ZIP'),
        ('a.json', b'\x80\x04\x95', 'pickle'),
        ('a.h5', b'\x89HDF\r\n\x1a\n df_with_missing', r'\.csv of the same name'),
        ('a.h5', b'\x89HDF\r\n\x1a\n track_occupancy', r'\.pkg\.slp'),
        ('a.json', b'\xff\xd8\xff\xe0', 'a picture'),
        ('a.bin', b'\x01\x00\x02', 'no text'),
        ('a.json', b'', 'is empty'),
        ('a.md', '# Notes\n', 'no label file that is known'),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
    if isinstance(content, (dict, list)):
        path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=message) as caught:
        read_labels(path)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_the_content_decides_what_a_file_is_not_its_suffix(tmp_path):
    points = labelme('a.jpg', ('head', 'point', [HEAD], 1))
    (tmp_path / 'labels.txt').write_text(json.dumps(points))
    assert instances(read_labels(tmp_path / 'labels.txt')) == {'a.jpg': [{'head': (*HEAD, 2)}]}


def test_a_folder_with_several_label_files_needs_a_choice(tmp_path):
    for name in ('one.xml', 'two.csv'):
        (tmp_path / name).write_text('')
    with pytest.raises(DatasetError, match=r'found one\.xml, two\.csv; give the file'):
        read_labels(tmp_path)
