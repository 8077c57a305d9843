"""
Train a keypoint network for one object.

The afternoon's command, from photos labelled in COCO format:
    python training/train.py --object config/my_object --data photos/ --minutes 10 --out build/train/my_object
Several data sets, the rendered ones seen more often:
    python training/train.py --object submarine --data synthetic/ --data photos/ --weight 0.85 --weight 0.15 ...
Go on after an interruption:
    python training/train.py --resume --out build/train/my_object
Several GPUs or machines:
    torchrun --nproc-per-node 2 training/train.py ...
Then `python training/export_onnx.py build/train/my_object/best.pth` writes model.onnx.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import (
    DONE,
    INTERRUPTED,
    bounded_number,
    check_range,
    command,
    command_parser,
    name_or_file,
    optional_packages,
    output_folder,
    positive_integer,
    positive_number,
    say,
    seed_number,
    share_set_aside,
    whole_number,
)

with optional_packages('train', ['training']):
    from custom_pose_ros.core.keypoints.preprocessing import SIZE_MULTIPLE
    from custom_pose_ros.inference.backends import input_height
    from custom_pose_ros.inference.network import NETWORKS
    from training.pose_training.data.augmentation import STRENGTHS
    from training.pose_training.learning.engine import PRECISIONS
    from training.pose_training.learning.run_settings import RunSettings
    from training.pose_training.learning.training_run import LAST_FILE, TrainingRun

_MOST_WEIGHT = 1e6
_LARGEST_OBJECT = 2.0  # of the input height: as wide as the widest pictures are


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line; exits with a message when it does not make sense."""
    parser = command_parser(__doc__)
    _add_data(parser.add_argument_group('data'))
    _add_network(parser.add_argument_group('network'))
    _add_length(parser.add_argument_group('length'))
    _add_learning(parser.add_argument_group('learning'))
    _add_machine(parser.add_argument_group('machine and output'))
    parsed = parser.parse_args(arguments)
    if parsed.resume:
        _check_resume(parser, parsed)
    else:
        _check(parser, parsed)
    return parsed


def _add_data(group: argparse._ActionsContainer) -> None:
    group.add_argument('--object', help='folder with object.yaml, an object.yaml, or the name of an installed object')
    group.add_argument(
        '--data', action='append', default=[], metavar='DIR_OR_JSON', help='COCO keypoints; may be repeated'
    )
    group.add_argument(
        '--weight', action='append', default=[], type=bounded_number(0, _MOST_WEIGHT), metavar='SHARE',
        help='share of the samples from each --data, in their order (default: by number of images)',
    )  # fmt: skip
    group.add_argument(
        '--val', action='append', default=[], metavar='DIR_OR_JSON', help='images to validate on (never trained on)'
    )
    group.add_argument(
        '--val-share', type=share_set_aside, default=0.1,
        help='without --val: share of the images set aside (default 0.1)',
    )  # fmt: skip
    group.add_argument(
        '--augment', choices=STRENGTHS, default='strong',
        help="'normal' is for hundreds of photos, 'rendered' for renderings, 'covered' for those of things with points "
        'that are often hidden, as by reflections: it covers many. Default: strong',
    )  # fmt: skip
    group.add_argument(
        '--object-size', nargs=2, type=float, metavar=('MIN', 'MAX'),
        help='train on objects of this share of the input height, instead of the sizes in the data x 0.6 to 1.5',
    )  # fmt: skip
    group.add_argument(
        '--rotation', type=bounded_number(0, 180), metavar='DEG',
        help='turn the samples by up to so much to either side; 45 is more exact where camera and object stay upright, '
        'and then finds no object that is turned farther (default 180: any turn; 20 with --augment rendered, as the '
        'renderings are turned; none with --augment none)',
    )  # fmt: skip


def _add_network(group: argparse._ActionsContainer) -> None:
    group.add_argument('--architecture', choices=list(NETWORKS), default='light', help='default: light')
    group.add_argument('--refinement-stages', type=whole_number(0), help='of lightweight_openpose (default 1)')
    group.add_argument(
        '--input-height',
        type=input_height,
        metavar='PX',
        help="height [px] images are scaled to (default: the object file's)",
    )
    group.add_argument(
        '--crop', type=whole_number(64), help='side [px] of the training samples (default: holds most objects)'
    )
    group.add_argument(
        '--weights', type=name_or_file('auto', 'imagenet', 'none'), default='auto',
        help="start from: 'imagenet', 'none', or a file: one's own checkpoint or model.onnx, or a published one "
        '(checkpoint_iter_370000.pth, mobilenet_sgd_68.848.pth.tar). Default: imagenet for light, none otherwise',
    )  # fmt: skip


def _add_length(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        '--minutes', type=positive_number, help='stop after this time; the learning rate falls to its end by then'
    )
    group.add_argument(
        '--epochs', type=positive_number, help='or after so many passes over the data (exactly repeatable)'
    )
    group.add_argument('--steps', type=positive_integer, help='or after so many batches (exactly repeatable)')


