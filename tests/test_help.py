from __future__ import annotations

import subprocess
import sys

import pytest

from evenbit.cli import app, main


def test_help_groups_the_commands_and_gives_each_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    titles = [line.split()[1] for line in lines if line.startswith("╭")]
    assert titles == ["Train", "Deploy", "Measure", "Help"]
    rows = [line.removeprefix("│ ") for line in lines if line.startswith("│ ")]
    assert not [row for row in rows if row.startswith(" ")]  # a second line of a summary
    assert {row.split()[0] for row in rows} >= {name for name in app if name not in ("-h", "--help", "--version")}


def test_the_package_can_be_run() -> None:
    command = [sys.executable, "-m", "evenbit", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0.1.0\n"


def test_every_command_has_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in app:
        if not name.startswith("-"):
            assert main([name, "--help"]) == 0
            text = capsys.readouterr().out
            assert text.startswith(f"Usage: evenbit {name}")
            assert max(map(len, text.splitlines())) <= 80
