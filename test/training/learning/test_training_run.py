"""Training: the loss falls, keypoints are found, runs repeat and resume exactly, and what stops is explained."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from custom_pose_ros.core.errors import ConfigError, DatasetError, ModelError, TrainingError
from custom_pose_ros.inference.checkpoints import load_checkpoint
from custom_pose_ros.inference.network import build_network
from training.pose_training.data.augmentation import Augmentation
from training.pose_training.data.batches import affordable_workers, size_of_batch
from training.pose_training.data.training_set import Ticket, TrainingSample, TrainingSet
from training.pose_training.labels.coco import LabelledImage, read_dataset
from training.pose_training.learning.engine import (
    OptimiserSettings,
    Trainer,
    chosen_precision,
    learning_rate,
)
from training.pose_training.learning.image_sources import default_crop, load_sources
from training.pose_training.learning.log import RunLog
from training.pose_training.learning.losses import pose_losses
from training.pose_training.learning.run_settings import RunSettings
from training.pose_training.learning.training_run import TrainingRun
from training.train import main

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / 'training' / 'train.py'
START = ['--out', 'x', '--object', 'o', '--data', 'd', '--steps', '1']


def batch_of(folder, model, count=8):
    samples = TrainingSet([read_dataset(folder, model)], model, 64, 64, Augmentation.named('none'))
    return TrainingSample(
        *(torch.from_numpy(np.stack(parts)) for parts in zip(*(samples[Ticket(0, i, i)] for i in range(count))))
    )


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


def settings_for(folder, **changes):
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


@pytest.mark.parametrize(('size_px', 'wanted'), [(100, 256), (300, 384), (700, 448)])
def test_samples_hold_the_objects_and_are_no_larger(size_px, wanted):
    points = np.array([[[0, 0], [size_px, 50], [900, 900]]], float)
    labelled = np.array([[True, True, False]])
    image = LabelledImage(Path('a'), 1, 640, 448, points, labelled, np.zeros((1, 4)), np.zeros((0, 4)))
    empty = LabelledImage(Path('b'), 2, 640, 448, points[:0], labelled[:0], np.zeros((0, 4)), np.zeros((0, 4)))
    assert default_crop([[image], [empty]], 448) == wanted
    assert default_crop([[empty]], 448) == 256


def losses_of(folder):
    lines = [json.loads(line) for line in (folder / 'history.jsonl').read_text().splitlines()]
    return {line['step']: line['total'] for line in lines if line['kind'] == 'loss'}


def test_a_run_leaves_usable_checkpoints_and_a_history(tmp_path, dots_folder, capsys):
    run = TrainingRun.new(str(dots_folder), settings_for(dots_folder), tmp_path / 'out', workers=0)
    accuracy = run.train()
    assert accuracy.errors_px.shape == (2, 3)
    best, last = (load_checkpoint(tmp_path / 'out' / name) for name in ('best.pth', 'last.pth'))
    assert best.training is None
    assert last.training['trainer']['step_count'] == 6
    assert best.model.name == 'dots'
    assert sorted(losses_of(tmp_path / 'out')) == [1, 2, 3, 4, 5, 6]
    assert 'export_onnx.py' in capsys.readouterr().out


def test_a_resumed_run_repeats_the_uninterrupted_one(tmp_path, dots_folder):
    settings = settings_for(dots_folder, steps=10, augment='normal')
    TrainingRun.new(str(dots_folder), settings, tmp_path / 'whole', workers=1).train()
    part = TrainingRun.new(str(dots_folder), settings, tmp_path / 'part', workers=1)
    stream = part.batches()
    for _ in range(4):
        part.trainer.step(next(stream), part.progress())
    part.save()
    TrainingRun.resumed(tmp_path / 'part', workers=1).train()
    whole, resumed = losses_of(tmp_path / 'whole'), losses_of(tmp_path / 'part')
    assert sorted(resumed) == list(range(5, 11))  # those that were left
    for step, loss in resumed.items():
        assert loss == pytest.approx(whole[step], abs=1e-4)


def test_a_run_can_be_resumed_though_it_ended_at_once(tmp_path, dots_folder):
    settings = settings_for(dots_folder)
    run = TrainingRun.new(str(dots_folder), settings, tmp_path / 'out', workers=0)

    def stop(*_):
        raise KeyboardInterrupt

    run.trainer.step = stop
    with pytest.raises(KeyboardInterrupt):
        run.train()
    resumed = TrainingRun.resumed(tmp_path / 'out', workers=0)
    assert resumed.trainer.step_count == 0
    resumed.train()
    assert load_checkpoint(tmp_path / 'out' / 'last.pth').training['trainer']['step_count'] == 6


def test_the_curves_are_in_tensorboard(tmp_path, dots_folder):
    reader = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    TrainingRun.new(str(dots_folder), settings_for(dots_folder, steps=2), tmp_path / 'out', workers=0).train()
    events = reader.EventAccumulator(str(tmp_path / 'out')).Reload()
    curves = {event.step: event.value for event in events.Scalars('loss/total')}
    assert curves == pytest.approx(losses_of(tmp_path / 'out'), rel=1e-6)  # TensorBoard keeps float32
    assert events.Scalars('validation/score')[0].step == 2


@pytest.mark.parametrize('workers', [0, 1])
def test_a_damaged_image_stops_the_run_in_one_line(tmp_path, dots_folder, workers):
    run = TrainingRun.new(str(dots_folder), settings_for(dots_folder), tmp_path / 'out', workers=workers)
    for image in run.sources[0]:
        image.path.write_bytes(b'no image')
    with pytest.raises(DatasetError, match=r'^\S+\.png: cannot be read[^\n]*$'):
        run.train()


@pytest.mark.parametrize(
    ('workers', 'megabytes', 'wanted'),
    [(4, 2, (4, 2)), (4, 8, (4, 1)), (4, 12, (2, 1)), (4, 30, (0, None)), (0, 1, (0, None))],
)
def test_workers_leave_room_in_shared_memory(workers, megabytes, wanted):
    assert affordable_workers(workers, megabytes * 1e6) == wanted


def test_the_size_of_a_batch_is_that_of_its_arrays(dots_folder, dots):
    assert size_of_batch(dots, 8, 64) == sum(part.nbytes for part in batch_of(dots_folder, dots, 8))


def test_a_new_run_does_not_overwrite_another(tmp_path, dots_folder):
    TrainingRun.new(str(dots_folder), settings_for(dots_folder), tmp_path, workers=0)
    with pytest.raises(ConfigError, match='--resume'):
        TrainingRun.new(str(dots_folder), settings_for(dots_folder), tmp_path, workers=0)


def test_a_failed_start_leaves_the_folder_free(tmp_path, dots_folder):
    with pytest.raises(DatasetError):
        TrainingRun.new(str(dots_folder), settings_for(tmp_path / 'gone'), tmp_path / 'out')
    TrainingRun.new(str(dots_folder), settings_for(dots_folder), tmp_path / 'out')


def test_the_history_is_json_though_nothing_was_found(tmp_path):
    log = RunLog(tmp_path)
    log.validation(3, 1.0, {'mean_px': float('nan'), 'found': 0.0, 'swapped': 0, 'false_instances': 0})
    assert json.loads((tmp_path / 'history.jsonl').read_text())['mean_px'] is None


def test_use_only_checkpoints_cannot_be_resumed(tmp_path, dots_folder):
    TrainingRun.new(str(dots_folder), settings_for(dots_folder, steps=1), tmp_path / 'out', workers=0).train()
    os.replace(tmp_path / 'out' / 'best.pth', tmp_path / 'out' / 'last.pth')
    with pytest.raises(ModelError, match='holds no training state'):
        TrainingRun.resumed(tmp_path / 'out')


@pytest.mark.parametrize(
    ('place', 'key', 'value'),
    [
        ('settings', 'later_option', 1),
        ('settings', 'seed', None),
        ('trainer', 'weights', {'features.stem.1.weight': 3}),
        ('trainer', 'optimiser', {}),
        ('trainer', 'step_count', float('nan')),
    ],
)
def test_a_state_of_another_version_is_refused_in_one_line(tmp_path, dots_folder, place, key, value):
    run = TrainingRun.new(str(dots_folder), settings_for(dots_folder), tmp_path / 'out', workers=0)
    run.save()
    content = torch.load(tmp_path / 'out' / 'last.pth', weights_only=True)
    content['training'][place][key] = value
    torch.save(content, tmp_path / 'out' / 'last.pth')
    with pytest.raises(ModelError, match=r'^\S+last\.pth: [^\n]+$'):
        TrainingRun.resumed(tmp_path / 'out', workers=0)


def test_ones_own_checkpoint_is_a_start(tmp_path, dots_folder):
    TrainingRun.new(str(dots_folder), settings_for(dots_folder, steps=1), tmp_path / 'one', workers=0).train()
    best = tmp_path / 'one' / 'best.pth'
    run = TrainingRun.new(
        str(dots_folder), settings_for(dots_folder, start_from=str(best)), tmp_path / 'two', workers=0
    )
    weights = load_checkpoint(best).weights
    torch.testing.assert_close(run.trainer.network.heatmaps.weight.detach(), weights['heatmaps.weight'])
    assert run.start_note.startswith(f'from {best}: {len(weights)} of {len(weights)} tensors loaded')


def test_validation_images_are_set_aside_by_seed(dots_folder, dots):
    sources, validation = load_sources(settings_for(dots_folder), dots)
    again = load_sources(settings_for(dots_folder), dots)[1]
    other = load_sources(settings_for(dots_folder, seed=5), dots)[1]
    assert (len(sources[0]), len(validation)) == (6, 2)
    assert not {i.path for i in sources[0]} & {i.path for i in validation}
    assert [i.path for i in again] == [i.path for i in validation] != [i.path for i in other]


def test_validating_on_training_images_is_refused(dots_folder, dots):
    with pytest.raises(DatasetError, match=r'8 are'):
        load_sources(settings_for(dots_folder, validation=[str(dots_folder)]), dots)


@pytest.mark.parametrize(
    ('arguments', 'facts'),
    [
        ([], ['--out']),
        (['--out', 'x'], ['--object', '--data']),
        (['--out', 'x', '--object', 'o', '--data', 'd'], ['--minutes', '--epochs', '--steps']),
        (['--out', 'x', '--object', 'o', '--data', 'd', '--minutes', '0'], ['--minutes', '0.0']),
        ([*START, '--data', 'e', '--weight', '1'], ['--weight', '1 for 2']),
        (['--out', 'x', '--resume', '--workers', '-1'], ['--workers', '-1']),
        ([*START, '--crop', '100'], ['--crop', '32', '100']),
        ([*START, '--object-size', '2', '1'], ['--object-size', '2 and 1']),
        ([*START, '--val-share', '1.5'], ['--val-share', '1.5']),
        ([*START, '--refinement-stages', '2'], ['--refinement-stages', 'lightweight_openpose']),
        (['--out', 'x', '--resume', '--minutes', '20'], ['--resume', '--minutes']),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(arguments, facts, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert [fact for fact in facts if fact not in error] == []


def test_the_command_says_in_one_line_what_is_missing(tmp_path, capsys):
    arguments = [
        '--object',
        'submarine',
        '--data',
        str(tmp_path / 'gone'),
        '--steps',
        '1',
        '--out',
        str(tmp_path / 'out'),
    ]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert 'gone: no such file or folder' in error
    assert error.count('\n') == 1


def test_what_cannot_be_written_or_resumed_is_told_in_one_line(tmp_path, dots_folder, capsys):
    (tmp_path / 'file').touch()
    arguments = ['--object', str(dots_folder), '--data', str(dots_folder), '--weights', 'none', '--steps', '1']
    assert main([*arguments, '--out', str(tmp_path / 'file')]) == 1
    assert str(tmp_path / 'file') in (error := capsys.readouterr().err) and error.count('\n') == 1
    assert main(['--resume', '--out', str(tmp_path / 'gone')]) == 1
    assert 'last.pth: no such file' in capsys.readouterr().err


def test_two_processes_train_one_network(tmp_path, dots_folder):
    """Under torchrun with gloo: same weights in both, one set of files, an end at the same step."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run(
        [
            sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', str(SCRIPT),
            '--object', str(dots_folder), '--data', str(dots_folder), '--steps', '3', '--batch', '2',
            '--weights', 'none', '--out', str(tmp_path / 'out'), '--workers', '0',
        ],
        capture_output=True, text=True, timeout=240, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert load_checkpoint(tmp_path / 'out' / 'last.pth').training['trainer']['step_count'] == 3
    assert done.stdout.count('3 steps in') == 1
    assert all(math.isfinite(loss) for loss in losses_of(tmp_path / 'out').values())


def test_an_object_without_limbs_is_refused(tmp_path, dots_folder):
    content = json.loads((dots_folder / 'object.yaml').read_text())
    content['skeleton'] = []
    (dots_folder / 'object.yaml').write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="'dots': has no skeleton"):
        TrainingRun.new(str(dots_folder), settings_for(dots_folder), tmp_path / 'out')
