"""
Make labelled training images of an object from its mesh: COCO keypoints with 6-DoF poses.

    python training/synthesize.py --object config/submarine --out build/submarine --count 4000 --seed 1 --processes 2
    python training/synthesize.py --object my_object --mesh part.glb --camera camera.yaml --distance 1 2 --out build/x

Needs vtk and trimesh, and an off-screen OpenGL (no display, no GPU). The same options and seed give the same pictures,
whatever the number of processes; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import (
    DONE,
    check_range,
    command,
    command_parser,
    image_size,
    optional_packages,
    output_folder,
    positive_integer,
    positive_number,
    say,
    seed_number,
)

# The import above comes first, so that Ctrl-C during all others ends without a traceback.
# isort: split
import numpy as np

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.errors import ConfigError, UsageError
from custom_pose_ros.core.files import LOCK, check_own, not_own, own_folder, replacing, write_image
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.mesh_frame import add_mesh_options
from custom_pose_ros.core.labels.coco_file import coco_category
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.camera_calibration import CameraCalibration
from training.pose_training.labels.film import is_recording
from training.pose_training.labels.sharp_frames import sharp_frames

with optional_packages('synthesize', ['synthetic']):
    from training.synthetic.geometry.formats.mesh_problems import telling_losses
    from training.synthetic.geometry.object_builder import (
        Builder,
        mesh_of,
        object_builder,
        object_size,
        require_positions,
        size_note,
        tell_reading,
    )
    from training.synthetic.geometry.variation import Variation
    from training.synthetic.output.clip import ClipRenderer
    from training.synthetic.output.clip_files import BAG, CALIBRATION, CLIP, TRUTH, check_bag, is_truth, write_clip
    from training.synthetic.output.preview import PREVIEW, write_preview
    from training.synthetic.output.rendered_dataset import (
        IMAGES,
        LABELS,
        RECIPE,
        SHEET,
        Job,
        check_recipe,
        is_recipe,
        write_dataset,
    )
    from training.synthetic.rendering.backgrounds import all_grey, list_background_photos
    from training.synthetic.rendering.gl_probe import require_gl
    from training.synthetic.scenes.scene import SceneGenerator
    from training.synthetic.scenes.trajectory import clip_camera, sample_motion
    from training.synthetic.settings import (
        ANYWHERE,
        DEFAULT_SCENE,
        SCENES,
        SIDES,
        load_settings,
        settings_from_dict,
        settings_to_dict,
    )

DEFAULT_SIZE, COUNT = (480, 360), 1000
_NAME = 'training/synthesize.py'
_SMALLEST_PX = 10.0  # an object that is never longer has no keypoints that could be told apart
BACKGROUNDS, FRAMES = 'backgrounds', 40  # folder in the output for frames of a recording, and how many


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = command_parser(__doc__)
    _add_run(parser)
    add_mesh_options(
        parser.add_argument_group('object'), '; default: the one that variation.yaml beside the object file names'
    )
    _add_view(parser.add_argument_group('camera and scene'))
    _add_clip(parser.add_argument_group('clip'))
    options = parser.parse_args(arguments)
    _check(parser, options)
    options.count = options.count or COUNT
    return options


def _add_run(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        '--object', required=True, help='folder with object.yaml, the file, or the name of an installed object'
    )
    parser.add_argument('--out', required=True, type=output_folder, help='folder for the pictures and labels')
    parser.add_argument('--count', type=positive_integer, help=f'number of pictures (default {COUNT})')
    parser.add_argument('--seed', type=seed_number, default=0, help='series of random numbers (default 0)')
    parser.add_argument('--processes', type=positive_integer, default=2, help='processes that draw (default 2)')
    parser.add_argument(
        '--settings', type=Path, help='YAML with the knobs to change; all are in training/synthetic/settings.yaml'
    )
    parser.add_argument(
        '--preview', action='store_true', help=f'stop after {PREVIEW}: the object from six sides with its keypoints'
    )


def _add_view(group: argparse._ActionsContainer) -> None:
    group.add_argument('--scene', choices=SCENES, help=f'what surrounds the object (default {DEFAULT_SCENE})')
    group.add_argument(
        '--seen-from', choices=(ANYWHERE, *SIDES), nargs='+', metavar='SIDE',
        help=f'sides turned to the camera: {ANYWHERE} (all that show keypoints), {", ".join(SIDES)} of the object '
        '(x forward, y left, z up; the front of a flat thing is where its keypoints are)',
    )  # fmt: skip
    group.add_argument(
        '--distance', type=positive_number, nargs=2, metavar=('NEAR', 'FAR'), help='from the camera to the object [m]'
    )
    group.add_argument(
        '--size', type=rendered_size, metavar='WxH',
        help='size of the pictures (default 480x360, with --camera 360 high in its shape)',
    )  # fmt: skip
    group.add_argument(
        '--camera', type=Path,
        help='camera_calibration YAML: field of view, lens and shape of the pictures; default: random cameras',
    )  # fmt: skip
    colors = group.add_mutually_exclusive_group()
    colors.add_argument('--grey', action='store_true', help='pictures of a camera without colour')
    colors.add_argument('--color', action='store_true', help='of a camera with colour (default: some pictures without)')
    group.add_argument(
        '--backgrounds', type=Path, help='folder of photos, a video or a bag of the place, without the object in it'
    )
    group.add_argument('--image', metavar='TOPIC', help='images of the bag, where it has several cameras')


def _add_clip(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        '--trajectory',
        action='store_true',
        help='a clip of a smooth motion in a pool (clip.mp4, ground_truth.json, camera.yaml); its length: the line '
        'trajectory: {seconds: 4} in a file for --settings (the same motion, faster)',
    )  # fmt: skip
    group.add_argument('--bag', action='store_true', help='with --trajectory: a rosbag2 (mcap) too')


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.bag and not options.trajectory:
        parser.error('--bag needs --trajectory: pictures that are no clip make no bag')
    for_pictures = ('scene', 'seen_from', 'distance', 'grey', 'backgrounds', 'image')
    unused = [f'--{name.replace("_", "-")}' for name in for_pictures if getattr(options, name)]
    if options.trajectory and unused:
        parser.error(f'--trajectory draws a pool, whatever {", ".join(unused)} says: leave it out')
    if options.trajectory and options.count:
        parser.error('--count is of pictures; the length of a clip is trajectory.seconds in a file for --settings')
    if options.distance:
        check_range('--distance', 'NEAR', 'FAR', options.distance)


def rendered_size(text: str) -> tuple[int, int]:
    """Return width and height [px] of an argument such as 480x360, within what is sensible to render."""
    size = image_size(text)
    if min(size) < 32 or max(size) > 4096:
        raise argparse.ArgumentTypeError(f'wanted sides from 32 to 4096 px, got {text!r}')
    return size


def make_dataset(options: argparse.Namespace) -> None:
    """Write the preview, and pictures, labels and a contact sheet unless only that is wanted."""
    others = (LABELS, SHEET, IMAGES, *([] if (options.out / LOCK).is_file() else [PREVIEW]))  # begun: with the lock
    check_own(options.out / RECIPE, _NAME, is_recipe, others)
    model, camera = ObjectModel.load(options.object), camera_of(options)
    require_positions(model)  # here its source is the file; that of a recipe names none
    with own_folder(options.out):
        photos = background_folder(options)
        mesh = mesh_of(options, model)
        settings = settings_of(options, model, mesh)
        if photos and all_grey(list_background_photos(photos)):
            settings.sensor.grey_probability = 1.0
            print(f'{options.backgrounds}: without colour, so all pictures are drawn without')
        recipe = {
            'object': model.to_dict(),
            'mesh': mesh,
            'size': list(picture_size(options)),
            'camera': camera.to_yaml_dict() if camera else None,
            'settings': settings_to_dict(settings),
            'backgrounds': str(photos.resolve()) if photos else None,
            'categories': [coco_category(model.name, model.keypoint_names, model.skeleton)],
        }
        tell_reading(mesh['path'])
        _, builder, *_ = generator_arguments(recipe, say)  # mistakes are told once, before any process starts
        tell_size(builder, model, recipe['mesh'])
        check_distance(settings, model, picture_size(options), camera)
        block = int(settings.pose.variants_every)  # a variant of the object is built once
        job = Job(options.out, options.count, options.seed, recipe, make_generator, block)
        check_recipe(job)
        make_preview(options, builder, model, settings)
        if options.preview:
            return
        labels = write_dataset(job, options.processes)
    print(f'{labels}: labels of {options.count} pictures; look at {options.out / SHEET}')


def scene_of(options: argparse.Namespace, mesh: dict[str, Any]) -> str:
    """Return the scene that is given, that of the object's variation file, or the default."""
    own = Variation(Path(mesh['variation'])).scene if 'variation' in mesh else None
    return options.scene or own or DEFAULT_SCENE


