"""Batches and settings of tiny training runs."""

from __future__ import annotations

import numpy as np
import torch

from training.pose_training.data.augmentation import Augmentation
from training.pose_training.data.training_set import Ticket, TrainingSample, TrainingSet
from training.pose_training.labels.coco import read_dataset
from training.pose_training.learning.run_settings import RunSettings


def batch_of(folder, model, count=8):
    """Return samples without augmentation as one batch of tensors."""
    samples = TrainingSet([read_dataset(folder, model)], model, 64, 64, Augmentation.named('none'))
    return TrainingSample(
        *(torch.from_numpy(np.stack(parts)) for parts in zip(*(samples[Ticket(0, i, i)] for i in range(count))))
    )


def settings_for(folder, **changes):
    """Return the settings of a run of six steps, with changes."""
    values = {
        'data': [str(folder)],
        'options': {'channels': 32},
        'start_from': 'none',
        'steps': 6,
        'batch': 4,
        'validation_share': 0.25,
        'crop': 64,
    }
    return RunSettings(**{**values, **changes})
