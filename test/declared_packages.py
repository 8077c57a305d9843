"""What setup.py and package.xml declare; the latter is all that `colcon test` has after `rosdep install`."""

from __future__ import annotations

import ast
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
# rosdep key -> module, where the names differ.
ROSDEP_MODULES = {
    'python3-numpy': 'numpy',
    'python3-onnxruntime-pip': 'onnxruntime',
    'python3-opencv': 'cv2',
    'python3-yaml': 'yaml',
}


def dependencies(path: Path) -> set[str]:
    """Return all rosdep keys and package names in a package.xml."""
    return {element.text for element in ElementTree.parse(path).getroot() if element.tag.endswith('depend')}


def declared_modules() -> set[str]:
    """Return the modules of the dependencies of this package."""
    keys = dependencies(ROOT / 'package.xml')
    return {ROSDEP_MODULES.get(key, key.removeprefix('python3-').replace('-', '_')) for key in keys}


def missing_extra(error: BaseException | None) -> str | None:
    """Return the module, of neither this repository nor a dependency, that could not be imported; else None."""
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__ or error.__context__
    name = (error.name or '').partition('.')[0] if error else ''
    is_own = (ROOT / name).exists() or (ROOT / 'test' / f'{name}.py').exists()
    return name if name and not is_own and name not in declared_modules() else None


def console_scripts() -> dict[str, str]:
    """Return the commands of setup.py: name -> module:function."""
    tree = ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8'))
    return next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'COMMANDS'
    )