def settings_of(options: argparse.Namespace, model: ObjectModel, mesh: dict[str, Any]) -> SimpleNamespace:
    """Return the settings of the scene, the user's file and the options; tell which scene is drawn."""
    scene = scene_of(options, mesh)
    settings = load_settings(options.settings, scene)
    if options.seen_from:
        settings.pose.seen_from = tuple(options.seen_from)
    if options.distance:
        settings.pose.distance_m = tuple(options.distance)
    if options.grey or options.color:
        settings.sensor.grey_probability = float(options.grey)
    others = ', '.join(name for name in SCENES if name != scene)
    sides = ', '.join(settings.pose.seen_from)
    print(f'scene: {scene} (--scene {others} for another); {model.name} is seen from {sides} (--seen-from)')
    return settings


def background_folder(options: argparse.Namespace) -> Path | None:
    """Return the folder of background photos; of a recording, one with frames of it in the output folder."""
    source = options.backgrounds
    if source is None or not source.exists() or not is_recording(source):
        if options.image and (source is None or source.exists()):
            raise UsageError(f'--image {options.image} chooses a topic of a bag for --backgrounds: leave it out')
        return source
    folder = options.out / BACKGROUNDS
    if not any(folder.glob('*.jpg')):
        if folder.is_dir() and any(folder.iterdir()):
            raise not_own(folder, _NAME)
        with replacing(folder) as temporary:
            temporary.mkdir()
            for number, image in enumerate(sharp_frames(source, FRAMES, options.image)):
                write_image(temporary / f'{number:03d}.jpg', image)
    count = len(list(folder.glob('*.jpg')))
    print(f'{source}: {count} frames as backgrounds in {folder}; delete those with the object in them')
    return folder


