"""
Score a bag: run the estimators on its images (or take recorded results), compare with the truth, write a report.

    evaluate_bag dive --object submarine
    evaluate_bag dive --truth /mocap/submarine --fail-if 'rotation_error_deg.p90 > 5'
    evaluate_bag dive --recorded poses,orientations --truth-tf submarine_mocap
    evaluate_bag dive --compare config/submarine retrained/submarine
    evaluate_bag --compare build/evaluation/monday build/evaluation/tuesday

Writes metrics.json, frames.csv and report.html. Needs neither ROS nor torch. Exit codes: 0 scored; 1 a --fail-if limit
is exceeded, or nothing could be scored; 2 wrong call; 3 scored, but parts of the bag are damaged or missing.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from custom_pose_ros.core.command_line import (
    CANNOT,
    DONE,
    PARTLY,
    add_outline_option,
    bounded_number,
    command,
    command_parser,
    field_of_view_deg,
    name_or_file,
    optional_packages,
    output_folder,
    positive_integer,
    progress_bar,
    say,
)
from custom_pose_ros.core.errors import UsageError, printable_line
from custom_pose_ros.core.files import check_own, has_mark, holds_json, mark_of, own_folder, write_text
from custom_pose_ros.core.limits import MIN_FOV_DEG
from custom_pose_ros.core.object_file import find_object_folder
from custom_pose_ros.core.video_file import VideoFile, quiet_opencv
from custom_pose_ros.inference.backends import add_network_options

with optional_packages('evaluate_bag', ['bags', 'report']):
    from custom_pose_ros.evaluation.bags.reader import Bag
    from custom_pose_ros.evaluation.evaluation_settings import Settings
    from custom_pose_ros.evaluation.evaluator import Evaluation, Evaluator, Reading
    from custom_pose_ros.evaluation.report import bag_report, comparison_report
    from custom_pose_ros.evaluation.report.frame_pictures import AnnotatedVideo
    from custom_pose_ros.evaluation.scoring import compare
    from custom_pose_ros.evaluation.scoring.conditions import Condition, Verdict, check_conditions
    from custom_pose_ros.evaluation.scoring.summary import to_json
    from custom_pose_ros.evaluation.truth.source import TruthSettings


_DEFAULT_OUT = Path('build/evaluation')
_VIDEO, _AUTHOR = 'annotated.mp4', 'evaluate_bag'  # whose mark it has
_SHORTEST_S, _LONGEST_S = 1e-9, 1e9  # as stamps in nanoseconds can tell


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code named in the help."""
    quiet_opencv()
    args = _parser().parse_args(argv)
    conditions = _conditions(args)
    if args.compare and not args.bags:
        runs = [compare.FinishedRun.load(folder) for folder in args.compare]
        return _compare(runs, args.out or _DEFAULT_OUT / 'comparison', conditions)
    if not args.bags:
        raise UsageError('give a bag to evaluate, or --compare with two finished runs')
    if args.compare:
        return _evaluate_two(args, conditions)
    out = args.out or _default_out(args.bags[0])
    evaluation = _evaluate(_settings(args), out, conditions, args.video)
    return _status(Verdict.of(conditions, evaluation.metrics), evaluation.damaged)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__, 'evaluate_bag')
    parser.add_argument(
        'bags', nargs='*', type=Path, metavar='BAG',
        help='rosbag2 folder, .mcap, .db3 or ROS 1 .bag; several are merged',
    )  # fmt: skip
    parser.add_argument(
        '--out', type=output_folder, metavar='FOLDER', help='where results go (default: build/evaluation/<bag>)'
    )
    _add_estimators(parser.add_argument_group('object and network'))
    _add_inputs(parser.add_argument_group('what to read'))
    _add_truth(parser.add_argument_group('truth'))
    group = parser.add_argument_group('results')
    group.add_argument(
        '--fail-if', action='append', default=[], metavar='CONDITION',
        help="number of metrics.json and limit, as in 'rotation_error_deg.p90 > 5'; repeatable",
    )  # fmt: skip
    group.add_argument('--video', action='store_true', help='write the annotated video annotated.mp4')
    group.add_argument(
        '--write-bag', type=Path, metavar='FOLDER',
        help='write a copy of the bag with poses, orientations, pose and /tf',
    )  # fmt: skip
    group.add_argument(
        '--compare', nargs=2, metavar=('A', 'B'),
        help='two finished runs (folders); with BAG: two objects or model files',
    )  # fmt: skip
    return parser


def _add_estimators(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        '--object', default=Settings.object, help='folder, object.yaml or installed object (default: %(default)s)'
    )
    group.add_argument('--model', type=Path, metavar='FILE', help='network file (default: beside the object.yaml)')
    add_network_options(group)
    group.add_argument(
        '--threads', type=positive_integer, metavar='N',
        help='images worked on at once (default: one for each core, at most 4)',
    )  # fmt: skip
    add_outline_option(group)
    group.add_argument(
        '--recorded', default='', metavar='TOPICS',
        help='score recorded topics instead, such as poses,orientations; or poses of another program: PoseStamped, '
        'PoseWithCovarianceStamped, PoseArray, Detection3DArray, or /tf',
    )  # fmt: skip
    group.add_argument(
        '--recorded-class', default='', metavar='CLASS',
        help='which class of a Detection3DArray, or frame of /tf, is the object',
    )  # fmt: skip


