"""The edge of the commands: every error, also a missing package, has its code and one line that says why."""

from __future__ import annotations

import argparse
import configparser
import io
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from custom_pose_ros.core import command_line
from custom_pose_ros.core.command_line import (
    CANNOT,
    DONE,
    INTERRUPTED,
    WRONG_USE,
    check_output,
    command,
    command_parser,
    field_of_view_deg,
    image_size,
    optional_packages,
    output_file,
    output_folder,
    pip_install,
    positive_integer,
    progress_bar,
    seed_number,
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


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (ZeroDivisionError('division by zero'), 'this was not foreseen: ZeroDivisionError: division by zero; --debug'),
        (RecursionError('maximum\nrecursion'), 'this was not foreseen: RecursionError: maximum; --debug shows where'),
        (OverflowError(), 'this was not foreseen: OverflowError: OverflowError; --debug shows where'),
        (KeyError('a'), "this was not foreseen: KeyError: 'a'; --debug"),
        (MemoryError(), 'there is not enough memory'),
        (OSError(36, 'File name too long', 'xxx'), 'xxx: File name too long'),
    ],
)
def test_what_nobody_foresaw_is_one_line_and_a_traceback_on_request(error, said, capsys):
    assert raising(error)() == CANNOT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'error: {said}')
    assert raising(error)(['--debug']) == CANNOT
    *trace, line = capsys.readouterr().err.splitlines()
    assert trace[0].startswith('Traceback') and line.startswith('error: ')


def test_nothing_printed_steers_the_terminal_or_cannot_be_encoded(capsys):
    @command
    def main(arguments=None):
        print('table of /a\x1b[2J\u202e', os.fsdecode(b'dive_\xff'), 'ü')
        raise ConfigError('/a\x1b]0;x\x07 is no topic')

    main([])
    printed, said = capsys.readouterr()
    assert printed == 'table of /a\\x1b[2J\\u202e dive_\\udcff ü\n'
    assert said == 'error: /a\\x1b]0;x\\x07 is no topic\n'


def test_an_option_is_not_abbreviated(capsys):
    parser = command_parser('what it does')
    parser.add_argument('--threads', type=positive_integer)
    assert parser.parse_args(['--threads', '2', '--debug']).threads == 2
    with pytest.raises(SystemExit):
        parser.parse_args(['--thr', '2'])
    assert '--thr' in capsys.readouterr().err


def test_numbers_are_finite_and_of_decimal_digits_and_a_home_is_known(capsys, monkeypatch):
    monkeypatch.setenv('HOME', '/home/me')
    parser = command_parser('what it does')
    group = parser.add_argument_group('numbers')
    group.add_argument('--count', type=int)
    group.add_argument('--share', type=float)
    group.add_argument('--out', type=Path)
    args = parser.parse_args(['--count', '-7', '--share=-1e-3', '--out=~/runs'])
    assert (args.count, args.share, args.out) == (-7, -0.001, Path('/home/me/runs'))
    wrong = {
        'count': ['1.5', 'x', '', '1_000', '\u00b2', '\u0663', ' 1', '9' * 5000],
        'share': ['nan', 'inf', '-inf', '1e999', 'x', '', '\u0663'],
        'out': ['~no_such_user_here/x'],
    }
    for option, texts in wrong.items():
        for text in texts:
            with pytest.raises(SystemExit):
                parser.parse_args([f'--{option}={text}'])
            assert f'argument --{option}: ' in capsys.readouterr().err


RUN = {
    **{name: f'import custom_pose_ros.{name} as module\nsys.exit(module.pose_node())'
       for name in ('tools.predict', 'nodes.commands', 'nodes.pose.pose_node')},
    **{path.stem: f'runpy.run_path({str(path)!r}, run_name="__main__")'
       for path in sorted((Path(__file__).resolve().parents[2] / 'training').glob('[!_]*.py'))},
}  # fmt: skip


