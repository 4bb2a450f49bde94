from __future__ import annotations

import os
from pathlib import Path

import pytest

from evenbit.files import check_target


def test_a_target_that_can_be_written_passes_and_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("kept")
    check_target(tmp_path / "old")
    check_target(tmp_path / "new")
    assert (tmp_path / "old").read_text() == "kept"
    assert not (tmp_path / "new").exists()


def test_a_target_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        check_target(tmp_path / "gone" / "file")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_target(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anywhere
    with pytest.raises(PermissionError, match="folder cannot be written"):
        check_target(tmp_path / "file")
