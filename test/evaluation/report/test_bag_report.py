"""The report: one file without outside parts, everything in it that was asked for, worst frames first."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_maker import CAMERA, IMAGE, SIZE, TRUTH, Messages, tiny_entries, trajectory, write_bag
from tiny_model import draw_tiny_object

from custom_pose_ros.core.orientation.solver import PoseSolver, Refusal
from custom_pose_ros.core.video_file import VideoFile
from custom_pose_ros.evaluation.report import bag_report, frame_pictures
from custom_pose_ros.evaluation.scoring.conditions import Condition, Verdict
from custom_pose_ros.evaluation.truth.source import TruthSettings

VOID = {'meta', 'img', 'br', 'link', 'input', 'hr', 'wbr'}


class Checker(HTMLParser):
    """Collects tags, links and ids, and whether every tag is closed."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.links += [v for k, v in values.items() if k in ('src', 'href', 'xlink:href') and v]
        self.ids += [values['id']] if 'id' in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope='module')
def evaluation(evaluate, tmp_path_factory):
    """A dive in which the object is hidden from frame 20 to 24 and the truth jumps by 30 deg at frame 45."""
    poses = trajectory(60)
    entries = tiny_entries(poses, truth_step_ns=33_000_000)
    images = [e[3] for e in entries if e[0] == IMAGE]
    for image in images[20:25]:
        image.data = np.zeros_like(image.data)
    truths = [e[3] for e in entries if e[0] == TRUTH]
    truths[45].pose.orientation.x += 0.3
    path = write_bag(tmp_path_factory.mktemp('bags') / 'dive <1>', entries)
    return evaluate(path, truth=TruthSettings(topic=TRUTH))


@pytest.fixture(scope='module')
def page(evaluation) -> str:
    """Its report, with two limits of which one is exceeded, beside a video of 30 frames/s."""
    limits = verdict(evaluation, 'rotation_error_deg.p90 > 5', 'detection.rate < 0.97')
    return bag_report.write(evaluation, limits, VideoFile(Path('annotated.mp4'), 30.0))


def verdict(evaluation, *texts: str) -> Verdict:
    return Verdict.of([Condition.parse(text) for text in texts], evaluation.metrics)


def test_the_page_is_one_file_and_well_formed(page):
    checker = Checker(page)
    assert not checker.open
    outside = [link for link in checker.links if not link.startswith(('data:image/', '#', 'annotated.mp4#t='))]
    assert outside == []
    assert 'http' not in re.sub(r'xmlns[^=]*="[^"]*"', '', page).replace('http://www.w3.org', '')
    assert len(page) < 3_000_000


def test_everything_is_on_the_page(page):
    for heading in ('Result', 'Over time', 'Where it fails', 'Frames to look at', 'Keypoints', 'Configuration'):
        assert f'<h2>{heading}</h2>' in page
    # 3 errors and 3 angles over time; distance, view angle, histogram, covariance.
    assert page.count('<svg') == 10
    assert 'FAILED' in page and '1 of 2 limits exceeded: detection.rate &lt; 0.97' in page
    assert 'fails</span> (fails if&nbsp;&lt;&nbsp;0.97)' in page and 'passes</span> (fails if&nbsp;&gt;&nbsp;5)' in page
    assert 'dive &lt;1&gt;' in page and 'dive <1>' not in page  # names are escaped


def test_the_frame_pictures_are_pictures_with_their_time_in_the_bag(page):
    pictures = [base64.b64decode(data) for data in re.findall(r'data:image/jpeg;base64,([^"]+)', page)]
    decoded = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in pictures]
    assert 2 <= len(decoded) <= frame_pictures.COUNT
    assert all(picture.shape[1] == 480 for picture in decoded)
    first = re.search(
        r'<figcaption><b>not found</b><br><a href="annotated.mp4#t=([\d.]+)">frame (\d+), t = ([\d.]+) s', page
    )
    assert 20 <= int(first[2]) < 25
    assert float(first[1]) == pytest.approx(int(first[2]) / 30.0, abs=0.01)
    assert re.search(r'ros2 bag play dive &lt;1&gt; --start-offset \d', page)


def test_missed_objects_come_first_then_the_largest_errors_and_no_neighbours(evaluation):
    chosen = frame_pictures.choose(evaluation.scores)
    assert 20 <= chosen[0] < 25
    assert 45 in chosen[1:3]  # frame 44 and 46 see half of the jump
    stamps = sorted(evaluation.scores[i].result.stamp_ns for i in chosen)
    assert min(np.diff(stamps)) >= frame_pictures.APART_S * 1e9


