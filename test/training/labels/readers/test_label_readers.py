"""Labels of labelme, VIA, Labelbox and DeepLabCut by value: every file is as its tool writes it, with known points."""

from __future__ import annotations

import csv
import json

import pytest
from label_files import HEAD, TAIL, instances, picture, read_labels, texts

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.categories import CategoryChoice
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED
from training.prepare_dataset import main

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
