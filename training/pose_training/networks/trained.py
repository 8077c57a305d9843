"""Loading of a trained model with the object that it carries."""

from __future__ import annotations

from pathlib import Path

from custom_pose_ros.core.object_file import find_object_folder
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import load_network
from custom_pose_ros.inference.backends.contract import object_inside
from custom_pose_ros.inference.estimator import PoseEstimator


def load_trained(
    source: str,
    object_source: str | None = None,
    backend: str = 'auto',
    input_height: int | None = None,
    threads: int | None = None,
    precision: str = 'auto',
) -> PoseEstimator:
    """
    Return the estimator of a model.

    Args:
        source: Checkpoint, model.onnx, folder with one of them, or the name of an installed object.
        object_source: Object to use instead of the one inside the model.
        backend: As in PoseEstimator.load.
        input_height: As in PoseEstimator.load.
        threads: As in PoseEstimator.load.
        precision: As in PoseEstimator.load.

    Raises:
        ConfigError: The object or a setting is wrong.
        ModelError: The model is missing or damaged, or carries no object.
    """
    path = Path(source).expanduser()
    if not path.exists() and not path.suffix:
        path = find_object_folder(source)
    loaded = load_network(path, backend, threads, precision)
    model = ObjectModel.load(object_source) if object_source else object_inside(loaded.backend, source)
    return PoseEstimator(model, loaded, input_height)
