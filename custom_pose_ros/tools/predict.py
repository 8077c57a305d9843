"""
Find an object in images, folders, videos or a webcam: print, draw and save it. Needs neither ROS nor torch.

    predict photo.jpg
    predict photos/ --object my_robot/object.yaml --out drawn/ --coco detections.json
    predict dive.mp4 --camera front_camera.yaml --json > poses.jsonl
    predict 0 --show
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from custom_pose_ros.core.command_line import (
    CANNOT,
    DONE,
    INTERRUPTED,
    PARTLY,
    WRONG_USE,
    add_lens_options,
    add_outline_option,
    command,
    command_parser,
    output_file,
    positive_integer,
    progress_bar,
    say,
)
from custom_pose_ros.core.drawing.overlay import draw_poses
from custom_pose_ros.core.errors import ConfigError, CustomPoseError, MediaError, UsageError
from custom_pose_ros.core.files import DRAWER, check_own, holds_json, mark_of, write_image, write_json
from custom_pose_ros.core.object_file import Thresholds
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.outlines.outline_views import find_outline
from custom_pose_ros.core.orientation.pnp import known_points
from custom_pose_ros.core.pictures import read_sound_picture
from custom_pose_ros.core.video_file import VideoFile, quiet_opencv
from custom_pose_ros.inference.backends import add_network_options
from custom_pose_ros.inference.camera_calibration import CameraCalibration
from custom_pose_ros.inference.copies import CopiesEstimator, add_copies_option
from custom_pose_ros.inference.estimator import Estimator, PoseEstimator
from custom_pose_ros.tools.media import Input, VideoReader, find_inputs, plan_outputs
from custom_pose_ros.tools.predictions import (
    REFERENCE_FRAMES,
    CocoKeypoints,
    PictureSequence,
    format_json,
    format_table,
)

if TYPE_CHECKING:
    from tqdm import tqdm

_PROGRESS_FROM = 3  # images; fewer are done before anybody looks
_STOP_KEYS = (27, ord('q'))
_WINDOW = 'predict'


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: PARTLY when some of the inputs failed."""
    quiet_opencv()
    return _Prediction(_parser().parse_args(argv)).run()


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__, 'predict')
    parser.add_argument(
        'inputs', nargs='+', metavar='INPUT', help='image, folder of images, video, or number of a webcam'
    )
    group = parser.add_argument_group('object and network')
    group.add_argument(
        '--object', default='submarine', help='folder, object.yaml or installed object (default: submarine)'
    )
    group.add_argument('--model', type=Path, metavar='FILE', help='network file (default: beside the object.yaml)')
    add_network_options(group)
    group.add_argument(
        '--threshold', action='append', default=[], type=_threshold, metavar='NAME=VALUE',
        help='override a threshold of the object file, such as keypoint_score=0.4; repeatable',
    )  # fmt: skip
    add_copies_option(group)
    add_outline_option(group)
    group = parser.add_argument_group('camera')
    add_lens_options(group)
    group.add_argument(
        '--rectified', action='store_true',
        help='the pictures are rectified: P of the calibration is used, without distortion',
    )  # fmt: skip
    group.add_argument(
        '--reference-frame', choices=REFERENCE_FRAMES, default='camera_optical',
        help='frame of the results; camera_body: x forward, y left, z up (default: camera_optical)',
    )  # fmt: skip
    group = parser.add_argument_group('output')
    group.add_argument('--json', action='store_true', help='print one line of JSON for each picture instead of a table')
    group.add_argument(
        '--out', type=Path, metavar='PATH', help='folder, or file for a single input (default: beside the input)'
    )
    group.add_argument('--no-save', action='store_true', help='save no drawn pictures')
    group.add_argument(
        '--coco', type=output_file('.json'), metavar='FILE', help='write the detections as COCO keypoints'
    )
    group.add_argument('--show', action='store_true', help='show the drawn pictures in a window; q ends')
    group.add_argument('--frames', type=positive_integer, metavar='N', help='stop each video or webcam after N frames')
    return parser


def _threshold(text: str) -> tuple[str, float]:
    name, _, value = text.partition('=')
    try:
        return name, int(value) if value.isdecimal() else float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f'wanted NAME=VALUE such as keypoint_score=0.4, got {text!r}') from None


def overridden_thresholds(model: ObjectModel, overrides: Sequence[tuple[str, float]]) -> Thresholds:
    """Return the thresholds of the object file with some replaced; UsageError for a wrong name or value."""
    data = model.to_dict()
    data['thresholds'] |= dict(overrides)
    try:
        return ObjectModel.from_dict(data, '--threshold').thresholds
    except ConfigError as error:
        raise UsageError(str(error)) from None