def test_the_picture_is_of_that_frame_and_shows_truth_and_estimate(evaluation):
    score = next(s for s in evaluation.scores if s.estimate is not None)
    (image,) = frame_pictures.fetch_images(evaluation.bag, IMAGE, [score.result])
    bag, time_ns = evaluation.bag, score.result.time_ns
    again = bag.decode(next(m for m in bag.messages([IMAGE]) if m.time_ns == time_ns))
    np.testing.assert_array_equal(image, again.data.reshape(256, 320, 3))
    before = image.copy()
    drawing = frame_pictures.draw(image, score, evaluation.model, CAMERA)
    np.testing.assert_array_equal(image, before)
    assert drawing.shape[1] == 480 and (drawing == 255).all(2).sum() > 50  # white of the truth


def cut_off_the_index(bag: Path) -> Path:
    """Take the footer off the only file of an mcap bag, as a crash leaves it."""
    (file,) = bag.glob('*.mcap')
    file.write_bytes(file.read_bytes()[:-37])
    return bag


def test_pictures_are_fetched_around_each_frame_or_in_one_pass_without_an_index(evaluate, dive, tmp_path, monkeypatch):
    crashed = cut_off_the_index(write_bag(tmp_path / 'crashed', tiny_entries(dive[1])))
    packed = write_bag(tmp_path / 'packed', tiny_entries(dive[1]), compression='file')
    for path, wanted_passes in ((dive[0], 3), (packed, 3), (crashed, 1)):
        evaluation = evaluate(path)
        results = [evaluation.scores[i].result for i in (30, 3, 12)]
        passes = []
        read = evaluation.bag.messages
        monkeypatch.setattr(evaluation.bag, 'messages', lambda *a, read=read, p=passes: p.append(a) or read(*a))
        images = frame_pictures.fetch_images(evaluation.bag, IMAGE, results)
        assert len(passes) == wanted_passes
        for image, index in zip(images, (30, 3, 12), strict=True):
            np.testing.assert_array_equal(image, draw_tiny_object(dive[1][index].pixels, SIZE))


def test_pictures_of_recorded_results_are_found_without_an_index(evaluate, dive, tmp_path):
    evaluate(dive[0], write_bag=tmp_path / 'recorded')
    late = evaluate(cut_off_the_index(tmp_path / 'recorded'), recorded='poses')
    assert not late.bag.indexed
    results = [late.scores[i].result for i in (30, 3)]
    assert all(image is not None for image in frame_pictures.fetch_images(late.bag, IMAGE, results))


def test_a_report_without_truth_and_one_of_recorded_results(evaluate, dive, tmp_path):
    copy = tmp_path / 'copy'
    without = evaluate(dive[0], write_bag=copy)
    page = bag_report.write(without, Verdict())
    assert '<h2>Where it fails</h2>' not in page and 'reprojection error [px] over time' in page
    recorded = bag_report.write(
        evaluate(copy, recorded='poses,orientations', truth=TruthSettings(topic=TRUTH)), Verdict()
    )
    assert 'recorded results' in recorded and 'Latency, median' in recorded and 'data:image/jpeg' in recorded


def test_a_bag_without_any_object_still_gives_a_page(evaluate, tmp_path):
    poses = trajectory(10)
    entries = [e for e in tiny_entries(poses) if e[0] != IMAGE]
    make = Messages()
    for pose in poses:
        empty = make.image(pose.stamp_ns, np.zeros((256, 320, 3), np.uint8))
        entries.append((IMAGE, 'sensor_msgs/msg/Image', pose.stamp_ns, empty))
    evaluation = evaluate(
        write_bag(tmp_path / 'b', sorted(entries, key=lambda e: e[2])), truth=TruthSettings(topic=TRUTH)
    )
    page = bag_report.write(evaluation, verdict(evaluation, 'rotation_error_deg.p90 > 5'))
    assert evaluation.metrics['detection']['rate'] == 0.0
    assert 'FAILED' in page and 'not found' in page


@pytest.mark.parametrize('truth', [TruthSettings(), TruthSettings(topic=TRUTH)], ids=['no truth', 'truth'])
def test_a_run_without_any_orientation_is_not_called_a_success(evaluate, dive, truth, monkeypatch):
    """It said only in how many frames the object was found."""
    monkeypatch.setattr(PoseSolver, 'solve', lambda *_: Refusal('two keypoints are seen'))
    metrics = evaluate(dive[0], truth=truth).metrics
    frames = metrics['frames']['scored']
    assert metrics['orientation']['refusals'] == {'two keypoints are seen': frames}
    told = bag_report.summary(metrics, Verdict())
    assert 'An orientation in none of these (most often: two keypoints are seen).' in told
    assert ('Mean keypoint error' in told) == (truth.kind is not None)
