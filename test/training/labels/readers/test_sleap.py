"""SLEAP projects as sleap-io writes them: points, skeleton, symmetries, and the frames of the video."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
from label_files import read_labels, texts

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED
from training.prepare_dataset import main

sleap_io = pytest.importorskip('sleap_io', reason='pip install sleap-io')
POINTS = np.array([[10.5, 20], [30, 40], [np.nan, np.nan]])


@pytest.fixture
def project(tmp_path):
    """A project with frames 1 and 4 of a video labelled, frame 1 with a prediction besides, frame 5 predicted."""
    video_file = tmp_path / 'clip.mp4'
    writer = cv2.VideoWriter(str(video_file), cv2.VideoWriter_fourcc(*'mp4v'), 10, (64, 48))
    for number in range(6):
        writer.write(np.full((48, 64, 3), (200, 20, 40 * number), np.uint8))
    writer.release()
    edges, symmetries = [('nose', 'left'), ('nose', 'right')], [('left', 'right')]
    skeleton = sleap_io.Skeleton(['nose', 'left', 'right'], edges=edges, symmetries=symmetries, name='bug')
    video = sleap_io.Video.from_filename(str(video_file))
    hidden = sleap_io.Instance.from_numpy(np.array([[11.0, 21], [31, 41], [50, 12]]), skeleton=skeleton)
    hidden.points['visible'][1] = False
    predicted = sleap_io.PredictedInstance.from_numpy(
        np.array([[5.0, 6], [7, 8], [9, 10]]), skeleton=skeleton, point_scores=np.ones(3), score=0.9
    )
    frames = [
        sleap_io.LabeledFrame(video, 1, [sleap_io.Instance.from_numpy(POINTS, skeleton=skeleton), predicted]),
        sleap_io.LabeledFrame(video, 4, [hidden]),
        sleap_io.LabeledFrame(video, 5, [predicted]),
    ]
    return sleap_io.Labels(frames, videos=[video], skeletons=[skeleton])


@pytest.mark.parametrize('kind', ['project', 'package'])
def test_points_and_frames(project, tmp_path, kind):
    """The package carries its frames, so that the video may be gone."""
    path = tmp_path / ('p.slp' if kind == 'project' else 'p.pkg.slp')
    sleap_io.save_slp(project, str(path), embed='user' if kind == 'package' else False, verbose=False)
    if kind == 'package':
        (tmp_path / 'clip.mp4').unlink()
    labels = read_labels(path)
    assert (labels.category, labels.keypoint_names) == ('bug', ['nose', 'left', 'right'])
    assert (labels.skeleton, labels.swaps) == ([(0, 1), (0, 2)], [(1, 2)])
    assert [image.name for image in labels.images] == ['clip_000001.png', 'clip_000004.png']
    first, second = labels.images
    assert first.instances[0].keypoints == [(10.5, 20, 2), (30, 40, 2), (0, 0, 0)]
    assert (first.instances[1].keypoints, first.instances[1].box) == (None, (5, 6, 4, 4))
    assert second.instances[0].keypoints == [(11, 21, 2), (0, 0, 0), (50, 12, 2)]
    assert '1 frames hold predictions only' in texts(labels, NOTE)[-1]
    colour = cv2.imread(str(tmp_path / 'frames/clip_000004.png')).mean((0, 1))
    np.testing.assert_allclose(colour, (200, 20, 160), atol=8)  # of lossy coding; blue and red are not exchanged


def test_the_video_is_found_in_another_folder_or_named(project, tmp_path, capsys):
    sleap_io.save_slp(project, str(tmp_path / 'p.slp'), embed=False, verbose=False)
    (tmp_path / 'videos').mkdir()
    shutil.move(tmp_path / 'clip.mp4', tmp_path / 'videos/clip.mp4')
    assert main([str(tmp_path / 'p.slp'), '--images', str(tmp_path / 'videos'), '--out', str(tmp_path / 'out')]) == 0
    assert (tmp_path / 'out/train/images/clip_000001.png').is_file()
    (tmp_path / 'videos/clip.mp4').unlink()
    capsys.readouterr()
    assert main([str(tmp_path / 'p.slp'), '--check']) == 1
    assert 'clip.mp4: 2 labelled frames: their video is not in' in capsys.readouterr().err


def test_damaged_projects_and_predictions_are_refused(project, tmp_path):
    path = tmp_path / 'p.slp'
    project.labeled_frames = project.labeled_frames[2:]
    sleap_io.save_slp(project, str(path), embed=False, verbose=False)
    with pytest.raises(DatasetError, match='predictions only'):
        read_labels(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DatasetError, match='p.slp: is cut off; copy it again') as caught:
        read_labels(path)
    assert '\n' not in str(caught.value)


def test_a_damaged_video_is_refused(project, tmp_path):
    sleap_io.save_slp(project, str(tmp_path / 'p.slp'), embed=False, verbose=False)
    (tmp_path / 'clip.mp4').write_bytes(b'no video')
    labels = read_labels(tmp_path / 'p.slp')
    assert 'its frames cannot be read' in texts(labels, REFUSED)[0]


def test_yolo_pose_as_sleap_io_writes_it(project, tmp_path):
    """A real writer of the other format: names, skeleton of the classes, and shares of the picture's size."""
    sleap_io.save_file(project, str(tmp_path / 'yolo'), format='ultralytics', split_ratios={'train': 1.0})
    labels = read_labels(tmp_path / 'yolo/data.yaml')
    assert labels.keypoint_names == ['nose', 'left', 'right']
    places = [i.keypoints[0] for image in labels.images for i in image.instances if i.keypoints]
    np.testing.assert_allclose(sorted(x for x, _, _ in places)[2:], (10.5 / 64, 11 / 64), atol=1e-5)
    assert len(places) == 4  # it writes the predictions as if people had labelled them
