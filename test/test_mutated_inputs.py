"""Mutated inputs are read as they say or refused in one line, by every reader; CONTRIBUTING.md says how to run more."""

from __future__ import annotations

import os
import random

import pytest

for package in ('onnx', 'rosbags', 'torch', 'trimesh', 'yourdfpy'):
    pytest.importorskip(package)

from mutated_inputs import READERS, TRACEBACK, WRONG, run, shares
from mutators import mutate_bytes, mutate_table, mutate_tree

COUNT = int(os.environ.get('MUTATED_INPUTS', '300'))
SEED = int(os.environ.get('MUTATED_SEED', '0'))
SHARES = shares(COUNT, list(READERS))


@pytest.mark.parametrize('name', READERS)
def test_what_is_read_is_what_the_input_says(name, tmp_path):
    outcome = run(name, SHARES[name], tmp_path, SEED)
    print(name, dict(outcome.counts))
    assert not outcome.counts[TRACEBACK] + outcome.counts[WRONG], '\n'.join(outcome.faults)


def test_a_mutation_can_be_made_again_and_changes_something():
    tree = {'a': [1, 2.5, {'b': 'text'}], 'c': None}
    for i in range(50):
        data, text = bytes(range(256)), 'x,y\n1,2\n'
        for mutate, content in ((mutate_bytes, data), (mutate_tree, tree), (mutate_table, text)):
            assert repr(mutate(content, random.Random(i))) == repr(mutate(content, random.Random(i)))
    changed = [mutate_tree(tree, random.Random(i))[1] for i in range(50)]
    assert sum(repr(made) != repr(tree) for made in changed) > 40
    assert tree == {'a': [1, 2.5, {'b': 'text'}], 'c': None}
