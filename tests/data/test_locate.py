from __future__ import annotations

from pathlib import Path

import pytest

from evenbit.data.locate import Source
from evenbit.errors import DataError

FILES = ("one.bin", "two.bin")


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENBIT_DATA", raising=False)


def make(folder: Path, files: tuple[str, ...] = FILES) -> Path:
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).touch()
    return folder


def find(root: Path | None, system: tuple[str, ...] = ()) -> Path:
    return Source("set", "set-bin", FILES, "https://example.org/set", system).locate(root)


def test_root_is_the_folder_or_its_parent(tmp_path: Path):
    folder = make(tmp_path / "set-bin")
    assert find(folder) == find(tmp_path) == folder


def test_the_variable_is_the_folder_or_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = make(tmp_path / "set-bin")
    for place in (folder, tmp_path):
        monkeypatch.setenv("EVENBIT_DATA", str(place))
        assert find(None) == folder


def test_root_wins_over_the_variable_and_both_over_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given, variable, system = (make(tmp_path / name / "set-bin") for name in ("given", "variable", "system"))
    assert find(None, (str(system),)) == system
    monkeypatch.setenv("EVENBIT_DATA", str(variable))
    assert find(None, (str(system),)) == variable
    assert find(given, (str(system),)) == given


def test_a_folder_that_lacks_a_file_is_passed_over(tmp_path: Path):
    make(tmp_path / "half", ("one.bin",))
    system = make(tmp_path / "system")
    assert find(tmp_path / "half", (str(system),)) == system


def test_missing_data_names_files_places_and_page(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        find(tmp_path / "here", ("/no/such/place",))
    message = str(caught.value)
    assert message.startswith("set not found: it needs one.bin, two.bin; looked in ")
    for part in (tmp_path / "here", tmp_path / "here" / "set-bin", "/no/such/place", "https://example.org/set"):
        assert str(part) in message
    assert "\n" not in message


def test_without_any_place_it_says_how_to_give_one():
    with pytest.raises(DataError, match=r"it needs .*; give --data-root or set EVENBIT_DATA; get them from"):
        find(None)