def _add_inputs(group: argparse._ActionsContainer) -> None:
    group.add_argument('--image', metavar='TOPIC', help='image topic, raw or compressed (default: the only one)')
    group.add_argument('--camera-info', metavar='TOPIC', help='calibration topic (default: the one beside the images)')
    lens = group.add_mutually_exclusive_group()
    lens.add_argument(
        '--camera', type=Path, metavar='YAML',
        help='calibration of camera_calibration, Kalibr or OpenCV, or a printed camera_info; replaces that of the bag',
    )  # fmt: skip
    lens.add_argument(
        '--fov-deg', type=field_of_view_deg, metavar='DEG',
        help=f'horizontal field of view to assume where there is no calibration, at least {MIN_FOV_DEG}',
    )  # fmt: skip
    group.add_argument(
        '--rectified', action=argparse.BooleanOptionalAction,
        help='whether the images are rectified, so that P of the calibration is used, without distortion (default: by '
        'the topic, such as image_rect)',
    )  # fmt: skip
    group.add_argument(
        '--start', type=bounded_number(0, _LONGEST_S), default=0.0, metavar='S',
        help='skip the first seconds of the bag',
    )  # fmt: skip
    group.add_argument(
        '--duration', type=bounded_number(_SHORTEST_S, _LONGEST_S), metavar='S', help='read so many seconds only'
    )


def _add_truth(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        '--truth', metavar='TOPIC', help='PoseStamped, PoseWithCovarianceStamped, Odometry or TransformStamped'
    )
    group.add_argument(
        '--truth-tf', nargs='+', default=(), metavar='FRAME',
        help='frame of the object in /tf, or camera frame and object frame',
    )  # fmt: skip
    group.add_argument(
        '--truth-tags', type=Path, metavar='YAML', help='AprilTags (tag36h11) fixed to the object: ids, sizes and poses'
    )
    group.add_argument(
        '--truth-coco', type=Path, metavar='JSON', help='COCO keypoint labels of some frames; goes with any other truth'
    )
    group.add_argument(
        '--truth-moves', choices=('object', 'camera'), default=TruthSettings.moves,
        help='whose pose the truth is (default: %(default)s)',
    )  # fmt: skip
    group.add_argument(
        '--extrinsics', type=name_or_file('auto', 'identity', 'estimate'), default=TruthSettings.extrinsics,
        metavar='auto|identity|estimate|YAML',
        help='frame of the truth to camera, tracked body to object (default: %(default)s)',
    )  # fmt: skip
    group.add_argument(
        '--truth-offset', type=bounded_number(-_LONGEST_S, _LONGEST_S), default=0.0, metavar='S',
        help='added to the stamps of the truth',
    )  # fmt: skip
    group.add_argument(
        '--truth-max-gap', type=bounded_number(_SHORTEST_S, _LONGEST_S), default=TruthSettings.max_gap_s, metavar='S',
        help='longest hole in the truth to interpolate over (default: %(default)s)',
    )  # fmt: skip


def _conditions(args: argparse.Namespace) -> list[Condition]:
    """Read --fail-if; a number that the result will not hold is refused before the bag is read."""
    conditions = [Condition.parse(text) for text in args.fail_if]
    if args.compare:
        for condition in conditions:
            condition.check(compare.number_names())
    else:
        with_truth = bool(args.truth or args.truth_tf or args.truth_tags)
        check_conditions(conditions, with_truth, with_labels=args.truth_coco is not None)
    return conditions


def _default_out(bag: Path, suffix: str = '') -> Path:
    return _DEFAULT_OUT / printable_line(bag.resolve().stem + suffix)


def _settings(args: argparse.Namespace) -> Settings:
    if len(args.truth_tf) > 2:
        raise UsageError('--truth-tf: wanted one or two frames')
    if args.video and args.recorded:
        raise UsageError('--video draws what the estimators find; it does not go together with --recorded')
    if args.recorded and args.outline not in ('auto', 'off'):
        raise UsageError('--outline measures what the estimators find; it does not go together with --recorded')
    if args.recorded_class and not args.recorded:
        raise UsageError('--recorded-class chooses from a topic that --recorded names')
    if args.extrinsics != TruthSettings.extrinsics and not (args.truth or args.truth_tf or args.truth_tags):
        raise UsageError('--extrinsics are of a truth: give --truth, --truth-tf or --truth-tags')
    truth = TruthSettings(
        topic=args.truth, tf=tuple(args.truth_tf), tags=args.truth_tags, moves=args.truth_moves,
        extrinsics=args.extrinsics, offset_s=args.truth_offset, max_gap_s=args.truth_max_gap,
    )  # fmt: skip
    return Settings(
        bags=tuple(args.bags), object=args.object, model=args.model, backend=args.backend, precision=args.precision,
        threads=args.threads, input_height=args.input_height, outline=args.outline, image=args.image,
        camera_info=args.camera_info, camera=args.camera, fov_deg=args.fov_deg, rectified=args.rectified,
        recorded=args.recorded, recorded_class=args.recorded_class, truth=truth,
        labels=args.truth_coco, start_s=args.start, duration_s=args.duration, write_bag=args.write_bag,
    )  # fmt: skip


