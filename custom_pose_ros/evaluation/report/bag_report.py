"""report.html of one evaluation: verdict, errors over time, consistency, worst frames, configuration; one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

import numpy as np

from custom_pose_ros.core.orientation.estimate import AMBIGUOUS
from custom_pose_ros.core.video_file import VideoFile
from custom_pose_ros.evaluation.evaluator import Evaluation
from custom_pose_ros.evaluation.report import charts, frame_pictures, page
from custom_pose_ros.evaluation.report.page import number, percent
from custom_pose_ros.evaluation.scoring.conditions import Verdict, number_at
from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore

_FEW = 0.5  # of the frames with the object: with fewer orientations the run is none to rely on
_LEGEND = (
    '<p class="soft">Coloured: what was found, with the axes x, y, z of the estimated attitude. '
    'White rings, lines and axes: the truth.</p>'
)


def write(evaluation: Evaluation, verdict: Verdict, video: VideoFile | None = None) -> str:
    """
    Return the page of one evaluation; fetches the worst frames from the bag, which must still be open.

    Args:
        evaluation: What to report.
        verdict: What --fail-if says about it.
        video: Annotated video beside the report, to which the worst frames link.
    """
    metrics, model = evaluation.metrics, evaluation.model
    notes = page.notes(metrics['notes']['damage'], 'damage') + page.notes(metrics['notes']['information'])
    return page.page(
        title=f'{model.name} in {metrics["bag"]["name"]}',
        subtitle=_subtitle(evaluation),
        verdict=verdict,
        summary=summary(metrics, verdict),
        body=[
            page.section('Result', _verdict_table(metrics, verdict)),
            page.section('What to know about this bag', notes, _alignment(evaluation)),
            page.section('Over time', *_time_charts(evaluation)),
            page.section('Where it fails', page.halves(*_error_charts(evaluation))),
            page.section('Frames to look at', *_worst(evaluation, video)),
            page.section('Labels', _labels(metrics)),
            page.section('Keypoints', _keypoint_table(metrics)),
            page.section('Configuration', _configuration(evaluation)),
        ],
    )


def summary(metrics: Mapping[str, Any], verdict: Verdict) -> str:
    """Return the verdict in a sentence or two."""
    parts = verdict.sentence()
    detection = metrics['detection']
    seen = 'in view' if metrics['frames']['with_truth'] else 'read'
    parts.append(f'Found in {percent(detection["rate"])} of {detection["expected"]} frames {seen}.')
    rotation = metrics.get('rotation_error_deg', {})
    if rotation.get('count'):
        parts.append(
            f'Attitude within {number(rotation["median"])} deg in half of them, '
            f'{number(rotation["p90"])} deg in nine of ten; '
            f'{percent(rotation["share_above_20deg"])} more than 20 deg wrong.'
        )
    return ' '.join(parts + _shortcomings(metrics))


def _shortcomings(metrics: Mapping[str, Any]) -> list[str]:
    """Return what keeps a run in which the object was found from being a success, and its error without attitudes."""
    parts, orientation = [], metrics['orientation']
    if orientation['rate'] is not None and orientation['rate'] < _FEW:
        share = f'in only {percent(orientation["rate"])} of these' if orientation['rate'] else 'in none of these'
        why = next((f' (most often: {reason})' for reason in orientation['refusals']), '')
        parts.append(f'An orientation {share}{why}.')
    error = metrics.get('keypoint_error_px') or metrics.get('labels', {}).get('keypoint_error_px', {})
    if error.get('count') and not metrics.get('rotation_error_deg', {}).get('count'):
        parts.append(f'Mean keypoint error {number(error["mean"], "px")}.')
    return parts


def _subtitle(evaluation: Evaluation) -> str:
    metrics = evaluation.metrics
    parts = [f'{metrics["frames"]["scored"]} frames in {number(metrics["bag"]["duration_s"], "s", 4)}']
    parts += [f'{key} {metrics["bag"][key]}' for key in ('image', 'poses', 'orientations') if metrics['bag'][key]]
    parts.append(f'truth: {metrics["bag"]["truth"] or "none"}')
    if evaluation.settings.recorded:
        parts.append('recorded results')
    else:
        parts.append(f'evaluated at {evaluation.frames_per_s:.0f} frames/s')
    return ' · '.join(parts)


def _verdict_table(metrics: Mapping[str, Any], verdict: Verdict) -> str:
    """Return label, value, meaning and mark of the numbers that matter, then of every other one that has a limit."""
    rows, named = [], set()
    for name, label, unit, meaning in _ROWS:
        value = number_at(metrics, name)
        if value is None and not page.limit_marks(verdict, name):
            continue
        named.add(name)
        text = percent(value) if unit == '%' else number(value, unit)
        rows.append((f'{escape(label)}<br>{page.key(name)}', text, escape(meaning), page.limit_marks(verdict, name)))
    for condition, value, _ in verdict.results:
        if condition.name not in named:
            named.add(condition.name)
            rows.append((page.key(condition.name), number(value), '', page.limit_marks(verdict, condition.name)))
    return page.table(('', '', 'meaning', 'limit' if verdict.results else ''), rows, (1,), 'stacked')


_ROWS = (
    ('detection.rate', 'Found', '%', 'share of the frames with the object in view (without truth: of all frames)'),
    ('detection.gaps.longest_s', 'Longest gap', 's', 'longest time without the object, or without any frame'),
    ('rotation_error_deg.median', 'Rotation error, median', 'deg', 'angle between estimated and true attitude'),
    ('rotation_error_deg.p90', 'Rotation error, 90 %', 'deg', 'nine of ten frames are better'),
    ('rotation_error_deg.share_above_20deg', 'Badly wrong', '%', 'share of frames more than 20 deg off'),
    ('translation_error_m.median', 'Position error, median', 'm', 'distance of estimated and true origin'),
    ('translation_error_m.p90', 'Position error, 90 %', 'm', 'nine of ten frames are better'),
    ('keypoint_error_px.mean', 'Keypoint error, mean', 'px', 'distance from the projected true keypoints'),
    ('outline.share_of_frames', 'Measured by the outline', '%', 'share of the solved orientations'),
    ('outline.agreement.median', 'Agreement of the outline', '%', 'its edges that the image shows within a pixel'),
    ('outline.without.rotation_error_deg.median', 'Rotation error without it, median', 'deg', 'by keypoints alone'),
    ('outline.without.rotation_error_deg.p90', 'Rotation error without it, 90 %', 'deg', 'by keypoints alone'),
    ('outline.without.translation_error_m.median', 'Position error without it, median', 'm', 'by keypoints alone'),
    ('outline.without.jitter.rotation_deg.median', 'Jitter without it', 'deg', 'of the attitude by keypoints alone'),
    ('consistency.share_inside_99.rotation', 'Honest covariance', '%', 'truths inside the 99 % region; 99 % is right'),
    ('orientation.rate', 'Orientation solved', '%', 'share of the found objects'),
    ('reprojection_error_px.median', 'Reprojection error, median', 'px', 'how well it explains the keypoints'),
    ('ambiguity.share_ambiguous', 'Ambiguous', '%', 'share with a second solution that is nearly as good'),
    ('tracks.switches', 'Track switches', '', 'how often the followed object got another id'),
    ('jitter.keypoint_px.median', 'Jitter of keypoints', 'px', 'noise from frame to frame'),
    ('jitter.rotation_deg.median', 'Jitter of the attitude', 'deg', 'noise from frame to frame'),
    ('latency_ms.median', 'Latency, median', 'ms', 'from the stamp of the image to the recording of the result'),
    ('latency_ms.p95', 'Latency, 95 %', 'ms', ''),
    ('frames.missing_results', 'Images without a result', '', 'dropped live'),
)  # fmt: skip


def _alignment(evaluation: Evaluation) -> str:
    alignment = evaluation.alignment
    if alignment is None or not alignment.pairs:
        return ''
    text = (
        f'Extrinsics estimated from {alignment.pairs} frames; left over {alignment.rotation_rms_deg:.2f} deg, '
        f'{alignment.translation_rms_m * 1000:.1f} mm (camera_object = camera_from_world, truth, body_from_object):'
    )
    return f'<p>{escape(text)}</p>' + page.code_lines(alignment.lines())


def _time_charts(evaluation: Evaluation) -> list[str]:
    columns = evaluation.table
    missing = (columns['found'] == 0) & (columns['expected'] != 0)
    figures = []
    series = (
        ('rotation_error_deg', 'rotation error [deg]'),
        ('translation_error_m', 'position error [m]'),
        ('keypoint_error_px', 'keypoint error [px]'),
    )
    if not evaluation.has_truth:
        series = (
            ('reprojection_error_px', 'reprojection error [px]'),
            ('ambiguity', 'ambiguity'),
            ('latency_ms', 'latency [ms]'),
        )
    for column, label in series:
        if np.isfinite(columns[column]).any():
            figures.append(page.figure(charts.error_over_time(columns, column, label, missing), f'{label} over time'))
    if np.isfinite(columns['roll_deg']).any():
        for name in ('roll', 'pitch', 'yaw'):
            caption = f'{name} about the axes of the camera, zero in the attitude the object file calls zero'
            figures.append(page.figure(charts.angle_over_time(columns, name), caption))
    return figures


def _error_charts(evaluation: Evaluation) -> list[str]:
    metrics, columns = evaluation.metrics, evaluation.table
    if not evaluation.has_truth or not metrics['rotation_error_deg']['count']:
        return []
    by_distance = metrics['rotation_error_deg_by_distance_m']
    by_angle = metrics['rotation_error_deg_by_view_angle_deg']
    nees = {'rotation': columns['nees_rotation'], 'position': columns['nees_position']}
    return [
        page.figure(
            charts.error_against(columns, 'distance_m', 'distance [m]', by_distance), 'Rotation error against distance'
        ),
        page.figure(
            charts.error_against(columns, 'view_angle_deg', 'view angle [deg]', by_angle),
            'Rotation error against view angle: 0 = onto the plane of the keypoints, 90 = edge-on',
        ),
        page.figure(
            charts.histogram(columns['rotation_error_deg'], 'rotation error [deg]'), 'How often each error occurs'
        ),
        page.figure(charts.consistency(nees), 'Covariance: how often the truth lies where the estimate says'),
    ]


def _worst(evaluation: Evaluation, video: VideoFile | None) -> list[str]:
    topic = evaluation.selection.image
    if topic is None:
        return ['<p class="soft">No image topic: no pictures.</p>']
    figures = []
    chosen = frame_pictures.choose(evaluation.scores)
    images = frame_pictures.fetch_images(evaluation.bag, topic, [evaluation.scores[index].result for index in chosen])
    for index, image in zip(chosen, images):
        score = evaluation.scores[index]
        if image is None:
            continue
        camera = None
        if evaluation.model.model_points is not None:
            camera = evaluation.cameras.for_size(image.shape[1], image.shape[0])
        drawing = frame_pictures.draw(image, score, evaluation.model, camera, evaluation.outline)
        link = f'{quote(video.path.name)}#t={index / video.fps:.2f}' if video else ''
        caption = _caption(evaluation, index, score, link)
        figures.append(page.picture(drawing, caption, f'frame {index}', f'frame-{index}'))
    if not figures:
        return []
    return [_LEGEND, f'<div class="frames">{"".join(figures)}</div>']


def _caption(evaluation: Evaluation, index: int, score: FrameScore, link: str) -> str:
    offset_s = (score.result.time_ns - evaluation.bag.start_ns) * 1e-9
    if score.expected and not score.found:
        text = 'not found'
    elif score.rotation_error_rad is not None:
        position_mm = 1000 * score.translation_error_m
        text = f'rotation error {score.rotation_error_deg:.1f} deg, position error {position_mm:.0f} mm'
        if score.estimate is not None and score.estimate.ambiguity > AMBIGUOUS:
            text += f', or turned: {score.estimate.ambiguity:.2f}'
    elif np.isfinite(score.keypoint_error_px):
        text = f'keypoint error {score.keypoint_error_px:.1f} px, no orientation'
    elif score.estimate is not None:
        estimate = score.estimate
        text = f'reprojection error {estimate.reprojection_error_px:.1f} px, ambiguity {estimate.ambiguity:.2f}'
    else:
        text = 'found, no orientation' if score.found else 'nothing found'
    place = f'frame {index}, t = {offset_s:.3f} s'
    if link:
        place = f'<a href="{escape(link)}">{place}</a>'
    bag = evaluation.metrics['bag']['name']
    play = f'ros2 bag play {bag} --start-offset {max(offset_s - 1.0, 0.0):.1f}'
    return f'<b>{escape(text)}</b><br>{place}<br><code>{escape(play)}</code>'


def _labels(metrics: Mapping[str, Any]) -> str:
    labels = metrics.get('labels')
    if labels is None:
        return ''
    rows = [
        ('labelled frames', number(labels['frames'], digits=6)),
        ('labelled instances found', f'{labels["found"]} of {labels["instances"]}'),
        ('instances without a label', number(labels['surplus_instances'], digits=6)),
        ('keypoint error, mean', number(labels['keypoint_error_px']['mean'], 'px')),
        ('keypoint error, mean, of the size of the object', percent(labels['keypoint_error_share']['mean'])),
    ]
    return page.table(('', ''), rows, number_columns=(1,))


def _keypoint_table(metrics: Mapping[str, Any]) -> str:
    source = metrics.get('labels', metrics).get('keypoint_error_px', {}).get('per_keypoint', {})
    rows = [
        (escape(name), str(d['count']), number(d['median'], 'px'), number(d['p90'], 'px'), number(d['max'], 'px'))
        for name, d in source.items()
        if d['count']
    ]
    return page.table(('keypoint', 'frames', 'median', '90 %', 'largest'), rows, (1, 2, 3, 4)) if rows else ''


def _configuration(evaluation: Evaluation) -> str:
    metrics = evaluation.metrics
    rows = [
        (escape(key.replace('_', ' ')), _plain(value))
        for key, value in metrics['configuration'].items()
        if value is not None
    ]
    rows += [(f'version of {escape(name)}', escape(version)) for name, version in metrics['versions'].items()]
    return page.table(('', ''), rows)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return '<br>'.join(f'{escape(str(key))}: {escape(str(item))}' for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return escape(', '.join(map(str, value)))
    return f'<code>{escape(str(value))}</code>'