def _add_learning(group: argparse._ActionsContainer) -> None:
    group.add_argument('--batch', type=positive_integer, default=8, help='samples in one step (default 8)')
    group.add_argument(
        '--learning-rate', type=positive_number,
        help='default: 0.004 from ImageNet weights; 0.002 for --augment covered or other weights',
    )  # fmt: skip
    group.add_argument(
        '--precision', choices=PRECISIONS, default='auto', help='default: bfloat16 where the hardware has it'
    )
    group.add_argument(
        '--no-freeze', action='store_true', help='train the first layers too, which otherwise keep what they start from'
    )
    group.add_argument('--seed', type=seed_number, default=0, help='default: 0')


def _add_machine(group: argparse._ActionsContainer) -> None:
    group.add_argument('--out', type=output_folder, required=True, help='folder for best.pth, last.pth and the log')
    group.add_argument('--resume', action='store_true', help='go on from last.pth in --out, with its settings')
    group.add_argument(
        '--threads', type=positive_integer,
        help='CPU threads for the network (default: all cores or one, by measured time; '
        'a given number lets a run repeat exactly)',
    )  # fmt: skip
    group.add_argument(
        '--workers', type=whole_number(0), help='processes that make samples (default: by number of cores)'
    )
    group.add_argument(
        '--validate-every', type=positive_number, default=0.1, help='share of the run between validations (default 0.1)'
    )
    group.add_argument(
        '--val-limit', type=positive_integer, default=100,
        help='images used in a validation while training (default 100)',
    )  # fmt: skip


def _check_resume(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    free = ('out', 'resume', 'threads', 'workers')
    given = [name for name, value in vars(parsed).items() if name not in free and value != parser.get_default(name)]
    if given:
        parser.error(f'--resume goes on with the settings of the run: leave out --{given[0].replace("_", "-")}')


def _check(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    if not parsed.object or not parsed.data:
        parser.error('--object and --data are needed (or --resume)')
    if parsed.weight and len(parsed.weight) != len(parsed.data):
        parser.error(f'one --weight for each --data is needed: got {len(parsed.weight)} for {len(parsed.data)}')
    if parsed.weight and not any(parsed.weight):
        parser.error('every --weight is 0: wanted one above')
    if sum(length is not None for length in (parsed.minutes, parsed.epochs, parsed.steps)) != 1:
        parser.error('exactly one of --minutes, --epochs and --steps is needed')
    if parsed.crop is not None and parsed.crop % SIZE_MULTIPLE:
        parser.error(f'--crop must be a multiple of {SIZE_MULTIPLE}, got {parsed.crop}')
    if parsed.object_size:
        check_range('--object-size', 'MIN', 'MAX', parsed.object_size, _LARGEST_OBJECT)
    if parsed.weights == 'imagenet' and parsed.architecture != 'light':
        parser.error('--weights imagenet is for --architecture light; start another one from a file, or from none')
    if parsed.refinement_stages is not None and parsed.architecture != 'lightweight_openpose':
        parser.error('--refinement-stages is for --architecture lightweight_openpose')


def settings_from(parsed: argparse.Namespace) -> RunSettings:
    """Return the settings of a new run."""
    options = {} if parsed.refinement_stages is None else {'refinement_stages': parsed.refinement_stages}
    return RunSettings(
        data=parsed.data, weights=parsed.weight, validation=parsed.val, validation_share=parsed.val_share,
        augment=parsed.augment, object_size=parsed.object_size, rotation_deg=parsed.rotation,
        architecture=parsed.architecture, options=options, input_height=parsed.input_height, crop=parsed.crop,
        freeze=not parsed.no_freeze, start_from=parsed.weights, minutes=parsed.minutes, epochs=parsed.epochs,
        steps=parsed.steps, batch=parsed.batch, learning_rate=parsed.learning_rate, precision=parsed.precision,
        seed=parsed.seed, validate_every=parsed.validate_every, validation_limit=parsed.val_limit,
    )  # fmt: skip


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parse_arguments(arguments)
    machine = {'threads': parsed.threads, 'workers': parsed.workers}
    try:
        if parsed.resume:
            run = TrainingRun.resumed(parsed.out, **machine)
        else:
            run = TrainingRun.new(parsed.object, settings_from(parsed), parsed.out, **machine)
        run.train()
    except KeyboardInterrupt:
        begun = (parsed.out / LAST_FILE).is_file()
        say(f'train: interrupted; {"go on with --resume" if begun else "nothing was learned yet: start again"}')
        return INTERRUPTED
    if run.group.is_first:
        best = run.folder / 'best.pth'
        print(f'best weights: {best}\nnext: python training/export_onnx.py {best}')
    return DONE


if __name__ == '__main__':
    sys.exit(main())