def window_problem() -> str | None:
    """Say why pictures cannot be shown in a window here, or return None when they can."""
    if re.search(r'GUI:\s+NONE', cv2.getBuildInformation()):
        return (
            'this OpenCV was built without windows (opencv-python-headless); '
            'look at the saved pictures, or install opencv-python'
        )
    if sys.platform.startswith('linux') and not (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
        return 'there is no display (DISPLAY is not set); look at the saved pictures'
    return None


class _Prediction:
    """One run of the command: what was loaded, which inputs are done, what came out."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.failed = self.stopped = self.camera_fits = False
        self.misfits: set[str] = set()  # of the calibration, one for each size of picture
        self.done = self.pictures = self.instances = self.solved = 0
        self.unmeasured: Counter[str] = Counter()  # instances without the outline, by the reason
        self.saved: list[Path] = []
        self.bar: tqdm | None = None
        self.model = ObjectModel.load(args.object)
        self.no_orientation = ''
        try:
            known_points(self.model)
        except ConfigError as error:
            self.no_orientation = str(error)
        thresholds = overridden_thresholds(self.model, args.threshold)
        if args.rectified and not args.camera:
            raise UsageError('--rectified is about the calibration: give one with --camera')
        self.calibration = CameraCalibration(args.camera, args.rectified, self._remark)
        self.inputs = self._find_inputs()
        self.outputs = [None] * len(self.inputs) if args.no_save else plan_outputs(self.inputs, args.out)
        self.coco = self._begin_coco()
        self.estimator: Estimator = PoseEstimator.load(
            args.object, args.model, args.backend, args.input_height, thresholds, precision=args.precision
        )
        if args.copies > 1:
            self.estimator = CopiesEstimator(self.estimator, args.copies)
        self.outline = None if self.no_orientation else find_outline(self.model, args.outline)
        self.show = args.show and self._can_show()

    def run(self) -> int:
        """Process every input, also after one has failed; return the exit code."""
        if not self.inputs:
            return CANNOT
        self._announce()
        images = sum(item.kind == 'image' for item in self.inputs)
        code = DONE
        try:
            many = images >= _PROGRESS_FROM
            with progress_bar('images', images, 'image') if many else contextlib.nullcontext() as bar:
                for item, output in zip(self.inputs, self.outputs):
                    self.bar = bar
                    self._process(item, output)
                    if self.stopped:
                        break
        except KeyboardInterrupt:
            say('interrupted; results go up to here')
            code = INTERRUPTED
        self._finish()
        if self.misfits and not self.camera_fits and code == DONE:
            return WRONG_USE
        if self.failed and code == DONE:
            return PARTLY if self.done else CANNOT
        return code

    def _find_inputs(self) -> list[Input]:
        found: dict[Input, None] = {}
        for argument in self.args.inputs:
            try:
                found |= dict.fromkeys(find_inputs(argument))
            except MediaError as error:
                self._fail(error)
        return list(found)

    def _begin_coco(self) -> CocoKeypoints | None:
        path = self.args.coco
        if path is None:
            return None
        check_own(path, 'predict --coco', holds_json(CocoKeypoints.wrote))
        return CocoKeypoints(self.model, [Path(item.source) for item in self.inputs if item.kind == 'image'])

    def _can_show(self) -> bool:
        problem = window_problem()
        if problem:
            say(f'note: --show: {problem}')
        return problem is None

    def _announce(self) -> None:
        if self.no_orientation:
            say(f'note: keypoints only, no orientation: {self.no_orientation}')
        elif not self.calibration.is_given:
            say(
                f'note: no --camera: a horizontal field of view of {self.args.fov_deg:g} deg is assumed; '
                'orientation and position are approximate'
            )
        if self.outline is not None:
            say(f'note: poses are measured by the outline of {self.outline.mesh}, too; --outline off leaves it out')
        if not self.args.no_save and None in self.outputs:
            say('note: pictures of a webcam are saved only with --out')

    def _process(self, item: Input, output: Path | None) -> None:
        try:
            if item.kind == 'image':
                self._process_image(item, output)
            else:
                self._process_video(item, output)
            self.done += 1
        except CustomPoseError as error:
            self._fail(error)
        if self.bar is not None and item.kind == 'image':
            self.bar.update()

    def _process_image(self, item: Input, output: Path | None) -> None:
        def save(drawing: np.ndarray) -> None:
            write_image(output, drawing, mark=mark_of(DRAWER))
            self.saved.append(output)

        picture = read_sound_picture(Path(item.source))
        if self.args.camera and picture.orientation != 1:
            self._remark(
                f'{item.name}: is turned upright as its EXIF note says, and the calibration is used on that: '
                'right only if it was made with pictures turned in the same way'
            )
        image = picture.upright
        self._answer(self._begin_sequence(image), image, save if output else None, item.name)

    def _process_video(self, item: Input, output: Path | None) -> None:
        with VideoReader(item.source) as reader:
            known = [count for count in (reader.length, self.args.frames) if count]
            video = None if output is None else VideoFile(output, reader.fps, mark_of(DRAWER))
            self._clear_bar()
            try:
                with (
                    video or contextlib.nullcontext(),
                    progress_bar(item.name, min(known, default=None), 'frame') as self.bar,
                ):
                    self._process_frames(item, reader, video)
            finally:
                if video is not None and video.saved:
                    self.saved.append(video.path)

    def _process_frames(self, item: Input, reader: VideoReader, video: VideoFile | None) -> None:
        sequence: PictureSequence | None = None
        try:
            for frame in itertools.islice(reader, self.args.frames):
                sequence = sequence or self._begin_sequence(frame.image)
                self._answer(sequence, frame.image, video and video.write, item.name, frame.index, frame.stamp_s)
                self.bar.update()
                if self.stopped:
                    return
        except MediaError as error:  # what was read before is kept
            self._fail(error)

    def _begin_sequence(self, image: np.ndarray) -> PictureSequence:
        camera, (height, width) = None, image.shape[:2]
        if not self.no_orientation:
            try:
                camera = self.calibration.for_size(width, height, self.args.fov_deg)
                self.camera_fits = True
            except ConfigError as error:
                misfit = f'--camera {self.args.camera}: {str(error).removeprefix("camera: ")}'
                if misfit not in self.misfits:
                    self._fail(UsageError(misfit))
                self.misfits.add(misfit)
        assumed = None if camera is None or self.calibration.is_given else self.args.fov_deg
        return PictureSequence(self.estimator, camera, self.args.reference_frame, self.outline, assumed)

    def _answer(
        self, sequence: PictureSequence, image: np.ndarray, save: Callable[[np.ndarray], None] | None, *place: Any
    ) -> None:
        """Find the object in the next picture of a sequence, taken at a place in it; print, draw, save and show it."""
        result = sequence.analyse(image, *place)
        self.pictures += 1
        self.instances += len(result.poses)
        estimates = list(result.orientations.values())
        self.solved += len(estimates)
        self.unmeasured.update(each.outline_remark for each in estimates if np.isnan(each.outline_agreement))
        if self.coco is not None:
            self.coco.add(result)
        self._clear_bar()
        print((format_json if self.args.json else format_table)(result, self.model), flush=True)
        if save or self.show:
            is_image = result.frame is None
            drawing = draw_poses(
                image, result.poses, self.model, estimates, sequence.camera, names=is_image, outline=self.outline
            )
            if save:
                save(drawing)
            if self.show:
                self._show(drawing, hold=is_image)

    def _show(self, drawing: np.ndarray, hold: bool) -> None:
        """Show the picture; `hold` waits for a key or for the window to be closed."""
        cv2.imshow(_WINDOW, drawing)
        key = cv2.waitKey(1)
        while hold and key < 0 and cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) >= 1:
            key = cv2.waitKey(50)
        self.stopped = key in _STOP_KEYS

    def _finish(self) -> None:
        if self.coco is not None:
            write_json(self.args.coco, self.coco.to_dict(), indent=None)
            self.saved.append(self.args.coco)
        found = f'{self.pictures} picture{"" if self.pictures == 1 else "s"}, {self.instances} x {self.model.name}'
        if len(self.saved) > 1:
            folders = sorted({str(path.parent) for path in self.saved})
            found += f'; saved {len(self.saved)} files in {", ".join(folders)}'
        elif self.saved:
            found += f'; saved {self.saved[0]}'
        say(found)
        if self.outline is not None and self.solved:
            measured = self.solved - self.unmeasured.total()
            reasons = ''.join(f'; {reason}: {count}' for reason, count in self.unmeasured.most_common())
            say(f'measured by the outline: {measured} of {self.solved} ({measured / self.solved:.0%}){reasons}')

    def _remark(self, text: str) -> None:
        self._clear_bar()
        say(f'note: {self.args.camera}: {text}')

    def _fail(self, error: CustomPoseError) -> None:
        self.failed = True
        self._clear_bar()
        say(f'error: {error}')

    def _clear_bar(self) -> None:
        if self.bar is not None:
            self.bar.clear()


if __name__ == '__main__':
    sys.exit(main())
