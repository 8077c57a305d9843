"""Label files of every tool by value: repairs that are certain, refusals with ids, damage without tracebacks."""

from __future__ import annotations

import numpy as np
import pytest
from label_files import DEEPLABCUT, checked, coco, picture, problems, read_labels, save, texts

from custom_pose_ros.core.errors import DatasetError, UsageError
from custom_pose_ros.core.labels.categories import CategoryChoice
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED, REPAIRED
from training.pose_training.labels.checking import check
from training.pose_training.labels.image_files import ImageIndex
from training.prepare_dataset import main


def test_a_plain_export_is_read_by_value(tmp_path):
    picture(tmp_path / 'deep' / 'v1.jpg', 100, 60)
    labels, ready = checked(
        tmp_path,
        coco([('v1.jpg', 100, 60)], [{'image_id': 1, 'keypoints': [10, 20, 2, 0, 0, 0], 'bbox': [5, 6, 40, 30]}]),
    )
    assert labels.problems == []
    assert (ready[0].width, ready[0].height, ready[0].source) == (100, 60, tmp_path / 'deep' / 'v1.jpg')
    np.testing.assert_allclose(ready[0].keypoints[0], [[10, 20, 2], [0, 0, 0]])
    np.testing.assert_allclose(ready[0].boxes, [(5, 6, 45, 36)])


def test_empty_keypoints_of_deleted_names_are_left_out(tmp_path):
    picture(tmp_path / 'v1.jpg', 1000, 563)
    labels, ready = checked(
        tmp_path,
        coco([('v1.jpg', 1000, 563)], [{'image_id': 1, 'keypoints': [0, 0, 0, 0, 0, 0, 476, 290, 2, 527, 372, 2]}]),
    )
    assert problems(labels, REPAIRED) == [('v1.jpg', '10')]
    np.testing.assert_allclose(ready[0].keypoints[0], [[476, 290, 2], [527, 372, 2]])


@pytest.mark.parametrize(
    'keypoints, text',
    [
        ([252, 378, 2] * 6, "lists 6 keypoints, but 'fish' has 2"),
        ([252, 378, 2], "lists 1 keypoint, but 'fish' has 2"),
        ([252, 378], 'keypoints: wanted x, y and visibility of each'),
        ([252, None, 2, 1, 1, 2], 'head at (252, nothing) with visibility 2: one coordinate is missing'),
        ([50, 160, 2, 3, 3, 2], 'head at (50, 160)'),
    ],
)
def test_what_is_not_certain_is_refused_with_its_ids(tmp_path, keypoints, text):
    picture(tmp_path / 'v1.jpg', 100, 60)
    labels, ready = checked(tmp_path, coco([('v1.jpg', 100, 60)], [{'image_id': 1, 'keypoints': keypoints}]))
    assert any(found.startswith(f'v1.jpg 10 {text}') for found in texts(labels, REFUSED))
    assert ready == []


def test_several_categories_need_a_choice(tmp_path):
    content = coco([('a.jpg', 9, 9)], [{'image_id': 1, 'keypoints': [1, 1, 2, 5, 5, 2]}])
    content['categories'].append({'id': 2, 'name': 'crab', 'keypoints': ['claw']})
    path = save(tmp_path, content)
    assert read_labels(path).category == 'fish'  # the only one that is used
    assert read_labels(path, CategoryChoice(('crab',))).keypoint_names == ['claw']
    content['annotations'].append({'id': 99, 'image_id': 1, 'category_id': 2, 'keypoints': [1, 1, 2]})
    with pytest.raises(DatasetError, match=r'fish, crab.*--category'):
        read_labels(save(tmp_path, content))
    with pytest.raises(UsageError, match="'cat'.*fish, crab"):
        read_labels(path, CategoryChoice(('cat',)))


def test_categories_with_the_same_keypoints_are_read_as_one_object_on_request(tmp_path):
    annotations = [
        {'image_id': 1, 'keypoints': [1, 1, 2, 5, 5, 2]},
        {'image_id': 1, 'category_id': 2, 'keypoints': [2, 2, 2, 6, 6, 2]},
        {'image_id': 1, 'category_id': 3, 'keypoints': [3, 3, 2]},
    ]
    content = coco([('a.jpg', 9, 9)], annotations[:2])
    content['categories'] += [
        {'id': 2, 'name': 'trout', 'keypoints': ['head', 'tail']},
        {'id': 3, 'name': 'crab', 'keypoints': ['claw']},
    ]
    path = save(tmp_path, content)
    with pytest.raises(DatasetError, match='--merge-categories: they have the same keypoints'):
        read_labels(path)
    for choice in (CategoryChoice(merge=True), CategoryChoice(('trout', 'fish'))):
        labels = read_labels(path, choice)
        assert (labels.category, labels.keypoint_names) == ('object', ['head', 'tail'])
        assert [i.keypoints for i in labels.images[0].instances] == [
            [(1, 1, 2), (5, 5, 2)], [(2, 2, 2), (6, 6, 2)],
        ]  # fmt: skip
    content['annotations'].append({'id': 12, **annotations[2]})
    path = save(tmp_path, content)
    with pytest.raises(DatasetError, match='fish has head, tail, crab has claw'):
        read_labels(path, CategoryChoice(merge=True))
    with pytest.raises(DatasetError, match='choose one with --category$'):
        read_labels(path)
    assert len(read_labels(path, CategoryChoice(('fish', 'trout'))).images[0].instances) == 2


