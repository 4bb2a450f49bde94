from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evenbit.data import channel_statistics, dataset, hold_out, image_files, load_dataset
from evenbit.data.image_files import ImageFiles
from evenbit.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of 12 images of noise each."""
    draw = np.random.default_rng(3)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(12):
            pixels = draw.integers(0, 256, (11, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index:02}.png")
    return tmp_path


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_memory", lambda: 4 * 24 * 3 * 8 * 8 - 1)


def test_images_too_many_for_memory_stay_in_files_and_are_the_same(photos: Path, monkeypatch: pytest.MonkeyPatch):
    held = load_dataset(str(photos), size=8)
    monkeypatch.setattr(image_files, "_memory", lambda: 4 * 24 * 3 * 8 * 8)
    assert isinstance(load_dataset(str(photos), size=8).train.images, np.ndarray)
    monkeypatch.setattr(image_files, "_memory", lambda: 4 * 24 * 3 * 8 * 8 - 1)
    filed = load_dataset(str(photos), size=8)
    assert filed.shape == held.shape
    for inside, outside in ((held.train, filed.train), (held.test, filed.test)):
        assert isinstance(outside.images, ImageFiles)
        assert outside.images.shape == inside.images.shape
        assert outside.images.nbytes == inside.images.nbytes
        np.testing.assert_array_equal(outside.images[:], inside.images)
        np.testing.assert_array_equal(outside.labels, inside.labels)
    some = np.array([5, 0, 5])
    np.testing.assert_array_equal(filed.train.images[some], held.train.images[some])
    np.testing.assert_array_equal(filed.train.images[2:4], held.train.images[2:4])
    assert channel_statistics(filed.train.images) == channel_statistics(held.train.images)


def test_what_is_held_out_stays_in_files_too(photos: Path, little_memory: None, monkeypatch: pytest.MonkeyPatch):
    filed = hold_out(load_dataset(str(photos), size=8), 0.3)
    monkeypatch.undo()
    held = hold_out(load_dataset(str(photos), size=8), 0.3)
    for inside, outside in ((held.train, filed.train), (held.test, filed.test)):
        assert isinstance(outside.images, ImageFiles)
        np.testing.assert_array_equal(outside.images[:], inside.images)
        np.testing.assert_array_equal(outside.labels, inside.labels)


def test_what_is_no_image_is_named_at_once(photos: Path, little_memory: None):
    (photos / "b" / "03.png").write_text("no image")
    (photos / "a" / "05.png").write_text("no image")
    with pytest.raises(
        DataError, match=r"(/b/03|/a/05)\.png cannot be read as an image.*; .*(/a/05|/b/03)\.png cannot"
    ):
        load_dataset(str(photos), size=8)


def test_a_file_that_is_cut_short_is_named_when_it_is_asked_for(photos: Path, little_memory: None):
    broken = photos / "b" / "03.png"
    broken.write_bytes(broken.read_bytes()[:200])
    splits = load_dataset(str(photos), size=8)
    files = next(
        split.images
        for split in (splits.train, splits.test)
        if any("03" in path.name and path.parent.name == "b" for path in split.images.paths)  # type: ignore[union-attr]
    )
    assert isinstance(files, ImageFiles)
    place = next(i for i, path in enumerate(files.paths) if path.parent.name == "b" and path.name == "03.png")
    with pytest.raises(DataError, match=r"/b/03\.png cannot be read as an image"):
        files[place : place + 1]
    assert len(files[np.array([0 if place else 1])]) == 1


def test_memory_is_shared_with_the_processes_beside_and_has_the_limit_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = image_files._memory()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert image_files._memory() == whole // 4
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text("40000\n")
    monkeypatch.setattr(image_files, "MEMORY_LIMITS", [str(tmp_path / name) for name in ("none", "max", "limit")])
    assert image_files._memory() == 10000


def test_damage_that_is_read_past_goes_unsaid(photos: Path):
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\0"  # a directory that is cut off
    for name in ("a", "b"):
        Image.new("RGB", (9, 9)).save(photos / name / "damaged.jpg", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = load_dataset(str(photos), size=8)
    assert len(dataset.train) + len(dataset.test) == 26


def test_statistics_of_many_images_are_those_of_some_spread_evenly(monkeypatch: pytest.MonkeyPatch):
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 4, 4), dtype=np.uint8)
    whole = channel_statistics(images)
    monkeypatch.setattr(dataset, "STATISTICS_BATCH", 3)
    assert channel_statistics(images) == whole
    monkeypatch.setattr(dataset, "MOST_IN_STATISTICS", 5)
    assert channel_statistics(images) == channel_statistics(images[::2]) != whole
