"""Optimisation: the loss falls, frozen layers stay, averages and rates by value, what is not finite is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_samples import batch_of

from custom_pose_ros.core.errors import TrainingError
from custom_pose_ros.core.keypoints.heatmaps import encode_heatmaps, find_peaks
from custom_pose_ros.inference.network import build_network
from training.pose_training.learning.engine import OptimiserSettings, Trainer, chosen_precision, learning_rate
from training.pose_training.learning.losses import decoded_offsets, pose_losses


def test_a_few_steps_reduce_the_loss(dots_folder, dots):
    torch.manual_seed(0)
    trainer = Trainer(build_network('light', dots, channels=32), OptimiserSettings(warm_up_steps=1))
    batch = batch_of(dots_folder, dots, 4)
    losses = [trainer.step(batch, 0.0)['total'] for _ in range(15)]
    assert losses[-1] < 0.7 * losses[0]


def test_lightweight_openpose_learns_from_random_weights(dots_folder, dots):
    torch.manual_seed(0)
    trainer = Trainer(build_network('lightweight_openpose', dots, channels=32), OptimiserSettings(warm_up_steps=1))
    batch = batch_of(dots_folder, dots, 4)
    losses = [trainer.step(batch, 0.0) for _ in range(10)]
    assert set(losses[0]) == {'stage0/heatmaps', 'stage0/pafs', 'stage1/heatmaps', 'stage1/pafs', 'total'}
    assert losses[-1]['total'] < 0.9 * losses[0]['total']


def test_losses_by_value():
    zeros, ones = torch.zeros(2, 3, 4, 4), torch.ones(2, 2, 4, 4)
    target = torch.zeros(2, 3, 4, 4)
    target[0, 0, 1, 1] = 1.0  # one cell on a keypoint: weight 5
    mask, paf_mask = torch.ones_like(target), torch.ones(2, 2, 4, 4)
    paf_mask[1] = 0
    losses = pose_losses([(zeros, ones)], target, torch.zeros(2, 2, 4, 4), mask, paf_mask)
    assert float(losses['heatmaps']) == pytest.approx(5 * 1 / (2 * 2))
    assert float(losses['pafs']) == pytest.approx(0.3 * 32 / (2 * 2))
    mask[0, 0, 1, 1] = 0
    assert float(pose_losses([(zeros, ones)], target, ones, mask, paf_mask)['heatmaps']) == 0


def test_positions_are_learned_as_they_are_decoded():
    """Of maps with a blurred peak, a slope and noise: the loss names the distance that find_peaks would be off."""
    at = np.array([[[43.0, 35.5], [80.2, 61.9]]])
    wanted = encode_heatmaps(at, np.ones((1, 2), bool), (12, 12), 8, 7.0)
    found = encode_heatmaps(at + [[2.0, -1.0], [-0.5, 1.5]], np.ones((1, 2), bool), (12, 12), 8, 9.0) * 0.8
    maps, target = (torch.as_tensor(m[None]).requires_grad_() for m in (found, wanted))
    known, pafs = torch.ones_like(target), torch.zeros(1, 2, 12, 12)
    losses = pose_losses([(maps, pafs)], target.detach(), pafs, known, torch.ones_like(pafs), position_weight=2.0)
    off = np.abs([[2.0, -1.0], [-0.5, 1.5]]) / 8
    smooth = np.where(off < 0.1, off**2 / 0.2, off - 0.05)
    assert losses['positions'].item() == pytest.approx(2 * smooth.sum(), rel=1e-3)
    losses['positions'].backward()
    assert torch.isfinite(maps.grad).all() and maps.grad[0, 0].abs().sum() > 0
    rest = pose_losses([(maps, pafs)], target.detach(), pafs, 5 * known, torch.ones_like(pafs), position_weight=2.0)
    assert rest['positions'].item() == pytest.approx(2 * smooth.sum(), rel=1e-3)  # beside what is absent, too
    known[0, 0] = 0  # a place that nobody knows teaches nothing
    rest = pose_losses([(maps, pafs)], target.detach(), pafs, known, torch.ones_like(pafs), position_weight=2.0)
    assert rest['positions'].item() == pytest.approx(2 * smooth[1].sum(), rel=1e-3)
    decoded = decoded_offsets(torch.as_tensor(found[None, :2]))
    channels, peaks = find_peaks(found[:2], 0.3)
    for k, position in zip(channels, peaks.positions):
        column, row = np.round((position - 3.5) / 8).astype(int)
        offset = decoded[0, k, :, row - 1, column - 1].numpy()
        np.testing.assert_allclose((np.array([column, row]) + offset) * 8 + 3.5, position, atol=1e-3)


def test_the_learning_rate_warms_up_and_falls_to_its_share():
    settings = OptimiserSettings(learning_rate=1.0, warm_up_steps=10, final_share=0.01)
    assert learning_rate(settings, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(settings, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(settings, 99, 0.5) == pytest.approx(0.505)
    assert learning_rate(settings, 99, 1.0) == learning_rate(settings, 99, 1.2) == pytest.approx(0.01)


def test_frozen_layers_and_their_statistics_stay(dots_folder, dots):
    trainer = Trainer(build_network('light', dots, channels=32), OptimiserSettings(warm_up_steps=1))
    trainer.freeze(trainer.network.early_layers())
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.step(batch_of(dots_folder, dots, 2), 0.0)
    changed = {name for name, value in trainer.network.state_dict().items() if not torch.equal(value, before[name])}
    assert not [
        name for name in changed if name.startswith(('features.stem', 'features.blocks.0', 'features.blocks.1.'))
    ]
    assert 'features.blocks.2.expand.0.weight' in changed
    assert 'features.blocks.2.expand.1.running_mean' in changed


def test_the_average_follows_the_weights(dots_folder, dots):
    torch.manual_seed(0)
    trainer = Trainer(build_network('light', dots, channels=32), OptimiserSettings(warm_up_steps=1))
    batch = batch_of(dots_folder, dots, 2)
    history = []
    for _ in range(4):
        trainer.step(batch, 0.0)
        history.append(trainer.network.pafs.bias.detach().clone())
    expected = history[0]
    for count, value in enumerate(history[1:], 1):
        decay = (1 + count) / (10 + count)
        expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(trainer.averaged_weights()['pafs.bias'], expected)


def test_a_loss_that_is_not_finite_stops_with_its_parts(dots_folder, dots):
    trainer = Trainer(build_network('light', dots, channels=32), OptimiserSettings())
    before = trainer.network.reduce[0].weight.detach().clone()
    batch = batch_of(dots_folder, dots, 2)
    batch.pafs[0, 0, 0, 0] = float('nan')
    with pytest.raises(TrainingError, match=r'step 0: .*heatmaps [\d.]+, pafs nan'):
        trainer.step(batch, 0.0)
    torch.testing.assert_close(trainer.network.reduce[0].weight.detach(), before)


def test_weights_that_are_not_finite_are_named(dots_folder, dots):
    trainer = Trainer(build_network('light', dots, channels=32), OptimiserSettings())
    with torch.no_grad():
        trainer.network.mix[1][3].weight[0] = float('inf')
    with pytest.raises(TrainingError, match=r'mix\.1\.3\.weight'):
        trainer.step(batch_of(dots_folder, dots, 2), 0.0)


def test_precision_is_chosen_by_the_hardware():
    assert chosen_precision('auto', torch.device('cpu')) in ('float32', 'bfloat16')
    assert chosen_precision('bfloat16', torch.device('cpu')) == 'bfloat16'
    with pytest.raises(ValueError, match='float16'):
        chosen_precision('float16', torch.device('cpu'))