def _evaluate(settings: Settings, out: Path, conditions: Sequence[Condition], with_video: bool) -> Evaluation:
    """Evaluate one bag, write everything into `out` and print the result."""
    is_own = holds_json(lambda content: compare.has_schema(content, 'metrics'))
    check_own(out / 'metrics.json', _AUTHOR, is_own, ('frames.csv', 'report.html'))
    if with_video:
        check_own(out / _VIDEO, _AUTHOR, has_mark(_AUTHOR))
    evaluator = Evaluator(settings)
    with Bag(settings.bags) as bag:
        reading = evaluator.read(bag)
        with own_folder(out):
            video = VideoFile(out / _VIDEO, bag.frame_rate(reading.topic), mark_of(_AUTHOR)) if with_video else None
            _read(reading, video)
            evaluation = reading.score()
            verdict = Verdict.of(conditions, evaluation.metrics)
            if (out / _VIDEO).is_file() and not (video and video.saved) and has_mark(_AUTHOR)(out / _VIDEO):
                (out / _VIDEO).unlink()  # of an earlier run
            write_text(out / 'metrics.json', evaluation.metrics_text())
            write_text(out / 'frames.csv', evaluation.frames_text())
            write_text(out / 'report.html', bag_report.write(evaluation, verdict, video))
    _print_result(evaluation, verdict, out)
    return evaluation


def _read(reading: Reading, video: VideoFile | None) -> None:
    """Read all frames, with a progress bar, into the video if there is one."""
    with (
        progress_bar('frames', reading.bag.topics[reading.topic].count, 'frame') as bar,
        contextlib.closing(reading.frames()) as frames,
        video or contextlib.nullcontext(),
    ):
        drawn = AnnotatedVideo(video, reading.model, reading.evaluator.outline) if video else None
        for frame in frames:
            if drawn:
                drawn.add(frame)
            bar.update()


def _print_result(evaluation: Evaluation, verdict: Verdict, out: Path) -> None:
    for line in evaluation.metrics['notes']['damage']:
        say(f'damaged: {line}')
    for line in evaluation.metrics['notes']['information']:
        say(f'note: {line}')
    if evaluation.alignment is not None and evaluation.alignment.pairs:
        print('\n'.join(evaluation.alignment.lines()))
    print(bag_report.summary(evaluation.metrics, verdict))
    print('\n'.join(verdict.lines()), end='\n' if verdict.results else '')
    print(f'{len(evaluation.scores)} frames at {evaluation.frames_per_s:.1f}/s; ', end='')
    print(printable_line(str(out / 'report.html')), flush=True)


def _evaluate_two(args: argparse.Namespace, conditions: Sequence[Condition]) -> int:
    """Evaluate two objects or models on the same bag and compare them."""
    settings, out = _settings(args), args.out or _default_out(args.bags[0], '_comparison')
    if args.write_bag or args.recorded:
        raise UsageError(
            '--compare with a bag runs the estimators twice; it goes together with neither --recorded nor --write-bag'
        )
    damaged = False
    for name, choice in zip('ab', args.compare):
        path = Path(choice)
        changed: dict[str, Any] = {'model': path}
        if not (path.is_file() and path.suffix in ('.onnx', '.pth')):
            changed = {'object': str(find_object_folder(choice, wanted_file=True)), 'model': None}
        say(f'{name.upper()}: {printable_line(choice)}')
        damaged |= _evaluate(dataclasses.replace(settings, **changed), out / name, (), args.video).damaged
    runs = [compare.FinishedRun.load(out / name) for name in 'ab']
    for run, choice in zip(runs, args.compare):
        run.name = str(choice)
    return _compare(runs, out, conditions, damaged)


def _compare(
    runs: Sequence[compare.FinishedRun], out: Path, conditions: Sequence[Condition], damaged: bool = False
) -> int:
    a, b = runs
    is_own = holds_json(lambda content: compare.has_schema(content, 'comparison'))
    check_own(out / 'comparison.json', _AUTHOR, is_own, ('compare.html',))
    comparison = compare.compare(a, b)
    verdict = Verdict.of(conditions, comparison)
    write_text(out / 'comparison.json', to_json(comparison))
    write_text(out / 'compare.html', comparison_report.write(a, b, compare.pair(a, b), comparison, verdict))
    print(comparison_report.summary(comparison, verdict))
    print('\n'.join(verdict.lines()), end='\n' if verdict.results else '')
    print(printable_line(str(out / 'compare.html')), flush=True)
    return _status(verdict, damaged)


def _status(verdict: Verdict, damaged: bool) -> int:
    if verdict.failed:
        return CANNOT
    return PARTLY if damaged else DONE


if __name__ == '__main__':
    sys.exit(main())
