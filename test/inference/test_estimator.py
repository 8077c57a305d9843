"""PoseEstimator: from a BGR image to poses in its pixels, over a backend whose maps are known."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from custom_pose_ros import ConfigError, KeypointPose, ModelError, PoseEstimator
from custom_pose_ros.core.keypoints.heatmaps import encode_heatmaps
from custom_pose_ros.core.keypoints.pafs import encode_pafs
from custom_pose_ros.core.object_file import installed_objects
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import LoadedNetwork

GREEN, RED = (0, 255, 0), (0, 0, 255)


class ColourBackend:
    """Finds keypoint a at the centre of the pure green pixels and b at the red ones: exact maps from real pixels."""

    name = 'colour'

    def __init__(self, model: ObjectModel):
        self.model = model
        self.metadata = {'object': model.to_json()}
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        return tuple(np.stack(maps) for maps in zip(*(self.maps(image) for image in images)))

    def maps(self, image):
        keypoints, visible = np.zeros((1, 2, 2)), np.zeros((1, 2), bool)
        for k, colour in enumerate((GREEN, RED)):
            weight = (np.abs(image.astype(int) - colour).sum(-1) < 120).astype(float)
            if weight.any():
                rows, columns = np.nonzero(weight)
                keypoints[0, k], visible[0, k] = (columns.mean(), rows.mean()), True
        shape = (image.shape[0] // 8, image.shape[1] // 8)
        return (
            encode_heatmaps(keypoints, visible, shape, 8, 7.0),
            encode_pafs(keypoints, visible, self.model.skeleton, shape, 8, 1.0),
        )


@pytest.fixture
def pair() -> ObjectModel:
    return ObjectModel.from_dict(
        {'name': 'pair', 'keypoints': ['a', 'b'], 'skeleton': [['a', 'b']], 'input_height': 128}, 'pair/object.yaml'
    )


def test_thresholds_that_no_instance_can_pass_are_refused(pair):
    impossible = dataclasses.replace(pair.thresholds, min_keypoints=3)
    with pytest.raises(ConfigError, match='thresholds.min_keypoints: wanted at most the number of keypoints, 2, got 3'):
        PoseEstimator(pair, ColourBackend(pair), thresholds=impossible)


def picture(width: int, height: int, a: tuple[int, int], b: tuple[int, int]) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    radius = height // 20
    for centre, colour in ((a, GREEN), (b, RED)):
        image[centre[1] - radius : centre[1] + radius + 1, centre[0] - radius : centre[0] + radius + 1] = colour
    return image


@pytest.mark.parametrize('size', [(640, 480), (320, 240), (1000, 300), (170, 128), (100, 90)])
def test_keypoints_come_back_in_pixels_of_the_image(pair, size):
    width, height = size
    a, b = (width // 4, height // 3), (width * 3 // 4, height * 2 // 3)
    (pose,) = PoseEstimator(pair, ColourBackend(pair))(picture(width, height, a, b))
    # Resizing blurs the squares' edges: their centres are kept to about half a network pixel.
    np.testing.assert_allclose(pose.keypoints, [a, b], atol=0.6 * max(1.0, height / 128))
    assert isinstance(pose, KeypointPose)
    assert pose.visible.all()
    assert pose.scores.min() > 0.9


def test_a_batch_gives_what_single_images_give_in_their_order(pair):
    images = [
        picture(640, 480, (100, 100), (400, 300)),
        picture(1000, 300, (200, 100), (700, 200)),
        picture(320, 240, (60, 60), (200, 150)),
        np.zeros((480, 640, 3), np.uint8),
    ]
    backend = ColourBackend(pair)
    estimator = PoseEstimator(pair, backend)
    together = estimator.batch(images)
    assert [len(poses) for poses in together] == [1, 1, 1, 0]
    for poses, image in zip(together, images):
        for got, want in zip(poses, estimator(image)):
            np.testing.assert_array_equal(got.keypoints, want.keypoints)
    assert backend.shapes[0] == (3, 128, 192, 3)  # three of the four have one size for the network
    assert backend.shapes[1] == (1, 128, 448, 3)


def test_frames_share_one_input_buffer_and_leave_nothing_in_it(pair):
    addresses = set()

    class WatchedBackend(ColourBackend):
        def __call__(self, images):
            addresses.add(images.__array_interface__['data'][0])
            return super().__call__(images)

    estimator = PoseEstimator(pair, WatchedBackend(pair))
    wide, small = picture(1000, 300, (200, 100), (700, 200)), picture(320, 240, (60, 60), (200, 150))
    estimator(wide)
    for image in (small, np.zeros_like(small), wide):
        got, alone = estimator(image), PoseEstimator(pair, ColourBackend(pair))(image)
        assert len(got) == len(alone)
        for one, other in zip(got, alone):
            np.testing.assert_array_equal(one.keypoints, other.keypoints)
    assert len(addresses) == 1


def test_threads_may_call_one_estimator_at_once(pair):
    estimator = PoseEstimator(pair, ColourBackend(pair))
    images = [picture(640, 480, (100 + 20 * i, 100), (400, 300)) for i in range(4)] * 8
    alone = [estimator(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(estimator, images))
    for got, want in zip(together, alone):
        np.testing.assert_array_equal(got[0].keypoints, want[0].keypoints)


def test_opencv_gets_the_threads_of_the_backend():
    before = cv2.getNumThreads()
    try:
        PoseEstimator.load('submarine', backend='onnxruntime', threads=1)
        assert cv2.getNumThreads() == 1
        PoseEstimator.load('submarine', backend='onnxruntime', threads=3)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_an_empty_batch_is_an_empty_list(pair):
    assert PoseEstimator(pair, ColourBackend(pair)).batch([]) == []


def test_input_height_and_thresholds_replace_those_of_the_object(pair):
    backend = ColourBackend(pair)
    strict = dataclasses.replace(pair.thresholds, min_keypoints=2)
    lenient = dataclasses.replace(pair.thresholds, min_keypoints=1)
    image = picture(640, 480, (100, 100), (400, 300))
    image[image[..., 2] > 0] = 0  # no b
    assert PoseEstimator(pair, backend, thresholds=strict)(image) == []
    assert len(PoseEstimator(pair, backend, input_height=256, thresholds=lenient)(image)) == 1
    assert backend.shapes[-1] == (1, 256, 352, 3)


@pytest.mark.parametrize('height', [100, 0, 2048, 32])
def test_a_wrong_input_height_is_refused(pair, height):
    with pytest.raises(ConfigError, match=f'input_height: wanted a multiple of 32 from 64 to 1024, got {height}'):
        PoseEstimator(pair, ColourBackend(pair), input_height=height)


@pytest.mark.parametrize(
    'image, got',
    [
        (np.zeros((48, 64), np.uint8), r'uint8 \(48, 64\)'),
        (np.zeros((48, 64, 4), np.uint8), r'uint8 \(48, 64, 4\)'),
        (np.zeros((48, 64, 3), np.float32), r'float32 \(48, 64, 3\)'),
        (np.zeros((0, 64, 3), np.uint8), r'uint8 \(0, 64, 3\)'),
        ([[0, 0, 0]], 'list'),
        (None, 'NoneType'),
    ],
)
def test_wrong_images_are_refused(pair, image, got):
    with pytest.raises(ValueError, match=rf'image must be a uint8 BGR array of shape \(H, W, 3\), got {got}'):
        PoseEstimator(pair, ColourBackend(pair))(image)


def test_a_network_of_another_object_is_refused_with_both_names(pair):
    other = ObjectModel.from_dict({'name': 'crab', 'keypoints': ['claw', 'eye'], 'skeleton': [['claw', 'eye']]})
    with pytest.raises(
        ModelError, match=r"made for object 'crab' and does not fit 'pair' \(pair/object.yaml\)"
    ) as caught:
        PoseEstimator(pair, ColourBackend(other))
    assert "['claw', 'eye'] instead of ['a', 'b']" in str(caught.value)


@pytest.mark.parametrize(
    'metadata, message',
    [
        ({}, 'carries no object'),
        ({'object': '{'}, 'object inside the network is damaged'),
        ({'object': '[]'}, 'object inside the network is damaged'),
        ({'object': json.dumps({'name': 'x'})}, 'keypoints: is missing'),
    ],
)
def test_a_network_without_a_sound_object_is_refused(pair, metadata, message):
    backend = ColourBackend(pair)
    backend.metadata = metadata
    with pytest.raises(ModelError, match=message):
        PoseEstimator(pair, backend)


def test_the_shipped_object_loads_by_name_and_by_folder():
    folder = installed_objects()['submarine']
    for source in ('submarine', folder, folder / 'object.yaml'):
        estimator = PoseEstimator.load(source, backend='onnxruntime', threads=1)
        assert estimator.model.name == 'submarine'
        assert estimator.backend_name == 'onnxruntime'
    estimator.warm_up()


def test_the_model_may_lie_elsewhere(tmp_path):
    path = tmp_path / 'mine.onnx'
    path.write_bytes((installed_objects()['submarine'] / 'model.onnx').read_bytes())
    assert PoseEstimator.load('submarine', model_path=path, backend='onnxruntime').model.name == 'submarine'
    with pytest.raises(ModelError, match=r'yours\.onnx: no such file'):
        PoseEstimator.load('submarine', model_path=tmp_path / 'yours.onnx')


def test_the_image_is_not_changed(pair):
    image = picture(640, 480, (100, 100), (400, 300))
    before = image.copy()
    PoseEstimator(pair, ColourBackend(pair))(image)
    np.testing.assert_array_equal(image, before)


def test_a_turned_view_is_taken(pair):
    image = picture(640, 480, (100, 100), (400, 300))
    (pose,) = PoseEstimator(pair, ColourBackend(pair))(np.rot90(image, 2))
    np.testing.assert_allclose(pose.keypoints, [(539, 379), (239, 179)], atol=2.5)  # as in the upright image


class DimBackend(ColourBackend):
    """The same maps with peaks of another height, in bf16."""

    precision = 'bf16'

    def __init__(self, model: ObjectModel, height: float):
        super().__init__(model)
        self.height = np.float32(height)

    def maps(self, image):
        heatmaps, pafs = super().maps(image)
        return self.height * heatmaps, pafs


@pytest.mark.parametrize(('height', 'again'), [(0.9, 0), (0.255, 1), (0.245, 1)])
def test_close_decisions_of_a_reduced_precision_are_left_to_the_exact_network(pair, height, again):
    """The threshold of a keypoint is 0.25."""
    image, exact = picture(160, 128, (40, 40), (120, 80)), ColourBackend(pair)
    estimator = PoseEstimator(pair, LoadedNetwork(DimBackend(pair, height), exact))
    ((pose,), nothing) = estimator.batch([image, np.zeros_like(image)])
    (wanted,) = PoseEstimator(pair, exact)(image)
    np.testing.assert_allclose(pose.keypoints, wanted.keypoints, atol=1e-3)
    assert nothing == []
    assert (estimator.repeated, len(exact.shapes) - 1) == (again, again)  # one image of the two, never the empty one


def test_without_an_exact_network_a_reduced_precision_decides_itself(pair):
    image = picture(160, 128, (40, 40), (120, 80))
    assert len(PoseEstimator(pair, DimBackend(pair, 0.255))(image)) == 1


def test_the_warm_up_runs_the_exact_network_too(pair):
    exact = ColourBackend(pair)
    PoseEstimator(pair, LoadedNetwork(DimBackend(pair, 1.0), exact)).warm_up()
    assert exact.shapes == [(1, 128, 192, 3)]
