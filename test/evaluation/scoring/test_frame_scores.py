"""Frame scores and metrics by value, on records made by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bag_maker import CAMERA, START_NS, trajectory
from outlined_box import box_views

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.scoring import summary as summary_module
from custom_pose_ros.evaluation.scoring.frame_scores import Scorer
from custom_pose_ros.evaluation.scoring.frame_table import COLUMNS, frame_table, read_table, to_csv
from custom_pose_ros.evaluation.scoring.summary import distribution, holes, rounded, summarise, to_json

STEP_NS = 100_000_000
TRUTH = trajectory(40, STEP_NS)


def pose_at(points: np.ndarray, track_id: int | None = 0, score: float = 0.9) -> KeypointPose:
    return KeypointPose(
        keypoints=points, covariances=np.full((4, 2, 2), np.nan), scores=np.full(4, 0.8),
        visible=np.isfinite(points[:, 0]), score=score, track_id=track_id,
    )  # fmt: skip


def estimate_of(
    i: int, error: tuple = (0, 0, 0), shift: tuple = (0, 0, 0), track_id: int | None = 0, **fields
) -> OrientationEstimate:
    """The estimate of frame i, wrong by a rotation vector [rad] in the camera frame and a shift [m]."""
    options = {
        'covariance': np.diag([1e-4] * 3 + [1e-2] * 3),
        'reprojection_error_px': 0.5,
        'ambiguity': 0.0,
        'keypoints_used': 4,
    }
    return OrientationEstimate(
        pose=Rigid(matrix_from_rotation_vector(-np.array(error, float)) @ TRUTH[i].R, TRUTH[i].t - shift),
        track_id=track_id,
        **(options | fields),
    )


def record(i: int, poses: list[KeypointPose], estimates: list[OrientationEstimate] = ()) -> FrameResult:
    made = FrameResult(TRUTH[i].stamp_ns, TRUTH[i].stamp_ns + 5_000_000, 320, 256)
    made.set_poses(poses, 4)
    made.estimates = list(estimates)
    return made


def truth(i: int) -> Rigid:
    return Rigid(TRUTH[i].R, TRUTH[i].t)


@pytest.fixture
def scorer(tiny_model) -> Scorer:
    return Scorer(tiny_model, lambda width, height: CAMERA)


def test_errors_of_one_frame_by_value(scorer):
    error, shift = (0.03, -0.04, 0.0), (0.02, 0.0, -0.01)
    (score,) = scorer.score(
        [record(3, [pose_at(TRUTH[3].pixels + [3.0, 4.0])], [estimate_of(3, error, shift)])], [truth(3)]
    )

    assert score.expected and score.found
    assert score.rotation_error_deg == pytest.approx(math.degrees(0.05), rel=1e-9)
    np.testing.assert_allclose(score.rotation_error_rad, error, atol=1e-12)
    assert score.translation_error_m == pytest.approx(math.hypot(0.02, 0.01))
    assert score.keypoint_error_px == pytest.approx(5.0, rel=1e-5)
    assert score.nees_rotation == pytest.approx(0.05**2 / 1e-2)
    assert score.nees_position == pytest.approx((0.02**2 + 0.01**2) / 1e-4)
    assert score.nees_pose == pytest.approx(score.nees_rotation + score.nees_position)
    centre = TRUTH[3].R @ scorer.points.mean(0) + TRUTH[3].t
    assert score.distance_m == pytest.approx(np.linalg.norm(centre))


def test_the_instance_on_the_object_is_followed_not_the_best_one(scorer):
    poses = [pose_at(TRUTH[0].pixels + [150.0, 0.0], 1, 0.99), pose_at(TRUTH[0].pixels + 1.0, 2, 0.3)]
    estimates = [estimate_of(0, track_id=1), estimate_of(0, (0.1, 0, 0), track_id=2)]
    (score,) = scorer.score([record(0, poses, estimates)], [truth(0)])
    assert (score.instance, score.track_id) == (1, 2)
    assert score.rotation_error_deg == pytest.approx(math.degrees(0.1))


def test_an_instance_far_from_the_truth_is_a_surplus_one_and_the_object_missed(scorer, tiny_model):
    (score,) = scorer.score([record(0, [pose_at(TRUTH[0].pixels + [400.0, 0.0])])], [truth(0)])
    assert score.expected and not score.found
    detection = summarise([score], tiny_model, True)['detection']
    assert (detection['rate'], detection['surplus_instances']) == (0.0, 1)


def test_an_object_out_of_view_is_not_expected(scorer, tiny_model):
    away = Rigid(TRUTH[0].R, TRUTH[0].t + [5.0, 0.0, 0.0])
    behind = Rigid(TRUTH[0].R, -TRUTH[0].t)
    scores = scorer.score([record(0, []), record(1, []), record(2, [])], [away, behind, None])
    assert [s.expected for s in scores] == [False, False, False]
    assert summarise(scores, tiny_model, True)['detection']['rate'] is None


def test_a_predicted_orientation_counts_apart(scorer, tiny_model):
    coasting = estimate_of(0, (0.2, 0, 0), keypoints_used=0, reprojection_error_px=math.nan)
    scores = scorer.score([record(0, [], [coasting])], [truth(0)])
    result = summarise(scores, tiny_model, True)
    assert result['rotation_error_deg']['count'] == 0
    assert result['coasting_rotation_error_deg']['max'] == pytest.approx(math.degrees(0.2))
    assert result['orientation']['coasting'] == 1


def test_symmetric_objects_are_compared_modulo_symmetry(tiny_model):
    data = tiny_model.to_dict() | {'symmetries': [{'axis': [1, 0, 0], 'fold': 2}]}
    scorer = Scorer(ObjectModel.from_dict(data), lambda w, h: CAMERA)
    estimate = estimate_of(0)
    flipped = replace(estimate, pose=estimate.pose @ Rigid(np.diag([1.0, -1.0, -1.0]), np.zeros(3)))
    (score,) = scorer.score([record(0, [pose_at(TRUTH[0].pixels)], [flipped])], [truth(0)])
    assert score.rotation_error_deg < 1e-6


def test_a_covariance_that_is_none_gives_no_nees(scorer):
    broken = estimate_of(0, (0.1, 0, 0), covariance=np.zeros((6, 6)))
    (score,) = scorer.score([record(0, [pose_at(TRUTH[0].pixels)], [broken])], [truth(0)])
    assert math.isnan(score.nees_rotation)


def frames_with_gaps() -> list[FrameResult]:
    """20 frames; the object is missed in 5, 6, 7 and 12, and has another id from 13 on."""
    return [record(i, [] if i in (5, 6, 7, 12) else [pose_at(TRUTH[i].pixels, 0 if i < 12 else 4)]) for i in range(20)]


def test_gaps_and_switches_by_value(scorer, tiny_model):
    scores = scorer.score(frames_with_gaps(), [truth(i) for i in range(20)])
    result = summarise(scores, tiny_model, True)
    assert result['detection']['rate'] == 16 / 20
    assert result['detection']['gaps']['count'] == 2
    assert result['detection']['gaps']['frames']['max'] == 3
    assert result['detection']['gaps']['longest_s'] == pytest.approx(0.4)  # from frame 4 to frame 8
    assert result['tracks'] == {'count': 2, 'switches': 1}


def test_a_hole_in_the_recording_is_a_gap(scorer, tiny_model):
    """Frames 8 to 13 of 20 at 10 Hz are missing and the object is in all others: 0.7 s from frame 7 to frame 14."""
    kept = [i for i in range(20) if not 8 <= i <= 13]
    records = [record(i, [pose_at(TRUTH[i].pixels)]) for i in kept]
    gaps = summarise(scorer.score(records, [truth(i) for i in kept]), tiny_model, True)['detection']['gaps']
    assert (gaps['count'], gaps['frames']['count'], gaps['longest_s']) == (1, 0, pytest.approx(0.7))


def test_holes_are_told_from_dropped_frames_and_equal_stamps():
    assert holes(np.array([0.0, 0.1, 0.2, 0.6, 0.7, 3.7, 3.8])).tolist() == [4]  # three dropped frames are none
    assert holes(np.zeros(4)).tolist() == holes(np.zeros(1)).tolist() == []


def test_without_truth_every_frame_counts_and_the_track_is_followed(tiny_model):
    scorer = Scorer(tiny_model, lambda w, h: CAMERA)
    records = frames_with_gaps()
    records[3] = record(3, [pose_at(TRUTH[3].pixels + 90, 9, 0.99), pose_at(TRUTH[3].pixels, 0, 0.5)])
    scores = scorer.score(records, None)
    result = summarise(scores, tiny_model, False)
    assert scores[3].track_id == 0
    assert result['detection']['rate'] == 16 / 20
    assert 'rotation_error_deg' not in result


def test_jitter_is_the_standard_deviation_of_the_noise(tiny_model):
    """Points at rest with 0.5 px of white noise on x; the root mean square of the jitter must come out as 0.5."""
    rng = np.random.default_rng(0)
    records = []
    for i in range(3000):
        points = TRUTH[0].pixels + np.column_stack([rng.normal(0, 0.5, 4), np.zeros(4)])
        made = FrameResult(START_NS + i * STEP_NS, i, 320, 256)
        made.set_poses([pose_at(points)], 4)
        records.append(made)
    scores = Scorer(tiny_model, lambda w, h: CAMERA).score(records, None)
    jitter = summarise(scores, tiny_model, False)['jitter']['keypoint_px']
    assert jitter['count'] == 4 * 2998
    # Median of |N(0, 0.5)| is 0.337; 12,000 samples give it to 2 %.
    assert jitter['median'] == pytest.approx(0.5 * 0.6745, rel=0.03)


def test_angles_over_half_a_turn_are_compared_the_short_way(scorer, tiny_model):
    """Roll of estimate and truth lie on either side of 180 degrees."""
    base = matrix_from_rotation_vector(np.array([np.pi - 0.01, 0.0, 0.0]))
    other = matrix_from_rotation_vector(np.array([0.03, 0.0, 0.0])) @ base
    estimate = replace(estimate_of(0), pose=Rigid(base, np.array([0, 0, 2.0])))
    scores = scorer.score([record(0, [], [estimate])], [Rigid(other, np.array([0, 0, 2.0]))])
    result = summarise(scores, tiny_model, True)
    assert result['roll_error_deg']['max'] == pytest.approx(math.degrees(0.03))
    assert result['yaw_error_deg']['max'] == pytest.approx(0.0, abs=1e-9)


def test_a_distribution_by_value():
    result = distribution([1.0, 2.0, None, math.nan, 3.0, 10.0])
    assert result == {
        'count': 4,
        'mean': 4.0,
        'median': 2.5,
        'p90': pytest.approx(7.9),
        'p95': pytest.approx(8.95),
        'max': 10.0,
    }
    assert distribution([]) == {'count': 0, 'mean': None, 'median': None, 'p90': None, 'p95': None, 'max': None}


def test_json_has_six_digits_and_no_nan():
    assert rounded({'a': 1 / 3, 'b': math.nan, 'c': np.int64(3), 'd': [np.float32(0.5), True]}) == {
        'a': 0.333333,
        'b': None,
        'c': 3,
        'd': [0.5, True],
    }
    assert json.loads(to_json({'x': math.inf})) == {'x': None}


def test_frames_csv_reads_back(scorer, tiny_model, tmp_path):
    records = [
        record(i, [pose_at(TRUTH[i].pixels + 1.0)] if i else [], [estimate_of(i, (0.1, 0, 0))] if i else [])
        for i in range(5)
    ]
    scores = scorer.score(records, [truth(i) for i in range(5)])
    path = tmp_path / 'frames.csv'
    path.write_text(to_csv(frame_table(scores, tiny_model, START_NS)))

    columns = read_table(path)

    assert set(columns) == set(COLUMNS)
    assert columns['stamp_ns'].tolist() == [t.stamp_ns for t in TRUTH[:5]]  # 19 digits, to the last
    assert columns['found'].tolist() == [0, 1, 1, 1, 1]
    np.testing.assert_allclose(columns['rotation_error_deg'][1:], math.degrees(0.1), rtol=1e-6)
    assert math.isnan(columns['rotation_error_deg'][0])
    np.testing.assert_allclose(columns['true_z_m'], [t.t[2] for t in TRUTH[:5]], rtol=1e-6)


@pytest.mark.parametrize('damage', [lambda text: text[:-2], lambda text: text[:-40], lambda text: text[:-1] + ',7\n'])
def test_a_frames_csv_that_is_cut_off_is_refused(scorer, tiny_model, tmp_path, damage):
    scores = scorer.score([record(i, [], []) for i in range(2)], [truth(i) for i in range(2)])
    path = tmp_path / 'frames.csv'
    path.write_text(damage(to_csv(frame_table(scores, tiny_model, START_NS))))
    with pytest.raises(DatasetError, match='frames.csv: is cut off or damaged'):
        read_table(path)


def schema_at(schema: dict, root: dict) -> dict:
    return root['$defs'][schema['$ref'].rpartition('/')[2]] if '$ref' in schema else schema


def assert_fits(value, schema: dict, root: dict, where: str) -> None:
    """The part of JSON Schema that metrics.schema.json uses."""
    schema = schema_at(schema, root)
    if 'const' in schema:
        assert value == schema['const'], where
    if 'enum' in schema:
        assert value in schema['enum'], where
    types = {
        'object': dict,
        'array': list,
        'string': str,
        'number': (int, float),
        'integer': int,
        'boolean': bool,
        'null': type(None),
    }
    if 'type' in schema:
        wanted = [schema['type']] if isinstance(schema['type'], str) else schema['type']
        assert any(isinstance(value, types[name]) for name in wanted), f'{where}: {value!r} is no {wanted}'
    if isinstance(value, dict):
        properties, additional = schema.get('properties', {}), schema.get('additionalProperties')
        assert set(schema.get('required', [])) <= set(value), f'{where}: {set(schema["required"]) - set(value)} missing'
        for key, item in value.items():
            assert key in properties or additional, f'{where}.{key} is not in the schema'
            assert_fits(item, properties.get(key, additional), root, f'{where}.{key}')
    if isinstance(value, list) and 'items' in schema:
        for item in value:
            assert_fits(item, schema['items'], root, f'{where}[]')


def test_metrics_follow_their_schema(evaluate, dive, tmp_path, tiny_model):
    from custom_pose_ros.evaluation.truth.source import TruthSettings

    schema = json.loads(Path(summary_module.__file__).with_name('metrics.schema.json').read_text())
    labels = tmp_path / 'labels.json'
    category = {'id': 1, 'keypoints': list(tiny_model.keypoint_names)}
    content = {'images': [{'id': 1, 'file_name': '3.png'}], 'annotations': [], 'categories': [category]}
    labels.write_text(json.dumps(content))
    outline = tmp_path / 'outline.npz'
    replace(box_views(20), model=ObjectModel.load(evaluate(dive[0]).model.source)).save(outline)
    truth = TruthSettings(topic='/truth/pose')
    with_truth = evaluate(dive[0], truth=truth, labels=labels, outline=str(outline))
    for evaluation in (with_truth, evaluate(dive[0])):
        assert_fits(json.loads(evaluation.metrics_text()), schema, schema, 'metrics')
    short = [name for name in schema['properties'] if name != 'calibration']  # which a dive of seconds does not tell
    assert list(with_truth.metrics) == short
