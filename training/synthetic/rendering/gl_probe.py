"""Finds the off-screen OpenGL of this machine before VTK, lacking it, would end in a segmentation fault."""

from __future__ import annotations

import os
import subprocess
import sys

from custom_pose_ros.core.errors import ConfigError

WINDOWS = {
    'vtkEGLRenderWindow': 'libegl1 libgl1-mesa-dri',
    'vtkOSOpenGLRenderWindow': 'libosmesa6',
}  # and their Debian packages
_VARIABLE = 'VTK_DEFAULT_OPENGL_WINDOW'
_PROBE = """
import vtkmodules.vtkRenderingOpenGL2
from vtkmodules.vtkCommonCore import vtkUnsignedCharArray
from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow
window = vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(16, 16)
scene = vtkRenderer()
scene.SetBackground(1, 1, 1)
window.AddRenderer(scene)
window.Render()
pixels = vtkUnsignedCharArray()
window.GetRGBACharPixelData(0, 0, 15, 15, 0, pixels)
print('drawn' if pixels.GetNumberOfTuples() == 256 and pixels.GetTuple(0)[0] == 255 else 'empty')
"""


def missing_requirement() -> str | None:
    """
    Return one line that says what to install before anything can be drawn, or None when all is there.

    With None, the environment variable that makes VTK draw off-screen is set for this process and its children.
    """
    os.environ.setdefault('LP_NUM_THREADS', '1')  # one picture per process is quicker than many threads per picture
    wanted = os.environ.get(_VARIABLE)
    for window in [wanted] if wanted else WINDOWS:
        if _draws(window):
            os.environ[_VARIABLE] = window
            return None
    choices = ', or '.join(WINDOWS.values())
    return f'synthetic images need an off-screen OpenGL: apt-get install {choices} (Debian and Ubuntu package names)'


def require_gl() -> None:
    """Raise ConfigError with that line when something is missing."""
    line = missing_requirement()
    if line is not None:
        raise ConfigError(line)


def _draws(window: str) -> bool:
    """Say whether a separate process can draw with this kind of window: it may crash without harm."""
    environment = {**os.environ, _VARIABLE: window}
    try:
        result = subprocess.run(
            [sys.executable, '-c', _PROBE], env=environment, capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0 and result.stdout.strip().endswith('drawn')
