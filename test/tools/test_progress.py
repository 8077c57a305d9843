"""The progress bar: a bar on a terminal, nothing but lines elsewhere."""

import io

from custom_pose_ros.tools.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bar_shows_share_and_ends_with_the_last_count():
    terminal = Terminal()
    with Progress('frames', 4, terminal) as bar:
        bar.advance()
        assert '\r\x1b[Kframes [########----------------------] 1/4' in terminal.getvalue()
        bar.advance(3)
    last = terminal.getvalue().split('\r')[-1]
    assert last.startswith('\x1b[Kframes [##############################] 4/4') and last.endswith('\n')


def test_cleared_bar_leaves_the_line_free_and_comes_back():
    terminal = Terminal()
    with Progress('frames', None, terminal) as bar:
        bar.advance()
        bar.clear()
        assert terminal.getvalue().endswith('\r\x1b[K')
        bar.advance()
        assert terminal.getvalue().split('\r')[-1].startswith('\x1b[Kframes: 2')


def test_nothing_is_written_for_short_work_elsewhere():
    file = io.StringIO()
    with Progress('frames', 4, file) as bar:
        for _ in range(4):
            bar.advance()
        bar.clear()
    assert file.getvalue() == ''