def test_deeplabcut_tables(tmp_path):
    for i in (1, 2, 3):
        picture(tmp_path / 'clip' / f'img00{i}.png', 64, 48, seed=i)
    (tmp_path / 'CollectedData_me.csv').write_text(DEEPLABCUT)
    labels = read_labels(tmp_path / 'CollectedData_me.csv')
    ready = check(labels, ImageIndex([tmp_path]), 1024)
    assert labels.keypoint_names == ['nose', 'tail']
    np.testing.assert_allclose(ready[0].keypoints[0], [[10.5, 20, 2], [0, 0, 0]])
    np.testing.assert_allclose(ready[1].keypoints[0], [[11, 21, 2], [30, 40, 2]])
    assert ready[2].keypoints == []


def test_deeplabcut_with_several_animals_and_split_index(tmp_path):
    (tmp_path / 'many.csv').write_text(
        'scorer,,,me,me,me,me\nindividuals,,,one,one,two,two\nbodyparts,,,nose,nose,nose,nose\ncoords,,,x,y,x,y\n'
        'labeled-data,clip,img1.png,1,2,3,4\n'
    )
    (image,) = read_labels(tmp_path / 'many.csv').images
    assert image.name == 'labeled-data/clip/img1.png'
    assert [i.keypoints for i in image.instances] == [[(1.0, 2.0, 2)], [(3.0, 4.0, 2)]]


@pytest.mark.parametrize(
    'row, cells', [('clip/img002.p', 1), ('clip/img002.png,11,21', 3), ('a.png,1,2,3\n', 4), ('a.png,1,2,3,4,5\n', 6)]
)
def test_a_deeplabcut_table_with_a_row_of_other_length_is_refused_by_its_line(tmp_path, row, cells):
    (tmp_path / 'a.csv').write_text(f'{DEEPLABCUT}\n{row}')  # the empty line is no row
    with pytest.raises(DatasetError, match=f'line 8 has {cells} cells, the first has 5: it is cut off or damaged'):
        read_labels(tmp_path / 'a.csv')


def test_the_last_row_of_a_deeplabcut_table_without_a_line_break_is_noted(tmp_path):
    def problems(row: str) -> list[str]:
        (tmp_path / 'a.csv').write_text(DEEPLABCUT + row)
        return [problem.line for problem in read_labels(tmp_path / 'a.csv').problems]

    (note,) = problems('clip/img004.png,11,21,30,4')
    assert note.startswith('image clip/img004.png: line 7, the last one, has no line break')
    assert problems('clip/img004.png,11,21,30,4\r\n') == problems('clip/img004.png,11,21,,') == []
    assert 'line' not in problems('clip/img004.png,11,21,30,')[0]  # refused, as it has an x alone


def test_a_via_table_with_a_short_row_is_refused_by_its_line(tmp_path):
    point = '"{""name"":""point"",""cx"":30,""cy"":40}","{""kp"":""head""}"'
    table = f'filename,region_shape_attributes,region_attributes\na.jpg,{point}\nb.jpg,{point}'  # VIA ends it so
    (tmp_path / 'via.csv').write_text(table)
    assert [image.name for image in read_labels(tmp_path / 'via.csv').images] == ['a.jpg', 'b.jpg']
    for text in (table[: table.rindex(',')], table.replace('\na.jpg,', '\na.jpg,,')):
        (tmp_path / 'via.csv').write_text(text)
        with pytest.raises(DatasetError, match=r'line [23] has [24] cells, the first has 3: it is cut off or damaged'):
            read_labels(tmp_path / 'via.csv')