def check_distance(
    settings: SimpleNamespace, model: ObjectModel, size: tuple[int, int], camera: CameraIntrinsics | None
) -> None:
    """Raise ConfigError when the object is too large or too small at the distances wanted; say how large it will be."""
    near, far = settings.pose.distance_m
    if not far:
        return
    degrees = np.mean(settings.camera.field_of_view_deg)
    focal = camera.K[0, 0] if camera else size[0] / 2 / math.tan(math.radians(degrees) / 2)
    largest, smallest = (object_size(model) * focal / distance for distance in (near, far))
    if smallest > max(size):
        raise ConfigError(
            f'--distance {near:g} {far:g}: {model.name} is larger than the picture ({smallest:.0f} px at {far:g} m): '
            'give larger distances'
        )
    if largest < _SMALLEST_PX:
        raise ConfigError(
            f'--distance {near:g} {far:g}: {model.name} is only {largest:.0f} px long at {near:g} m, '
            'too small to label: give smaller distances'
        )
    print(f'{model.name} is {smallest:.0f} to {largest:.0f} px long in pictures of {size[0]}x{size[1]}')


def make_preview(options: argparse.Namespace, builder: Builder, model: ObjectModel, settings: SimpleNamespace) -> None:
    """Write the picture of the object from six sides."""
    parts = builder(np.random.default_rng(options.seed))
    write_preview(options.out / PREVIEW, parts, model, settings.visibility)
    print(f'{options.out / PREVIEW}: the object from six sides with its keypoints; look at it first')


def tell_size(builder: Builder, model: ObjectModel, mesh: dict[str, Any]) -> None:
    """Print how large the user's mesh is taken to be."""
    if 'variation' not in mesh:
        print(size_note(builder(np.random.default_rng(0)), model, **mesh))


def picture_size(options: argparse.Namespace) -> tuple[int, int]:
    """Return width and height [px] of the pictures."""
    if options.size or not options.camera:
        return options.size or DEFAULT_SIZE
    width, height = CameraCalibration(options.camera).size
    return round(DEFAULT_SIZE[1] * width / height), DEFAULT_SIZE[1]


def camera_of(options: argparse.Namespace) -> CameraIntrinsics | None:
    """Return the calibrated camera at the size of the pictures."""
    if options.camera is None:
        return None
    calibration = CameraCalibration(options.camera, report=lambda text: say(f'note: {options.camera}: {text}'))
    try:
        return calibration.for_size(*picture_size(options))
    except ConfigError as error:
        raise UsageError(f'--camera {options.camera}: {str(error).removeprefix("camera: ")}') from error


def generator_arguments(recipe: dict[str, Any], tell: Callable[[str], None] | None = None) -> tuple[Any, ...]:
    """Return the arguments of SceneGenerator, read and checked; `tell` what may be wrong."""
    model, settings = ObjectModel.from_dict(recipe['object']), settings_from_dict(recipe['settings'])
    builder = object_builder(model, recipe['mesh'], settings.surface, tell)
    photos = list_background_photos(recipe['backgrounds'])
    camera = CameraIntrinsics.from_yaml_dict(recipe['camera']) if recipe['camera'] else None
    return model, builder, settings, *recipe['size'], photos, camera


def make_generator(recipe: dict[str, Any]) -> SceneGenerator:
    """Return the generator of a recipe; called in each process."""
    return SceneGenerator(*generator_arguments(recipe))


def make_clip(options: argparse.Namespace) -> None:
    """Write clip.mp4, camera.yaml, ground_truth.json and, where asked for, a bag."""
    check_own(options.out / TRUTH, _NAME, is_truth, (CLIP, CALIBRATION))
    if options.bag:
        check_bag(options.out / BAG, _NAME)
    model = ObjectModel.load(options.object)
    mesh = mesh_of(options, model)
    settings = load_settings(options.settings, scene_of(options, mesh))
    builder = object_builder(model, mesh, settings.surface, say)
    tell_size(builder, model, mesh)
    camera = camera_of(options) or clip_camera(*picture_size(options), settings.trajectory)
    motion = sample_motion(options.seed, model, camera, settings.trajectory)
    renderer = ClipRenderer(model, builder, camera, options.seed, settings)
    frames = progress_bar('frames', len(motion.stamps), 'frame', renderer.frames(motion))
    with own_folder(options.out):
        write_clip(options.out, frames, camera, model, settings.trajectory.rate_hz, options.bag)
    print(f'{options.out}: clip.mp4, camera.yaml and ground_truth.json of {len(motion.stamps)} frames')


@command
@telling_losses
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    require_gl()
    if options.trajectory and not options.preview:
        make_clip(options)
    else:
        make_dataset(options)
    return DONE


if __name__ == '__main__':
    sys.exit(main())
