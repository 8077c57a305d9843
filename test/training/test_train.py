"""The training command: command lines that make no sense, and what is missing, are told in one line."""

from __future__ import annotations

import pytest

from training.pose_training.learning.training_run import TrainingRun
from training.train import main

START = ['--out', 'x', '--object', 'o', '--data', 'd', '--steps', '1']


@pytest.mark.parametrize(
    ('arguments', 'facts'),
    [
        ([], ['--out']),
        (['--out', 'x'], ['--object', '--data']),
        (['--out', 'x', '--object', 'o', '--data', 'd'], ['--minutes', '--epochs', '--steps']),
        (['--out', 'x', '--object', 'o', '--data', 'd', '--minutes', '0'], ['--minutes', "above 0, got '0'"]),
        ([*START, '--data', 'e', '--weight', '1'], ['--weight', '1 for 2']),
        (['--out', 'x', '--resume', '--workers', '-1'], ['--workers', '-1']),
        ([*START, '--crop', '100'], ['--crop', '32', '100']),
        ([*START, '--rotation', '200'], ['--rotation', '180', '200']),
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


@pytest.mark.parametrize('size', [('2', '1'), ('5', '10'), ('0', '1')])
def test_sizes_that_no_object_has_are_refused(size, capsys):
    assert main([*START, '--object-size', *size]) == 2
    assert f'--object-size: wanted 0 < MIN <= MAX <= 2, got {" ".join(size)}' in capsys.readouterr().err


def test_the_command_says_in_one_line_what_is_missing(tmp_path, capsys):
    arguments = [
        '--object', 'submarine', '--data', str(tmp_path / 'gone'), '--steps', '1', '--out', str(tmp_path / 'out'),
    ]  # fmt: skip
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert 'gone: no such file or folder' in error
    assert error.count('\n') == 1


def test_what_cannot_be_written_or_resumed_is_told_in_one_line(tmp_path, dots_folder, capsys):
    (tmp_path / 'file').touch()
    arguments = ['--object', str(dots_folder), '--data', str(dots_folder), '--weights', 'none', '--steps', '1']
    with pytest.raises(SystemExit, match='2'):  # before any work
        main([*arguments, '--out', str(tmp_path / 'file')])
    assert str(tmp_path / 'file') in capsys.readouterr().err.splitlines()[-1]
    assert main(['--resume', '--out', str(tmp_path / 'gone')]) == 1
    assert 'last.pth: no such file' in capsys.readouterr().err


@pytest.mark.parametrize('begun', [False, True])
def test_an_interrupted_command_says_what_there_is_to_go_on_with(tmp_path, dots_folder, capsys, monkeypatch, begun):
    def interrupted(run, *_):
        if begun:
            run.save()
        raise KeyboardInterrupt

    arguments = ['--object', dots_folder, '--data', dots_folder, '--steps', '1', '--batch', '2', '--weights', 'none']
    arguments = [*map(str, arguments), '--workers', '0', '--out', str(tmp_path / 'out')]
    with monkeypatch.context() as patched:
        patched.setattr(TrainingRun, '_train', interrupted)
        assert main(arguments) == 130
    wanted = 'go on with --resume' if begun else 'nothing was learned yet: start again'
    assert capsys.readouterr().err.splitlines()[-1] == f'train: interrupted; {wanted}'
    assert main(['--resume', *arguments[-4:]] if begun else arguments) == 0


def test_the_command_says_how_to_go_on(tmp_path, dots_folder, capsys):
    arguments = ['--object', dots_folder, '--data', dots_folder, '--steps', '1', '--batch', '2', '--weights', 'none']
    assert main([*map(str, arguments), '--workers', '0', '--out', str(tmp_path / 'out')]) == 0
    best = tmp_path / 'out' / 'best.pth'
    assert capsys.readouterr().out.splitlines()[-1] == f'next: python training/export_onnx.py {best}'
    assert best.is_file()
