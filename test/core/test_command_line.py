"""The edge of the commands: every error has its code, and one line that says why."""

import subprocess
import sys

import pytest

from custom_pose_ros.core.command_line import CANNOT, DONE, INTERRUPTED, WRONG_USE, command
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