@pytest.mark.parametrize('name', RUN)
def test_ctrl_c_while_importing_ends_without_a_traceback(name, root):
    code = (
        'import builtins, runpy, sys\n'
        'original = builtins.__import__\n'
        'def interrupted(name, *rest):\n'
        '    if name in ("numpy", "yaml"):\n'
        '        raise KeyboardInterrupt\n'
        '    return original(name, *rest)\n'
        'builtins.__import__ = interrupted\n'
        'import importlib; importlib.import_module = lambda name: interrupted("numpy")\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code + RUN[name]], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (INTERRUPTED, '')


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
    [
        (positive_integer, '7', 7),
        (seed_number, '0', 0),
        (field_of_view_deg, '62.5', 62.5),
        (image_size, '640x480', (640, 480)),
    ],
)
def test_arguments_are_read(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ('kind', 'texts'),
    [
        (positive_integer, ['0', '-1', '1.5', 'x', '', '\u00b2', '\u0663', '9' * 5000]),
        (seed_number, ['-1', '1.5', 'x', '']),
        (field_of_view_deg, ['0', '180', 'nan', 'wide']),
        (image_size, ['640', '640x', 'x480', '0x480', '-1x2', '640x480x3', '\u0664x3', '9999999x2']),
    ],
)
def test_other_arguments_are_refused_with_what_was_given(kind, texts):
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError, match=f'^wanted .*, got {re.escape(repr(text))}'):
            kind(text)


def test_where_nothing_can_be_written_is_said_before_any_work(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'gone').symlink_to(tmp_path / 'nowhere')
    for name in ('file', 'file/below', 'gone'):
        with pytest.raises(argparse.ArgumentTypeError, match='^wanted a folder to write into, and .* is none$'):
            output_folder(str(tmp_path / name))
    for name in ('x.txt', 'new/object.yaml', 'b.ONNX'):
        with pytest.raises(argparse.ArgumentTypeError, match='has the name of a file$'):
            output_folder(str(tmp_path / name))
    (tmp_path / 'old.json').mkdir()  # who has made such a folder wants it
    for name in ('new/deep', 'run.2024', 'old.json'):
        assert output_folder(str(tmp_path / name)) == tmp_path / name
    for name in ('new/deep.onnx', 'NEW.ONNX'):
        assert output_file('.onnx')(str(tmp_path / name)) == tmp_path / name
    for name in ('object.yaml', 'model', 'model.onnx.md'):
        with pytest.raises(argparse.ArgumentTypeError, match=f'whose name ends in .onnx, got .*{name}$'):
            output_file('.onnx')(str(tmp_path / name))
    with pytest.raises(argparse.ArgumentTypeError, match='is a folder$'):
        output_file('.json')(str(tmp_path))
    parser = command_parser('')
    check_output(parser, tmp_path, output_folder)
    with pytest.raises(SystemExit, match='2'):
        check_output(parser, tmp_path, output_file('.json'))
    assert 'error: argument --out: wanted a file to write' in capsys.readouterr().err


@pytest.mark.parametrize('missing', ['rosbags', 'matplotlib', 'lz4'])
def test_evaluate_bag_names_what_is_missing_in_one_line(root, missing):
    """As after `pip install .`, or on a robot whose distribution has no rosbags."""
    code = f'import sys; sys.modules[{missing!r}] = None; import custom_pose_ros.tools.evaluate_bag'
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'error: evaluate_bag needs {missing}')
    assert "which is not installed: pip install 'backports.zstd' 'lz4' 'rosbags'" in line


@pytest.mark.parametrize(
    ('command', 'missing'),
    [('train', 'torch'), ('export_onnx', 'torch'), ('export_tensorrt', 'torch'), ('evaluate', 'pycocotools')],
)
def test_a_training_script_names_what_is_missing_in_one_line(root, command, missing):
    """As after `make demo`, which installs neither of them."""
    code = f'import sys; sys.modules[{missing!r}] = None; import runpy; runpy.run_path("training/{command}.py")'
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'error: {command} needs {missing}')
    assert 'pip install' in line and "'torch'" in line


def test_synthesize_names_everything_it_needs(root):
    """As after `make demo`: VTK alone would only lead to the next missing one."""
    code = 'import sys; sys.modules["trimesh"] = None; import training.synthesize'
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: synthesize needs trimesh')
    assert "'trimesh' 'vtk'" in line


