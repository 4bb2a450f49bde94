from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evenbit.errors import CheckpointError
from evenbit.train.lock import locked

HOLD = """
import sys
from pathlib import Path
from evenbit.train.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(CheckpointError, match="another process is training in"), locked(tmp_path / "run"):
        pass
    process.kill()  # even then the lock ends
    process.communicate()
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "kept").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["kept"]


def test_an_empty_folder_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), locked(tmp_path / "run"):
        raise ValueError("stop")
    assert not (tmp_path / "run").exists()
