"""What is at a path is whole at every moment, whatever becomes of the process that writes there."""

from __future__ import annotations

import errno
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from evenbit import files
from evenbit.files import append_line, check_target, is_part, part_path, write_atomically, write_together

OLD, NEW = b"old" * 1000, b"new" * 2000


def in_child(work: Callable[[], None]) -> int:
    """Runs `work` in a forked process; its exit status, or minus the signal that ended it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, none of which write files
        child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying_at(line: int) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that kills the process before the line that `files.py` runs as number `line`."""
    lines = iter(range(line + 1))

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != files.__file__:
            return None
        if event == "line" and next(lines) == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def test_writing_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (OLD, NEW, b""):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_killed_before_any_line_the_file_is_whole_and_the_next_write_clears_up(tmp_path: Path) -> None:
    path, found, lines = tmp_path / "file", set(), 0
    while True:
        path.write_bytes(OLD)

        def work(line: int = lines) -> None:
            sys.settrace(dying_at(line))
            write_atomically(path, NEW)

        status = in_child(work)
        left = [item for item in tmp_path.iterdir() if item != path]
        assert all(item == part_path(path) and is_part(item) for item in left)
        found.add((path.read_bytes(), bool(left)))
        if status == 0:
            break
        assert status == -signal.SIGKILL
        lines += 1
        write_atomically(path, OLD)
        assert list(tmp_path.iterdir()) == [path]
    assert lines > 20
    assert found == {(OLD, False), (OLD, True), (NEW, False)}


def test_of_several_writers_each_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([value]) * 300_000 for value in range(3)]
    write_atomically(path, contents[0])

    def work() -> None:
        children = []
        for content in contents:
            child = os.fork()
            if child == 0:
                for _ in range(10):
                    write_atomically(path, content)
                os._exit(0)
            children.append(child)
        for child in children:
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                assert path.read_bytes() in contents
        assert all(path.read_bytes() in contents for _ in children)

    assert in_child(work) == 0
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_write_changes_nothing_and_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.write_bytes(OLD)
    calls = iter(range(2))  # the second file's fails

    def full(_: int) -> None:
        if next(calls):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        write_together({one: NEW, two: NEW})
    assert error.value.filename == str(two)
    assert [one.read_bytes(), two.read_bytes()] == [OLD, OLD]
    assert sorted(tmp_path.iterdir()) == [one, two]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_atomically(tmp_path / "gone" / "file", NEW)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_atomically(tmp_path, NEW)

    def read_only(self: Path, *_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", read_only)
    with pytest.raises(PermissionError) as error:
        write_atomically(tmp_path / "file", NEW)
    assert error.value.filename == str(tmp_path / "file")


def test_a_link_in_the_place_of_a_part_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(OLD)
    part_path(tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links") as error:
        write_atomically(tmp_path / "file", NEW)
    assert error.value.filename == str(tmp_path / "file")
    assert (tmp_path / "elsewhere").read_bytes() == OLD


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "file").write_bytes(OLD)
    (tmp_path / "link").symlink_to(tmp_path / "big" / "file")
    check_target(tmp_path / "link")
    write_atomically(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "big" / "file").read_bytes() == NEW


def test_lines_are_added(tmp_path: Path) -> None:
    append_line(tmp_path / "log", "one")
    append_line(tmp_path / "log", "two")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
    with pytest.raises(FileNotFoundError) as error:
        append_line(tmp_path / "gone" / "log", "one")
    assert error.value.filename == str(tmp_path / "gone" / "log")


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
    with pytest.raises(FileExistsError, match="is not a file that can be replaced"):
        check_target(Path("/dev/null"))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anywhere
    with pytest.raises(PermissionError, match="folder cannot be written"):
        check_target(tmp_path / "file")
