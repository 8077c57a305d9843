"""The edge of the commands: every error has its code, and one line that says why."""

import argparse
import subprocess
import sys

import pytest

from custom_pose_ros.core.command_line import (
    CANNOT,
    DONE,
    INTERRUPTED,
    WRONG_USE,
    command,
    field_of_view_deg,
    image_size,
    positive_integer,
)
from custom_pose_ros.core.errors import ConfigError, UsageError


def raising(error):
    @command
    def main(arguments=None):
        raise error

    return main


@pytest.mark.parametrize(
    ('error', 'code', 'said'),
    [
        (UsageError('give --out'), WRONG_USE, 'error: give --out\n'),
        (ConfigError('a.yaml: wrong'), CANNOT, 'error: a.yaml: wrong\n'),
        (FileNotFoundError(2, 'No such file', 'a.txt'), CANNOT, 'error: a.txt: No such file\n'),
        (OSError('no space'), CANNOT, 'error: no space\n'),
        (KeyboardInterrupt(), INTERRUPTED, ''),
    ],
)
def test_errors_become_a_code_and_a_line(error, code, said, capsys):
    assert raising(error)() == code
    assert capsys.readouterr() == ('', said)


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())()


def test_arguments_and_code_pass_through():
    @command
    def main(arguments=None):
        return DONE if arguments == ['a'] else CANNOT

    assert (main(['a']), main()) == (DONE, CANNOT)


def test_a_reader_that_stops_early_is_no_fault():
    code = (
        'import sys\n'
        'from custom_pose_ros.core.command_line import command\n'
        '@command\n'
        'def main(arguments=None):\n'
        '    while True:\n'
        '        print("line")\n'
        'sys.exit(main())'
    )
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b'line\n'
        process.stdout.close()
        assert process.stderr.read() == b''
        assert process.wait(timeout=30) == CANNOT


@pytest.mark.parametrize(
    ('kind', 'text', 'value'),
    [(positive_integer, '7', 7), (field_of_view_deg, '62.5', 62.5), (image_size, '640x480', (640, 480))],
)
def test_arguments_are_read(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ('kind', 'texts'),
    [
        (positive_integer, ['0', '-1', '1.5', 'x', '']),
        (field_of_view_deg, ['0', '180', 'nan', 'wide']),
        (image_size, ['640', '640x', 'x480', '0x480', '-1x2', '640x480x3']),
    ],
)
def test_other_arguments_are_refused_with_what_was_given(kind, texts):
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError, match=f'^wanted .*, got {text!r}'):
            kind(text)
