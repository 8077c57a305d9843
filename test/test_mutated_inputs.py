"""Mutated inputs are read as they say or refused in one line, by every reader; CONTRIBUTING.md says how to run more."""

from __future__ import annotations

import os
import random

import pytest
from mutators import mutate_bytes, mutate_table, mutate_tree, mutate_xml

inputs = pytest.importorskip('mutated_inputs')  # which needs everything that reads anything

COUNT = int(os.environ.get('MUTATED_INPUTS', '300'))
SEED = int(os.environ.get('MUTATED_SEED', '0'))
SHARES = inputs.shares(COUNT, list(inputs.READERS))


@pytest.mark.parametrize('name', inputs.READERS)
def test_what_is_read_is_what_the_input_says(name, tmp_path):
    outcome = inputs.run(name, SHARES[name], tmp_path, SEED)
    print(name, dict(outcome.counts))
    assert not outcome.counts[inputs.TRACEBACK] + outcome.counts[inputs.WRONG], '\n'.join(outcome.faults)


def test_a_mutation_can_be_made_again_and_changes_something():
    tree = {'a': [1, 2.5, {'b': 'text'}], 'c': None}
    for i in range(50):
        data, text = bytes(range(256)), 'x,y\n1,2\n'
        xml = '<a x="1"><b y="2.5">text 3</b></a>'
        for mutate, content in ((mutate_bytes, data), (mutate_tree, tree), (mutate_table, text), (mutate_xml, xml)):
            assert repr(mutate(content, random.Random(i))) == repr(mutate(content, random.Random(i)))
    changed = [mutate_tree(tree, random.Random(i))[1] for i in range(50)]
    assert sum(repr(made) != repr(tree) for made in changed) > 40
    assert tree == {'a': [1, 2.5, {'b': 'text'}], 'c': None}
