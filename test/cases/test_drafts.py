"""Drafts of object files from labels as people brought them: limbs, left and right, and too many keypoints."""

from __future__ import annotations

import pytest

from custom_pose_ros.core.object_model import ObjectModel
from training.prepare_dataset import main


@pytest.fixture
def prepare(shared, tmp_path, capfd):
    """Run prepare_dataset on a case; return exit code, what was shown, and the folder that it wrote."""

    def run(number: str):
        case = next((shared / 'cases').glob(f'{number}-*'))
        code = main([str(case / 'labels.json'), '--images', str(case / 'photos'), '--out', str(tmp_path / 'out')])
        shown = capfd.readouterr()
        assert 'Traceback' not in shown.err
        return code, shown.out + shown.err, tmp_path / 'out'

    return run


def pairs(model: ObjectModel, of) -> set[frozenset[str]]:
    return {frozenset(model.keypoint_names[k] for k in pair) for pair in of}


def test_08_a_skeleton_that_counts_from_0_joins_the_right_keypoints_and_it_is_said(prepare):
    code, shown, out = prepare('08')
    assert code == 0
    assert 'the skeleton counts from 0, not from 1 as COCO does: read so' in shown
    model = ObjectModel.load(out)
    assert pairs(model, model.skeleton) == {
        frozenset(limb.split())
        for limb in (
            'head lshdr', 'head rshdr', 'head tail', 'lshdr lwing', 'rshdr rwing', 'tail uptail',
            'tail ltail', 'tail rtail',
        )
    }  # fmt: skip
    assert pairs(model, model.swaps) == {frozenset((f'l{part}', f'r{part}')) for part in ('shdr', 'wing', 'tail')}


def test_09_left_and_right_are_found_in_every_way_of_marking_them(prepare):
    code, shown, out = prepare('09')
    assert code == 0
    model = ObjectModel.load(out)
    assert pairs(model, model.swaps) == {
        frozenset(pair.split()) for pair in ('wingL wingR', 'eyeL eyeR', 'lwing rwing', 'port_engine starboard_engine')
    }
    assert 'wingL/wingR, eyeL/eyeR, lwing/rwing, port_engine/starboard_engine' in shown
    assert model.mirroring == (True, None)


def test_25_more_keypoints_than_an_object_may_have_are_refused_before_anything_is_written(prepare):
    code, shown, out = prepare('25')
    assert code == 1
    assert 'error: ' in shown and "'plane' has 61 keypoints, wanted 60 at most" in shown
    assert not out.exists()
