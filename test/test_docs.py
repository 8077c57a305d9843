"""The README and the pages of docs/: short, with links that lead somewhere, and commands that exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest
from declared_packages import console_scripts

from custom_pose_ros.core import command_line
from custom_pose_ros.core.geometry.camera import CameraIntrinsics

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / 'README.md'
PAGES = sorted((ROOT / 'docs').glob('*.md'))
TEXTS = [README, ROOT / 'CONTRIBUTING.md', *PAGES]
MOST_WORDS = 900


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r'^```.*?^```', '', path.read_text(encoding='utf-8'), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Return what the headings of a page are called in links, as GitHub and MyST make it."""
    headings = re.findall(r'^#+ (.*)$', prose(path), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-') for heading in headings}


def links(path: Path) -> list[str]:
    """Return the targets of all links, pictures and included files of a page."""
    text = path.read_text(encoding='utf-8')
    directives = re.findall(r'^```\{(?:image|include|literalinclude)\} (\S+)', text, re.MULTILINE)
    return re.findall(r'\]\(([^)\s]+)\)', re.sub(r'`[^`\n]*`', '', prose(path))) + directives


def named_files(path: Path) -> list[str]:
    """Return the files of this repository that a page names, less those that the reader is to make."""
    names = re.findall(r'`((?:training|test|custom_pose_ros|config|launch|docs)/[\w./-]+)`', prose(path))
    return [name for name in names if not re.match('config/(my_object|airplane)', name)]


def commands(path: Path) -> list[list[str]]:
    """Return the commands of a page in words: those of its shell blocks and those in the cells of its tables."""
    text = path.read_text(encoding='utf-8')
    blocks = re.findall(r'^```bash\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace('\\\n', ' ').splitlines()]
    lines += re.findall(r'\| `([^`]*(?:make|python) [^`]*)` \|', text)
    parts = [part for line in lines for part in re.split(r' && ', line)]
    return [shlex.split(part, comments=True) for part in parts if part.strip() and not part.lstrip().startswith('#')]


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding='utf-8').split()) <= MOST_WORDS


@pytest.mark.parametrize('path', TEXTS, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in links(path):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == 'https' and re.fullmatch(r'[\w.-]+\.\w+', parts.netloc), link
            continue
        target = (path.parent / parts.path).resolve() if parts.path else path
        assert target.exists(), link
        assert not parts.fragment or parts.fragment in anchors(target), link


@pytest.mark.parametrize('path', TEXTS, ids=name_of)
def test_every_file_that_is_named_exists(path: Path) -> None:
    assert [name for name in named_files(path) if not (ROOT / name).exists()] == []


def test_every_page_is_in_the_contents_once() -> None:
    tree = (ROOT / 'docs/index.md').read_text(encoding='utf-8')
    listed = re.findall(r'^(\w+)$', '\n'.join(re.findall(r'```\{toctree\}(.*?)```', tree, re.DOTALL)), re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in PAGES if path.stem != 'index')


def test_figures_stand_in_one_place() -> None:
    """A row of a table that holds figures is on one page only."""
    rows = [
        (line, path.name)
        for path in TEXTS
        for line in path.read_text(encoding='utf-8').splitlines()
        if line.startswith('| ') and re.search(r'\d+\.\d', line)
    ]
    assert len({line for line, _ in rows}) == len(rows)


def make_targets() -> set[str]:
    return set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.MULTILINE))


def launch_arguments(file: str) -> str:
    """Return the text of the launch files that declare the arguments of one of them."""
    names = {file, 'custom_pose.launch.py'}
    return ''.join((ROOT / 'launch' / name).read_text(encoding='utf-8') for name in names)


def assert_python_exists(words: list[str]) -> None:
    """Check that the script, module or tests of a command exist, and that the script knows its options."""
    if words[0] == '-c':
        return
    if words[:2] == ['-m', 'pytest']:
        assert (ROOT / words[2]).exists(), words
        return
    if words[0] == '-m':
        assert words[1].startswith(('custom_pose_ros.tools.', 'custom_pose_ros.nodes.')), words
        script = ROOT / (words[1].replace('.', '/') + '.py')
        words = words[1:]
        if '.nodes.' in words[0]:  # ROS reads its arguments
            assert script.is_file(), words
            return
    else:
        script = ROOT / words[0]
    assert script.is_file(), words
    assert_options_exist(script, words[1:])


def assert_options_exist(script: Path, words: list[str]) -> None:
    text = script.read_text(encoding='utf-8')
    if re.search(r'add_(mesh|lens|outline)_options?\(', text):  # options that several commands share
        for shared in ('command_line', 'geometry/mesh_frame'):
            text += (ROOT / f'custom_pose_ros/core/{shared}.py').read_text(encoding='utf-8')
    for word in words:
        if word.startswith('--') and word not in ('--help', '--ros-args', '--enclave'):
            assert f"'{word.partition('=')[0]}'" in text, f'{script.name} has no {word}'