def test_what_two_extras_need_is_named_once():
    words = pip_install(['quantization', 'training']).split()
    assert len(words) == len(set(words)) > 3


def test_the_packages_are_those_of_setup_cfg(root):
    parser = configparser.ConfigParser()
    parser.read(root / 'setup.cfg')
    listed = [
        line.partition(';')[0].strip()
        for extra in ('bags', 'report')
        for line in parser['options.extras_require'][extra].strip().splitlines()
    ]
    words = pip_install(['bags', 'report']).removeprefix('pip install ').split(' ')
    assert sorted(words) == sorted(f"'{name}'" for name in listed)


def test_a_module_of_this_project_that_is_missing_is_no_package_to_install():
    with pytest.raises(ModuleNotFoundError), optional_packages('command', ['bags']):
        import custom_pose_ros.nothing_like_it  # noqa: F401


@pytest.mark.parametrize('folder', ['~/cache', 'cache', '~nobody_here'])
def test_cache_folders_that_are_not_absolute_are_ignored(monkeypatch, folder):
    """Matplotlib would make them in the current folder, with the name `~` for example."""
    monkeypatch.setenv('XDG_CACHE_HOME', folder)
    monkeypatch.setenv('XDG_CONFIG_HOME', str(Path.cwd()))
    assert command(lambda _: 'XDG_CACHE_HOME' in os.environ)([]) is False
    assert os.environ['XDG_CONFIG_HOME'] == str(Path.cwd())


class Terminal(io.StringIO):
    def isatty(self):
        return True


def replace_stderr(monkeypatch, stream: io.StringIO) -> io.StringIO:
    """Put the stream in place of stderr; not in a fixture, after which pytest sets stderr once more."""
    monkeypatch.setattr(sys, 'stderr', stream)
    return stream


@pytest.fixture
def clock(monkeypatch):
    """Stand in for the clock of the lines."""
    clock = types.SimpleNamespace(now=100.0)
    monkeypatch.setattr(command_line, 'time', types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def last_drawn(terminal) -> str:
    return terminal.getvalue().split('\r')[-1]


def test_the_bar_ends_with_the_last_count(monkeypatch):
    terminal = replace_stderr(monkeypatch, Terminal())
    with progress_bar('frames', 4, 'frame') as bar:
        assert 'frames:   0%' in last_drawn(terminal)
        bar.update(4)
    assert last_drawn(terminal).startswith('frames: 100%') and '4/4' in last_drawn(terminal)
    assert last_drawn(terminal).endswith('\n')


def test_a_cleared_bar_leaves_the_line_free_and_comes_back(monkeypatch):
    terminal = replace_stderr(monkeypatch, Terminal())
    with progress_bar('frames', None, 'frame') as bar:
        bar.clear()
        wiped, start = terminal.getvalue().split('\r')[-2:]
        assert (wiped.strip(), start) == ('', '')
        bar.update(2)
    assert 'frames: 2frame' in last_drawn(terminal)


def test_a_bar_inside_another_one_takes_its_line(monkeypatch):
    terminal = replace_stderr(monkeypatch, Terminal())
    with progress_bar('images', 3, 'image') as outer:
        outer.clear()
        with progress_bar('clip.mp4', 4, 'frame') as inner:
            inner.clear()
            assert '\n' not in terminal.getvalue()


def test_nothing_is_written_to_a_log_for_short_work(monkeypatch, capsys):
    log = replace_stderr(monkeypatch, io.StringIO())
    with progress_bar('frames', 4, 'frame') as bar:
        for _ in range(4):
            bar.update()
            bar.clear()
    assert log.getvalue() == capsys.readouterr().out == ''


def test_a_log_has_a_line_every_five_seconds(monkeypatch, clock):
    log = replace_stderr(monkeypatch, io.StringIO())
    with progress_bar('frames', 100, 'frame') as bar:
        bar.mininterval = 0  # whatever the pace of this test
        for _ in range(12):
            clock.now += 1.0
            bar.update()
            bar.clear()
    first, second = log.getvalue().splitlines()
    assert first.startswith('frames:   5%') and '5/100' in first
    assert second.startswith('frames:  10%') and '10/100' in second