def test_a_yolo_text_file_that_may_be_cut_off_is_noted_where_the_others_end_with_a_line_break(tmp_path):
    for i, name in enumerate('ab'):
        picture(tmp_path / f'{name}.jpg', 9, 9, seed=i)
    (tmp_path / 'data.yaml').write_text('kpt_shape: [1, 2]\nnames: {0: fish}\ntrain: .\n')
    row = '0 0.5 0.5 0.2 0.2 0.4 0.42'
    for others, wanted in (('\n', ['image b.jpg: annotation line 1: has no line break, as other files']), ('', [])):
        (tmp_path / 'a.txt').write_text(row + others)
        (tmp_path / 'b.txt').write_text(row[:-1])
        notes = [p.line for p in read_labels(tmp_path / 'data.yaml').problems if 'line break' in p.text]
        assert [note[: len(start)] for note, start in zip(notes, wanted, strict=True)] == wanted


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('a.csv', 'x,y\n1,2\n', 'DeepLabCut'),
        ('a.json', '{', 'is cut off'),
        ('a.json', '{"images": "\\ud800"}', 'surrogates'),
        ('a.json', '7', 'got int'),
        ('a.json', '[]', 'is an empty list'),
        ('a.json', '[{}]', 'no KeyPointLabels in this export'),
        ('a.json', '[7]', 'task 0: .*7'),
        ('a.json', '{"images": []}', "'annotations'"),
        ('a.json', '{"images": [], "annotations": [], "categories": [{"id": 1}]}', 'no category has keypoints'),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DatasetError, match=message) as caught:
        read_labels(tmp_path / name)
    assert name in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_zero_box_of_coco_annotator_is_no_box(tmp_path):
    picture(tmp_path / 'a.jpg', 100, 60)
    points = {'keypoints': [10, 20, 2, 30, 40, 2], 'bbox': [0, 0, 0, 0]}
    _, ready = checked(tmp_path, coco([('a.jpg', 100, 60)], [{'image_id': 1, **points}]))
    assert ready[0].boxes == [(10, 20, 30, 40)]


def test_images_with_one_name_are_told_apart_by_their_path(tmp_path):
    for i, folder in enumerate(('one', 'two')):
        picture(tmp_path / folder / 'a.jpg', 100, 60, seed=i)
    content = coco([('a.jpg', 100, 60)] * 2, [{'image_id': i, 'keypoints': [i, i, 2, 5, 5, 2]} for i in (1, 2)])
    for image, folder in zip(content['images'], ('two', 'one')):
        image['path'] = f'/datasets/{folder}/a.jpg'
    labels, ready = checked(tmp_path, content)
    assert texts(labels, REFUSED) == []
    assert [image.source.parent.name for image in ready] == ['two', 'one']


def test_cvat_keypoints(tmp_path):
    """As CVAT's exporter writes them: labels without keypoints, points outside with a place, images in folders."""
    picture(tmp_path / 'images' / 'default' / 'dive 1' / 'frame_000000.PNG', 640, 480)
    common = {'category_id': 2, 'segmentation': [], 'area': 5000.0, 'iscrowd': 0, 'attributes': {'occluded': False}}
    content = {
        'licenses': [{'name': '', 'id': 0, 'url': ''}],
        'info': dict.fromkeys(('contributor', 'date_created', 'description', 'url', 'version', 'year'), ''),
        'categories': [
            {'id': 1, 'name': 'buoy', 'supercategory': '', 'keypoints': [], 'skeleton': []},
            {'id': 2, 'name': 'fish', 'supercategory': '', 'keypoints': ['1', '2', '3'], 'skeleton': [[2, 1], [3, 1]]},
        ],
        'images': [
            {
                'id': 1, 'width': 640, 'height': 480, 'file_name': 'dive 1/frame_000000.PNG', 'license': 0,
                'flickr_url': '', 'coco_url': '', 'date_captured': 0,
            }
        ],
        'annotations': [
            {
                'id': 1, 'image_id': 1, 'bbox': [100.5, 50.25, 100.0, 50.0], 'num_keypoints': 2,
                'keypoints': [100.5, 50.25, 2, 200.5, 100.25, 1, 150.0, 70.0, 0], **common,
            }
        ],
    }  # fmt: skip
    labels, ready = checked(tmp_path, content)
    assert labels.problems == []
    assert (labels.category, labels.skeleton) == ('fish', [(1, 0), (2, 0)])
    np.testing.assert_allclose(ready[0].keypoints[0], [[100.5, 50.25, 2], [200.5, 100.25, 1], [0, 0, 0]])


def test_images_without_annotation_are_told_and_can_be_left_out(tmp_path, capsys):
    for i in range(3):
        picture(tmp_path / f'{i}.png', 100, 60, seed=i)
    content = coco([(f'{i}.png', 100, 60) for i in range(3)], [{'image_id': 2, 'keypoints': [1, 1, 2, 5, 5, 2]}])
    labels, ready = checked(tmp_path, content)
    (text,) = texts(labels, NOTE)
    assert '2 images' in text and '0.png' in text
    assert len(ready) == 3
    assert main([str(save(tmp_path, content)), '--labelled-only', '--check']) == 0
    assert 'sound images: 1 of 1; problems: refused 0, repaired 0, note 0' in capsys.readouterr().out