def assert_exists(words: list[str]) -> None:
    """Check one command as far as that is possible without running it."""
    while words and re.fullmatch(r'[A-Z_]+=\S*', words[0]):
        words = words[1:]
    if not words:
        return
    if words[0] == 'make':
        assert words[1] in make_targets(), words
    elif words[0] in ('python', '.venv/bin/python'):
        assert_python_exists(words[1:])
    elif words[:3] == ['ros2', 'launch', 'custom_pose_ros']:
        text = launch_arguments(words[3])
        for argument in words[4:]:
            name, assigned, _ = argument.partition(':=')
            assert argument == '--show-args' or (assigned and f"'{name}'" in text), argument
    elif words[:3] == ['ros2', 'run', 'custom_pose_ros']:
        module = console_scripts()[words[3]].partition(':')[0]
        assert_options_exist(ROOT / f'custom_pose_ros/{module.replace(".", "/")}.py', words[4:])


@pytest.mark.parametrize('path', TEXTS, ids=name_of)
def test_every_command_exists(path: Path) -> None:
    for words in commands(path):
        assert_exists(words)


@pytest.mark.parametrize(
    'line',
    [
        'make dmo',
        'python training/trian.py',
        'python training/train.py --minuts 3',
        'ros2 run custom_pose_ros evaluate_bag --truht x',
        'ros2 launch custom_pose_ros custom_pose.launch.py camra:=front',
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        assert_exists(shlex.split(line))


def test_the_pages_build_without_a_warning(tmp_path) -> None:
    """As `make docs` does it; links and pictures that lead nowhere and docstrings out of form are warnings."""
    pytest.importorskip('furo', reason='Sphinx is missing: run `make docs` or `make test`')
    command = [sys.executable, '-m', 'sphinx', '--fail-on-warning', '--keep-going', '--quiet', ROOT / 'docs', tmp_path]
    built = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / 'python_api.html').is_file()


def test_the_code_names_the_steps_of_the_filter_page() -> None:
    numbers = re.findall(r'^\*\*Step (\d+):', (ROOT / 'docs/filter.md').read_text(encoding='utf-8'), re.MULTILINE)
    modules = (ROOT / 'custom_pose_ros/core/orientation').glob('*.py')
    code = ' '.join(path.read_text(encoding='utf-8') for path in modules)
    named = set(re.findall(r'\b[Ss]teps? (\d+)', code))
    assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))
    assert named == set(numbers)


def test_the_exit_codes_of_the_docs_are_those_of_the_commands() -> None:
    text = (ROOT / 'docs/troubleshooting.md').read_text(encoding='utf-8')
    codes = re.findall(r'^\| (\d+) \| (\w+)', text, re.MULTILINE)
    assert codes == [
        (str(command_line.DONE), 'done'),
        (str(command_line.CANNOT), 'cannot'),
        (str(command_line.WRONG_USE), 'wrong'),
        (str(command_line.PARTLY), 'done'),
        (str(command_line.INTERRUPTED), 'interrupted'),
    ]


def load_generator(name: str) -> ModuleType:
    """Import a script of docs/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f'docs/{name}.py')
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    return generator


def test_the_page_of_parameters_is_that_of_the_declarations() -> None:
    pytest.importorskip('rclpy', reason='ROS is missing: run `make test`')
    generator = load_generator('generate_parameters')
    assert generator.PAGE.read_text(encoding='utf-8') == generator.page(), 'run python docs/generate_parameters.py'


def test_the_page_of_commands_has_all_that_there_are() -> None:
    scripts = {path.stem for path in (ROOT / 'training').glob('*.py')} - {'__init__'}
    tools = {name for name, function in console_scripts().items() if function.startswith('tools.')}
    headings = re.findall('^## (.*)$', (ROOT / 'docs/commands.md').read_text(encoding='utf-8'), re.MULTILINE)
    assert sorted(headings) == sorted(scripts | tools)


def test_the_page_of_commands_is_that_of_their_parsers() -> None:
    for package in ('rclpy', 'rosbags', 'torch', 'vtk'):
        pytest.importorskip(package, reason=f'{package} is missing: run `make test`')
    generator = load_generator('generate_commands')
    assert generator.PAGE.read_text(encoding='utf-8') == generator.page(), 'run python docs/generate_commands.py'


def test_the_calibration_from_four_numbers_can_be_read(tmp_path):
    page = (ROOT / 'docs/lifecycle_and_cameras.md').read_text(encoding='utf-8')
    (example,) = re.findall(r'^```yaml\n(image_width.*?)^```', page, re.MULTILINE | re.DOTALL)
    (tmp_path / 'camera.yaml').write_text(example)
    camera = CameraIntrinsics.from_yaml(tmp_path / 'camera.yaml')
    assert (camera.width, camera.height, camera.has_distortion) == (640, 480, False)
    assert camera.K.tolist() == [[601.2, 0, 318.4], [0, 600.8, 241.7], [0, 0, 1]]
