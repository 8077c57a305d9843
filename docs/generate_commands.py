"""
Write docs/commands.md from the options of all commands; a test compares them.

    python docs/generate_commands.py

Needs the environment of `make test`.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PAGE = ROOT / 'docs/commands.md'
TOOLS = ('predict', 'analyze_object', 'evaluate_bag', 'demo')  # installed; the others are scripts of training/
SCRIPTS = (
    'prepare_dataset', 'train', 'evaluate', 'export_onnx', 'export_tensorrt', 'quantize', 'measure_object',
    'prelabel', 'adapt', 'choose_keypoints', 'synthesize', 'outline',
)  # fmt: skip
HEAD = """\
<!-- Written by docs/generate_commands.py. -->
# Commands and their options

What `--help` of each command says. Every command also takes `--debug`, which shows where in the program an error
occurred, and ends with one of the [exit codes](troubleshooting.md#exit-codes). What is **bold** must be given; `...`
behind an option: it may be repeated.
"""


class _ParserFound(BaseException):  # no Exception, of which commands make one line
    pass


def page() -> str:
    """Return the text of the page."""
    tools = [section(f'ros2 run custom_pose_ros {name}', f'custom_pose_ros.tools.{name}') for name in TOOLS]
    scripts = [section(f'python training/{name}.py', f'training.{name}') for name in SCRIPTS]
    return '\n'.join([HEAD, *tools, *scripts])


def section(line: str, module: str) -> str:
    """Return heading, purpose and table of one command, whose `main` is in a module."""
    parser = parser_of(module)
    purpose = ' '.join((parser.description or '').strip().partition('\n\n')[0].split())
    rows = [row(parser, action) for action in parser._actions if action.dest not in ('help', 'debug')]
    head = [f'## {module.rpartition(".")[2]}', '', f'`{line}`: {text(purpose)}', '']
    return '\n'.join([*head, '| option | meaning |', '|---|---|', *rows, ''])


def parser_of(module: str) -> argparse.ArgumentParser:
    """Return the parser that the command builds when it starts."""
    with mock.patch.object(argparse.ArgumentParser, 'parse_args', autospec=True, side_effect=_ParserFound) as parse:
        try:
            importlib.import_module(module).main([])
        except _ParserFound:
            return parse.call_args.args[0]
    raise AssertionError(f'{module} parsed no arguments')


def row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return one line of a table."""
    formatter = parser._get_formatter()
    if action.option_strings:
        values = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
        repeated = '...' if isinstance(action, argparse._AppendAction) else ''
        shown = ' '.join(filter(None, (', '.join(action.option_strings), values, repeated)))
    else:
        shown = formatter._format_args(action, formatter._get_default_metavar_for_positional(action))
    bold = '**' if action.required and action.nargs != '*' else ''
    return f'| {bold}`{escaped(shown)}`{bold} | {text(formatter._expand_help(action))} |'


def text(help_text: str) -> str:
    """Return a help text for Markdown, its options as code."""
    plain = escaped(' '.join(help_text.split())).replace('<', r'\<').replace('*', r'\*')
    return re.sub(r'(?<![\w`-])(--[a-z][\w-]*(=\S+)?)', r'`\1`', plain)


def escaped(cell: str) -> str:
    """Return what may stand in a cell of a table, also as code."""
    return cell.replace('|', r'\|')


if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')
