"""Training runs: what they leave, that they repeat and resume exactly, and what stops them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_samples import settings_for

from custom_pose_ros.core.errors import ConfigError, DatasetError, MediaError, ModelError
from custom_pose_ros.inference.checkpoints import load_checkpoint
from training.pose_training.learning import training_run
from training.pose_training.learning.log import RunLog
from training.pose_training.learning.training_run import TrainingRun

ROOT = Path(__file__).resolve().parents[3]


SCRIPT = ROOT / 'training' / 'train.py'


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
    assert 'export_onnx.py' not in capsys.readouterr().out  # whether to export it is for the command to say


def test_a_resumed_run_repeats_the_uninterrupted_one(tmp_path, dots_folder):
    """With one number of threads: else time decides it, and sums come out in another order."""
    settings = settings_for(dots_folder, steps=10, augment='normal')
    TrainingRun.new(str(dots_folder), settings, tmp_path / 'whole', threads=1, workers=1).train()
    part = TrainingRun.new(str(dots_folder), settings, tmp_path / 'part', threads=1, workers=1)
    stream = part.batches()
    for _ in range(4):
        part.trainer.step(next(stream), part.progress())
    part.save()
    TrainingRun.resumed(tmp_path / 'part', threads=1, workers=1).train()
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
    with pytest.raises(MediaError, match=r'^\S+\.png: is damaged or not an image$'):
        run.train()


def test_a_new_run_does_not_overwrite_another(tmp_path, dots_folder):
    TrainingRun.new(str(dots_folder), settings_for(dots_folder), tmp_path, workers=0).save()
    with pytest.raises(ConfigError, match='--resume'):  # before any image is read
        TrainingRun.new(str(dots_folder), settings_for(tmp_path / 'gone'), tmp_path, workers=0)


@pytest.mark.parametrize('name', ['best.pth', 'last.pth'])
def test_a_new_run_keeps_files_of_others(tmp_path, dots_folder, name):
    out = tmp_path / 'run'
    out.mkdir()
    (out / name).write_text('of somebody else')
    with pytest.raises(ConfigError, match=f'{name}: is there already, and not of a run in this folder'):
        TrainingRun.new(str(dots_folder), settings_for(dots_folder), out, workers=0)
    assert list(out.iterdir()) == [out / name]


def test_validations_take_a_fifth_of_the_time_at_most(tmp_path, dots_folder, monkeypatch):
    """Of 8 images, 3 are tried first: at 1 s each all would take 8 s, for which 40 s have to be over."""
    now = [1000.0]
    monkeypatch.setattr(training_run.time, 'monotonic', lambda: now[0])
    settings = replace(settings_for(dots_folder), steps=None, minutes=1.0)
    run = TrainingRun.new(str(dots_folder), settings, tmp_path, workers=0)

    def slow(estimator, images):
        now[0] += 1.0 * len(images)

    monkeypatch.setattr(training_run, 'measure', slow)
    run.validation += run.sources[0]
    assert len(run.validation) == 8
    now[0] += 36.0
    assert not run._can_validate()  # at 36 s, of which the trial takes 3
    now[0] += 1.0
    assert run._can_validate()  # at 40 s


OWNER = (  # owns a folder until its input ends
    'import sys; from pathlib import Path; from custom_pose_ros.core.files import own_folder\n'
    'lock = own_folder(Path(sys.argv[1])); print("owned", flush=True); sys.stdin.read()'
)


def test_two_processes_never_train_in_one_folder(tmp_path, dots_folder, root):
    """Two that resumed at once tore last.pth, whichever of them wrote last."""
    out = tmp_path / 'out'
    command = [sys.executable, '-c', OWNER, str(out)]
    run = TrainingRun.new(str(dots_folder), settings_for(dots_folder), out, workers=0)
    other = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=root, check=False)
    assert f'{out}: process {os.getpid()} writes into it' in other.stderr
    run.train()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as owner:
        assert owner.stdout.readline() == 'owned\n'
        refused = rf'^{out}: process {owner.pid} writes into it: [^\n]*$'
        with pytest.raises(ConfigError, match=refused):
            TrainingRun.resumed(out, workers=0)
        for name in ('last.pth', 'history.jsonl'):
            (out / name).rename(tmp_path / name)
        (out / 'best.pth').unlink()
        with pytest.raises(ConfigError, match=refused):
            TrainingRun.new(str(dots_folder), settings_for(dots_folder), out, workers=0)
        for name in ('last.pth', 'history.jsonl'):
            (tmp_path / name).rename(out / name)
    assert load_checkpoint(out / 'last.pth').training['trainer']['step_count'] == 6
    TrainingRun.resumed(out, workers=0)  # nobody owns it any more


def test_a_failed_start_leaves_the_folder_free(tmp_path, dots_folder):
    with pytest.raises(DatasetError):
        TrainingRun.new(str(dots_folder), settings_for(tmp_path / 'gone'), tmp_path / 'out')
    TrainingRun.new(str(dots_folder), settings_for(dots_folder), tmp_path / 'out')


def test_the_history_is_json_though_nothing_was_found(tmp_path):
    log = RunLog(tmp_path)
    figures = {'mean_px': float('nan'), 'found': 0.0, 'swapped': 0, 'false_instances': 0, 'absent': 9, 'invented': 2}
    log.validation(3, 1.0, figures)
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
