"""The bar on a real terminal: a pseudo-terminal whose other end the test reads."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from evenbit.progress import part

# Long enough for a time left to be known, and a line printed above the bar.
CODE = """
import time
from rich.console import Console
from evenbit.progress import bar
console = Console()
with bar("counting", console) as progress:
    for done in range(8):
        progress(done + 1, 10)
        time.sleep(0.1)
    console.print("a line", markup=False)
"""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(code: str = CODE, *, piped: bool = False, **variables: str) -> tuple[str, str]:
    """What code writes to a terminal and, if its output is a pipe, into that."""
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": "80", **variables}
    stdout = subprocess.PIPE if piped else theirs
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=stdout, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            shown += data
        output = process.stdout.read() if process.stdout else b""
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode(), output.decode()


def test_a_terminal_shows_a_bar_with_the_time_left_and_keeps_the_lines() -> None:
    shown, _ = on_a_terminal()
    text = COLOUR.sub("", shown)
    assert re.search(r"counting .*80% 00:0\d left", text)
    assert "a line" in text
    assert COLOUR.search(shown)
    assert shown.rstrip("\r\n").endswith("\x1b[2K")  # the bar is wiped away


def test_without_colours_nothing_is_coloured() -> None:
    shown, _ = on_a_terminal(NO_COLOR="1")
    assert "counting" in shown
    numbers = {int(n) for code in COLOUR.findall(shown) for n in code[2:-1].split(";") if n}
    assert not numbers & {*range(30, 50), *range(90, 108)}


@pytest.mark.parametrize(("piped", "variables"), [(True, {}), (False, {"TERM": "dumb"})])
def test_a_pipe_and_a_simple_terminal_get_lines_alone(piped: bool, variables: dict[str, str]) -> None:
    shown, output = on_a_terminal(piped=piped, **variables)
    assert (output if piped else shown.replace("\r", "")) == "a line\n"
    assert not piped or shown == ""


def test_what_is_done_at_once_is_not_drawn() -> None:
    code = "from evenbit.progress import bar\nwith bar('counting') as progress:\n    progress(3, 3)\n"
    assert on_a_terminal(code) == ("", "")


def test_a_part_is_told_as_that_of_the_whole() -> None:
    told: list[tuple[float, float]] = []
    report = part(lambda *values: told.append(values), 3, 2, 10)
    assert report is not None
    report(1, 4)
    report(4, 4)
    assert told == [(3.5, 10), (5, 10)]
    assert part(None, 3, 2, 10) is None
