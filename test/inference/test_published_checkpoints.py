"""Tests of inference.published_checkpoints: the layouts that people have, and what is said of files that do not fit."""

from __future__ import annotations

import argparse
from collections import OrderedDict

import numpy as np
import pytest
import torch

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.checkpoints import load_checkpoint
from custom_pose_ros.inference.network import build_network

MODEL = ObjectModel.load('human18')
ARCHITECTURE = 'lightweight_openpose'


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return build_network(ARCHITECTURE, MODEL, refinement_stages=2)


@pytest.fixture(scope='module')
def state(network):
    return network.state_dict()


def prefixed(state, prefix):
    return OrderedDict((prefix + name, tensor) for name, tensor in state.items())


LAYOUTS = {
    'bare': lambda state: state,
    'state_dict': lambda state: {'state_dict': state, 'iter': 370000, 'current_epoch': 280},
    'weights': lambda state: {'weights': state},
    'net': lambda state: {'net': state, 'optimizer': {'state': {}, 'param_groups': []}},
    'nested': lambda state: {'checkpoint': {'model': {'state_dict': state}}},
    'module': lambda state: {'state_dict': prefixed(state, 'module.')},
    'module twice': lambda state: {'state_dict': prefixed(state, 'module.module.')},
    'compiled': lambda state: {'model': prefixed(state, '_orig_mod.')},
    'named': lambda state: prefixed(state, 'net.'),
    'without counters': lambda state: {'state_dict': {k: v for k, v in state.items() if 'num_batches' not in k}},
    'numpy beside': lambda state: {'state_dict': state, 'loss': np.float64(0.5), 'best': np.int64(3), 'm': np.ones(2)},
    'options beside': lambda state: {'state_dict': state, 'args': argparse.Namespace(batch_size=80)},
}


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'torch 0.4'])
def test_every_layout_gives_the_same_network(tmp_path, network, state, layout, zipped):
    path = tmp_path / 'checkpoint_iter_370000.pth'
    torch.save(LAYOUTS[layout](state), path, _use_new_zipfile_serialization=zipped)
    checkpoint = load_checkpoint(path, MODEL)
    assert checkpoint.options == {'channels': 128, 'refinement_stages': 2}
    assert checkpoint.ignored == ()
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8))
    with torch.inference_mode():
        for got, wanted in zip(checkpoint.network()(image)[-1], network.eval()(image)[-1]):
            assert torch.equal(got, wanted)


def refusal(tmp_path, content, model=MODEL) -> str:
    path = tmp_path / 'other.pth'
    torch.save(content, path)
    with pytest.raises(ModelError) as error:
        load_checkpoint(path, model)
    text = str(error.value)
    assert str(path) in text
    assert '\n' not in text
    return text


def test_another_network_is_named_by_its_layers(tmp_path):
    text = refusal(tmp_path, {'state_dict': {'backbone.conv1.weight': torch.zeros(3)}})
    assert 'Lightweight OpenPose' in text
    assert 'backbone.conv1.weight' in text


def test_a_file_without_tensors_is_named_by_its_keys(tmp_path):
    assert 'epoch' in refusal(tmp_path, {'epoch': 3})


def test_without_an_object_the_option_is_named(tmp_path, state):
    assert '--object human18' in refusal(tmp_path, state, None)


def test_the_number_of_maps_must_be_that_of_the_object(tmp_path, state):
    text = refusal(tmp_path, state, ObjectModel.load('submarine'))
    assert '19 heatmaps' in text
    assert '38 part affinity fields' in text
    assert 'submarine' in text


def test_layers_that_do_not_fit_are_named(tmp_path, state):
    broken = {name: tensor for name, tensor in state.items() if name != 'cpm.conv.0.weight'}
    broken['model.0.0.weight'] = torch.zeros(2)
    text = refusal(tmp_path, broken)
    assert 'cpm.conv.0.weight (missing)' in text
    assert 'model.0.0.weight' in text


def test_layers_that_the_network_does_not_have_are_told(tmp_path, state):
    path = tmp_path / 'more.pth'
    torch.save({**state, 'classifier.weight': torch.zeros(2)}, path)
    assert load_checkpoint(path, MODEL).ignored == ('classifier.weight',)


class Harmful:
    def __reduce__(self):
        return (print, ('code ran',))


def test_what_would_run_code_is_refused(tmp_path, state, capsys):
    assert 'refused for safety' in refusal(tmp_path, {'state_dict': state, 'extra': Harmful()})
    assert 'code ran' not in capsys.readouterr().out
