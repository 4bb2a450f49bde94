from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, replace
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
    assert moved.told("machine") == "A, 16 CPUs, from epoch 49 on B, 2 CPUs"
    assert moved.told("torch") == "2.13.0, from epoch 49 on 2.14.0"
    assert (moved.told("numpy"), moved.told("commit"), moved.told("threads")) == ("2.0", "abc", "1, from epoch 49 on 2")
    assert start.resumed(replace(start, command="evenbit train --resume"), 2) == start
    assert moved.resumed(other, 50) == moved
    assert moved.resumed(replace(other, commit=None), 50).told("commit") == "abc, from epoch 50 on unknown"
    back = moved.resumed(start, 51)
    assert back.told("machine") == "A, 16 CPUs, from epoch 49 on B, 2 CPUs, from epoch 51 on A, 16 CPUs"
    assert Origin.from_dict(json.loads(json.dumps(asdict(back)))) == back
