"""Side by side with the public code of Lightweight OpenPose, whose checkout LIGHTWEIGHT_OPENPOSE names."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import torch

from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.checkpoints import load_checkpoint

CHECKOUT = os.environ.get('LIGHTWEIGHT_OPENPOSE', '')
if not CHECKOUT:
    pytest.skip(
        'LIGHTWEIGHT_OPENPOSE is not set: a checkout of Daniil-Osokin/lightweight-human-pose-estimation.pytorch',
        allow_module_level=True,
    )
IMAGES = 20


@pytest.mark.parametrize('stages', [1, 3])
def test_maps_are_those_of_the_public_network(tmp_path, monkeypatch, stages):
    """Its weights, saved as it saves them, give its heatmaps and part affinity fields."""
    monkeypatch.syspath_prepend(CHECKOUT)
    from models.with_mobilenet import PoseEstimationWithMobileNet

    torch.manual_seed(stages)
    public = PoseEstimationWithMobileNet(num_refinement_stages=stages).eval()
    path = tmp_path / 'checkpoint_iter_370000.pth'
    torch.save({'state_dict': public.state_dict(), 'iter': 370000}, path)
    own = load_checkpoint(path, ObjectModel.load('human18')).network()
    random = np.random.default_rng(0)
    for _ in range(IMAGES):
        image = random.integers(0, 256, (1, 128, 160, 3), np.uint8)
        with torch.inference_mode():
            wanted = public(torch.from_numpy((image.astype(np.float32) - 128) / 256).permute(0, 3, 1, 2))[-2:]
            got = own(torch.from_numpy(image))[-1]
        for one, other in zip(got, wanted):
            assert float((one - other).abs().max()) <= 1e-4
    for name in [name for name in sys.modules if name.split('.')[0] in ('models', 'modules')]:
        monkeypatch.delitem(sys.modules, name)
