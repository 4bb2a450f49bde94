from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evenbit.data import load_dataset
from evenbit.errors import DataError


def fill(folder: Path, counts: dict[str, int], level: int = 0) -> Path:
    """PNG images of one grey level each, counted up from `level`."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.new("L", (9, 7), level + index).save(folder / name / f"{index:03}.png")
    return folder


def levels(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_a_plain_folder_is_split_within_each_class(tmp_path: Path):
    fill(tmp_path, {"dog": 10, "cat": 20})
    dataset = load_dataset(str(tmp_path))
    assert dataset.classes == ("cat", "dog")
    assert dataset.name == str(tmp_path)
    assert dataset.shape == (3, 32, 32)
    assert np.bincount(dataset.train.labels).tolist() == [16, 8]
    assert np.bincount(dataset.test.labels).tolist() == [4, 2]
    for label, count in ((0, 20), (1, 10)):
        seen = [levels(split.images[split.labels == label]) for split in (dataset.train, dataset.test)]
        assert sorted(seen[0] + seen[1]) == list(range(count))


def test_the_split_is_the_same_each_time(tmp_path: Path):
    fill(tmp_path, {"a": 9, "b": 9})
    first, second = (load_dataset(str(tmp_path), size=8) for _ in range(2))
    np.testing.assert_array_equal(first.test.images, second.test.images)
    assert first.shape == (3, 8, 8)


@pytest.mark.parametrize("test", ["test", "val"])
def test_given_parts_are_used_as_they_are(tmp_path: Path, test: str):
    fill(tmp_path / "train", {"a": 3, "b": 1})
    fill(tmp_path / test, {"a": 1, "b": 2}, level=100)
    dataset = load_dataset(str(tmp_path))
    assert levels(dataset.train.images) == [0, 1, 2, 0]
    assert dataset.train.labels.tolist() == [0, 0, 0, 1]
    assert levels(dataset.test.images) == [100, 100, 101]
    assert dataset.test.labels.tolist() == [0, 1, 1]


def test_test_wins_over_val(tmp_path: Path):
    for level, part in enumerate(("train", "test", "val")):
        fill(tmp_path / part, {"a": 1, "b": 1}, level=100 * level)
    assert levels(load_dataset(str(tmp_path)).test.images) == [100, 100]


def test_parts_with_other_classes_are_refused(tmp_path: Path):
    fill(tmp_path / "train", {"a": 1, "b": 1})
    fill(tmp_path / "test", {"a": 1, "c": 1})
    with pytest.raises(DataError, match="the classes in test/ differ from those in train/"):
        load_dataset(str(tmp_path))


def test_hidden_and_other_files_are_passed_over(tmp_path: Path):
    fill(tmp_path, {"a": 2, "b": 2})
    fill(tmp_path, {".cache": 2})
    (tmp_path / "notes.txt").write_text("not a class")
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "a" / ".hidden.png").write_text("not an image")
    fill(tmp_path / "a", {"inside": 2})
    dataset = load_dataset(str(tmp_path))
    assert dataset.classes == ("a", "b")
    assert len(dataset.train) + len(dataset.test) == 4


def test_every_listed_suffix_is_read_in_any_case(tmp_path: Path):
    suffixes = ("jpg", "JPEG", "png", "bmp", "gif", "tif", "tiff", "webp", "ppm")
    fill(tmp_path, {"a": 2, "b": 0})
    for suffix in suffixes:
        Image.new("RGB", (4, 4)).save(tmp_path / "b" / f"x.{suffix}")
    Image.new("L", (4, 4)).save(tmp_path / "b" / "x.pgm")
    dataset = load_dataset(str(tmp_path))
    assert sum(int((split.labels == 1).sum()) for split in (dataset.train, dataset.test)) == len(suffixes) + 1


@pytest.mark.parametrize("counts", [{}, {"only": 3}])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, counts: dict[str, int]):
    fill(tmp_path, counts)
    with pytest.raises(DataError, match=f"at least two classes, but holds {len(counts)}"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("count", [0, 1])
def test_a_class_with_too_few_images_to_split_is_named(tmp_path: Path, count: int):
    fill(tmp_path, {"a": 2, "b": count})
    with pytest.raises(DataError, match=rf"class folder .*/b holds {count} images; it needs at least 2"):
        load_dataset(str(tmp_path))


def test_an_empty_class_in_a_given_part_is_named(tmp_path: Path):
    fill(tmp_path / "train", {"a": 1, "b": 1})
    fill(tmp_path / "test", {"a": 1, "b": 0})
    with pytest.raises(DataError, match=r"class folder .*/test/b holds 0 images; it needs at least 1"):
        load_dataset(str(tmp_path))


def test_a_part_under_another_name_is_not_taken_for_a_class(tmp_path: Path):
    fill(tmp_path / "train", {"a": 2, "b": 2})
    fill(tmp_path / "valid", {"a": 2, "b": 2})
    with pytest.raises(DataError, match=r"class folder .*/train holds 0 images"):
        load_dataset(str(tmp_path))


def test_an_unreadable_image_is_named(tmp_path: Path):
    fill(tmp_path, {"a": 2, "b": 2})
    broken = tmp_path / "b" / "001.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(DataError, match=r"/b/001\.png cannot be read as an image"):
        load_dataset(str(tmp_path))
