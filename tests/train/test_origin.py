from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from evenbit.train.origin import Origin, command_line, source_commit


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [
        (["/somewhere/bin/evenbit", "train", "--out", "my run"], "evenbit train --out 'my run'"),
        (["/somewhere/evenbit/__main__.py", "train", "digits-resnet8-fd"], "evenbit train digits-resnet8-fd"),
        (["scripts/mine.py", "3"], "python mine.py 3"),
    ],
)
def test_the_command_is_told_as_it_is_typed(arguments: list[str], typed: str) -> None:
    assert command_line(arguments) == typed


def test_the_commit_is_that_of_a_checkout_that_holds_the_package(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert source_commit(package) is None
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    assert source_commit(package) is None  # in the folder of a checkout, but no part of it
    git("add", "package")
    git("commit", "-m", "second")
    git("tag", "v1")
    assert source_commit(package) == git("rev-parse", "HEAD")
    (package / "__init__.py").write_text("changed = True")
    assert source_commit(package) == git("rev-parse", "HEAD") + "-dirty"


def test_a_run_that_goes_on_elsewhere_says_so() -> None:
    start = Origin("evenbit train", {"torch": "2.13.0", "numpy": "2.0"}, "A, 16 CPUs", "abc", 1)
    other = Origin("evenbit train --resume", {"torch": "2.14.0", "numpy": "2.0"}, "B, 2 CPUs", "abc", 2)
    moved = start.resumed(other, 49)
    assert moved.machine == "A, 16 CPUs, from epoch 49 on B, 2 CPUs"
    assert moved.versions == {"torch": "2.13.0, from epoch 49 on 2.14.0", "numpy": "2.0"}
    assert (moved.command, moved.commit, moved.threads) == (start.command, start.commit, start.threads)
    assert start.resumed(start, 2) == start
    assert moved.resumed(other, 50) == moved
