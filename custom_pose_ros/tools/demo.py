"""
Run the whole chain on a shipped clip: player -> pose_node -> orientation_node -> recorder, as processes over real DDS.

Scores the recording against the ground truth; writes annotated.mp4, overlay.png, summary.json and the bag to --out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import queue
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from custom_pose_ros.core.command_line import (
    DONE,
    command,
    command_parser,
    optional_packages,
    output_folder,
    progress_bar,
)
from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.files import check_own, holds_entries, write_json
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_file import find_object_folder
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.video_file import quiet_opencv
from custom_pose_ros.inference.backends import AUTO, KINDS
from custom_pose_ros.tools.children import ChildError, Children, free_domain, ros_environment
from custom_pose_ros.tools.media import Clip, VideoReader

with optional_packages('demo', ['bags']):
    from custom_pose_ros.evaluation.bags.reader import Bag
    from custom_pose_ros.evaluation.evaluation_settings import Settings
    from custom_pose_ros.evaluation.evaluator import Evaluator
    from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore
    from custom_pose_ros.evaluation.truth.source import TruthSettings
    from custom_pose_ros.tools.demo_results import draw_video, format_summary, summarise

RECORDING = 'recording'
_READY_S = 120.0  # importing and loading everything on a slow machine
_SILENCE_S = 10.0  # longest time without any frame while playing
_LAST_RESULT_S = 3.0  # how long to wait for the result of the last frame
_REPORTS_S = 4.0  # how long to wait for two reports that come once per second
_TICK_S = 0.2
# No frame may be lost on the way, and the pause before the clip must not end the track.
_POSE_NODE = {'image_reliability': 'reliable', 'track_max_gap': 10.0}
_ROS_PACKAGES = ('rclpy', 'custom_pose_msgs')


@dataclass
class Playback:
    """
    What player, recorder and pose_node have told so far.

    Attributes:
        sent: Stamp [ns] of each frame that the player sent, by number.
        heard: Stamp [ns] of the latest message of each topic of results.
        dropped: Frames that pose_node skipped because a newer one had come; 0 before its first report.
        dropped_before: The same, before the clip began.
        reports: Number of such reports.
    """

    sent: dict[int, int] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    dropped_before: int = 0
    reports: int = 0

    def add(self, line: Mapping[str, Any]) -> None:
        """Note a line of the player or the recorder."""
        if 'frame' in line:
            self.sent[line['frame']] = line['stamp_ns']
        elif 'topic' in line:
            self.heard[line['topic']] = line['stamp_ns']
        elif 'dropped' in line:
            self.dropped = line['dropped']
            self.reports += 1

    @property
    def is_complete(self) -> bool:
        """Whether the last frame sent has come back as an orientation message."""
        return bool(self.sent) and self.heard.get('orientations') == self.sent[max(self.sent)]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    args = _parser().parse_args(argv)
    quiet_opencv()
    with _unwinding_on_signals():
        run(args)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__, 'demo')
    parser.add_argument(
        '--out', type=output_folder, default=Path('build/demo'), help='folder for the results (default: build/demo)'
    )
    parser.add_argument(
        '--object', default='submarine', help='folder, object.yaml or installed object (default: submarine)'
    )
    parser.add_argument(
        '--clip', type=Path, metavar='FOLDER', help='clip to play (default: demo/ in the folder of the object)'
    )
    parser.add_argument(
        '--backend', default=AUTO, choices=(AUTO, *KINDS), metavar='NAME', help='what runs the network (default: auto)'
    )
    return parser


@contextlib.contextmanager
def _unwinding_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program as an exception does, so that its child processes are ended too."""

    def exit_on(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    before = {number: signal.signal(number, exit_on) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_ros() -> None:
    """Raise ChildError where the nodes cannot run, such as after a mere `pip install .`."""
    missing = [name for name in _ROS_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ChildError(
            f'{", ".join(missing)} missing: source a ROS 2 workspace with both packages, '
            'or run "make demo" in the repository'
        )


def run(args: argparse.Namespace) -> None:
    """Play and record, score the recording as evaluate_bag does, draw, print."""
    interrupted = (args.out / 'log').is_dir()  # such a run leaves files without a summary
    others = () if interrupted else ('annotated.mp4', 'overlay.png', RECORDING)
    check_own(args.out / 'summary.json', 'demo', holds_entries('frames_sent', 'detection_rate'), others)
    model = ObjectModel.load(args.object)
    clip = Clip.find(args.clip or find_object_folder(args.object) / 'demo')
    _check_length(clip, model)
    camera = CameraIntrinsics.from_yaml(clip.camera)
    _check_ros()
    playback = play_and_record(args, clip)
    scores = score(args.out / RECORDING, args.object)
    summary = summarise(scores, len(playback.sent), playback.dropped - playback.dropped_before)
    if not summary['detection_rate']:
        raise ChildError(
            f'no {model.name} was found in any of {summary["frames_sent"]} frames; logs are in {args.out / "log"}'
        )
    print(f'drawing {args.out / "annotated.mp4"}')
    by_stamp = {frame.result.stamp_ns: frame for frame in scores}
    by_number = {number: by_stamp[stamp] for number, stamp in playback.sent.items() if stamp in by_stamp}
    draw_video(clip.video, args.out, model, camera, by_number)
    write_json(args.out / 'summary.json', summary)
    print(format_summary(summary))
    print(f'wrote {args.out}/annotated.mp4, overlay.png, summary.json, {RECORDING}')


def _check_length(clip: Clip, model: ObjectModel) -> None:
    frames = len(clip.true_poses(model))
    with VideoReader(clip.video) as reader:
        if reader.length is not None and reader.length != frames:
            raise ConfigError(f'{clip.truth}: is about {frames} frames and {clip.video.name} has {reader.length}')


def score(recording: Path, object_name: str) -> list[FrameScore]:
    """Score what was recorded, as `evaluate_bag --recorded --truth` does."""
    truth = TruthSettings(topic='/truth')
    settings = Settings((recording,), object=object_name, recorded='/poses,/orientations', truth=truth)
    with Bag([recording]) as bag:
        return Evaluator(settings).evaluate(bag).scores


def play_and_record(args: argparse.Namespace, clip: Clip) -> Playback:
    """Run the four processes until the clip has been played; ChildError when one dies or stays silent."""
    domain = free_domain()
    print(f'starting pose_node, orientation_node, recorder and player (ROS_DOMAIN_ID {domain}, this machine only)')
    lines: queue.Queue[dict[str, Any]] = queue.Queue()
    with Children(args.out / 'log', ros_environment(domain)) as children:
        for name, command_line in _commands(args, clip).items():
            hears = name in ('player', 'recorder')
            children.start(name, command_line, (lambda line: lines.put(json.loads(line))) if hears else None)
        playback = Playback()
        begin = time.monotonic()
        _wait_until_ready(children, lines, playback)
        print(f'ready after {time.monotonic() - begin:.1f} s: the first image has come back as an orientation message')
        _follow(children, lines, playback, clip.video)
    return playback


def _commands(args: argparse.Namespace, clip: Clip) -> dict[str, list[str]]:
    def module(name: str, *arguments: str) -> list[str]:
        return [sys.executable, '-m', f'custom_pose_ros.{name}', *arguments]

    source = str(find_object_folder(args.object, wanted_file=True).resolve())
    ros = ('--ros-args', *_parameters(object=source))
    return {
        'pose_node': module('nodes.pose.pose_node', *ros, *_parameters(backend=args.backend, **_POSE_NODE)),
        'orientation_node': module('nodes.orientation.orientation_node', *ros),
        'recorder': module('tools.demo_recorder', str(args.out / RECORDING)),
        'player': module('tools.demo_player', str(clip.video.parent)),
    }


def _parameters(**values: object) -> list[str]:
    return [text for name, value in values.items() for text in ('-p', f'{name}:={value}')]


def _wait_until_ready(children: Children, lines: queue.Queue, playback: Playback) -> None:
    """Wait for the first result of both nodes, then until pose_node has finished all frames shown so far."""
    deadline = time.monotonic() + _READY_S
    while not {'poses', 'orientations'} <= set(playback.heard):
        _read_line(children, lines, playback)
        if time.monotonic() > deadline:
            silent = 'orientation_node' if 'poses' in playback.heard else 'pose_node'
            raise ChildError(f'{silent} gave no result within {_READY_S:g} s{children.log_tail(silent)}')
    children.send('player', 'rest')
    _wait_for_reports(children, lines, playback)
    playback.dropped_before = playback.dropped


def _wait_for_reports(children: Children, lines: queue.Queue, playback: Playback) -> None:
    """Wait for two reports of pose_node, sent once per second: the second one counts all that was on its way."""
    wanted, deadline = playback.reports + 2, time.monotonic() + _REPORTS_S
    while playback.reports < wanted and time.monotonic() < deadline:
        _read_line(children, lines, playback)


def _follow(children: Children, lines: queue.Queue, playback: Playback, video: Path) -> None:
    """Start the clip and follow it to its end."""
    with VideoReader(video) as reader:
        total = reader.length
    children.send('recorder', 'go')  # before the player, so that the first frame is in the recording
    children.send('player', 'go')
    with progress_bar(f'playing {video.name}', total, 'frame') as bar:
        last_news = time.monotonic()
        while True:
            line = _read_line(children, lines, playback)
            if line is not None and 'done' in line:
                break
            if line is not None and 'frame' in line:
                bar.update()
                last_news = time.monotonic()
            if time.monotonic() - last_news > _SILENCE_S:
                raise ChildError(f'player sent no frame for {_SILENCE_S:g} s{children.log_tail("player")}')
    deadline = time.monotonic() + _LAST_RESULT_S
    while not playback.is_complete and time.monotonic() < deadline:
        _read_line(children, lines, playback)
    _wait_for_reports(children, lines, playback)


def _read_line(children: Children, lines: queue.Queue, playback: Playback) -> dict[str, Any] | None:
    """Wait a moment for one line of the player or recorder and note it; ChildError when a process has died."""
    children.check()
    try:
        line = lines.get(timeout=_TICK_S)
    except queue.Empty:
        return None
    playback.add(line)
    return line


if __name__ == '__main__':
    sys.exit(main())
