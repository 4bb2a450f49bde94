"""Equal files in two classes, or on both sides of the split, are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evenbit.data import Dataset, Split, load_dataset
from evenbit.data.copies import BEGINNING, describe_copies


def dataset(folder: Path, train: dict[str, bytes], test: dict[str, bytes]) -> Dataset:
    """Files with some bytes; the first letter of a name is its class."""
    splits = []
    for files in (train, test):
        for name, data in files.items():
            (folder / name).write_bytes(data)
        labels = np.array(["ab".index(name[0]) for name in files])
        splits.append(Split(np.zeros((len(files), 3, 8, 8), np.uint8), labels, tuple(folder / name for name in files)))
    return Dataset("x", ("a", "b"), *splits)


def test_nothing_is_told_of_files_that_differ_or_are_equal_where_it_does_no_harm(tmp_path: Path) -> None:
    assert describe_copies(dataset(tmp_path, {"a1": b"1", "a2": b"1", "b1": b"2"}, {"a3": b"33", "b2": b"4"})) == []
    assert describe_copies(load_dataset("digits")) == []


def test_the_same_file_in_two_classes_is_told_once(tmp_path: Path) -> None:
    found = describe_copies(dataset(tmp_path, {"a1": b"1", "b1": b"1", "b2": b"7"}, {"a2": b"5", "b3": b"5"}))
    assert found == [
        f"2 photos are in two classes: {tmp_path / 'a1'} and {tmp_path / 'b1'} are the same file; remove the wrong one"
    ]


def test_both_are_told_of_one_file(tmp_path: Path) -> None:
    found = describe_copies(dataset(tmp_path, {"a1": b"1", "b1": b"1"}, {"b2": b"1"}))
    assert [line.split(":")[0] for line in found] == [
        "1 photo is in two classes",
        "1 photo is trained on and tested on",
    ]


def test_only_files_that_begin_alike_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = bytes(BEGINNING)
    files = {"a1": common + b"1", "a2": common + b"2", "b1": b"1" + common, "b2": common + b"2"}
    found = dataset(tmp_path, files, {"a3": b"3"})
    (tmp_path / "a3").unlink()  # what has vanished is no copy
    read: list[str] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or real(path))
    (line,) = describe_copies(found)
    assert f"{tmp_path / 'a2'} and {tmp_path / 'b2'} are the same file" in line
    assert sorted(read) == ["a1", "a2", "b2"]


def test_a_file_to_train_and_to_test_on_is_told(tmp_path: Path) -> None:
    found = describe_copies(dataset(tmp_path, {"a1": b"1", "b1": b"2"}, {"a2": b"1", "b2": b"3"}))
    assert found == [
        f"1 photo is trained on and tested on: {tmp_path / 'a1'} and {tmp_path / 'a2'} are the same file; remove one"
    ]
