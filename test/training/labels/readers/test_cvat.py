"""CVAT by value, as it writes it: skeletons, tracks, single points."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from label_files import HEAD, TAIL, instances, picture, read_labels, texts

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED
from training.prepare_dataset import main

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
