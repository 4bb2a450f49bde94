from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evenbit.data import hold_out, load_dataset
from evenbit.data.folder import Part, list_folder
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


def names(part: Part) -> set[str]:
    return {f"{path.parent.name}/{path.name}" for path in part.paths}


def test_a_plain_folder_is_split_within_each_class(tmp_path: Path):
    fill(tmp_path, {"dog": 60, "cat": 90})
    dataset = load_dataset(str(tmp_path))
    assert dataset.classes == ("cat", "dog")
    assert dataset.name == str(tmp_path)
    assert dataset.shape == (3, 32, 32)
    for label, count in ((0, 90), (1, 60)):
        seen = [levels(split.images[split.labels == label]) for split in (dataset.train, dataset.test)]
        assert sorted(seen[0] + seen[1]) == list(range(count))
        assert 0.1 * count < len(seen[1]) < 0.3 * count


def test_the_split_is_that_of_the_digests(tmp_path: Path):
    fill(tmp_path, {"a": 30, "b": 30})
    _, train, test = list_folder(tmp_path)
    for part, wanted in ((train, False), (test, True)):
        for path in part.paths:
            assert (int(hashlib.sha256(path.read_bytes()).hexdigest(), 16) / 2**256 < 0.2) == wanted


def test_a_small_class_has_a_fair_share_to_test_on(tmp_path: Path):
    sizes = (2, 3, 6, 9, 12, 20)
    fill(tmp_path, {f"{count:02}": count for count in sizes})
    dataset = load_dataset(str(tmp_path), size=8)
    for count, found in zip(sizes, np.bincount(dataset.test.labels), strict=True):
        assert max(1, count / 8) <= found <= max(1, 0.3 * count)


def test_an_image_keeps_its_part_as_the_folder_changes(tmp_path: Path):
    fill(tmp_path, {"a": 40, "b": 40})
    _, train, test = list_folder(tmp_path)
    for index in range(100, 160):
        Image.new("L", (9, 7), index).save(tmp_path / "a" / f"{index}.png")
    (tmp_path / "b" / "000.png").rename(tmp_path / "b" / "renamed.png")
    (tmp_path / "b" / "001.png").unlink()
    _, train_later, test_later = list_folder(tmp_path)
    gone = {"b/000.png", "b/001.png"}
    assert names(train) - gone <= names(train_later)
    assert names(test) - gone <= names(test_later)
    assert ("b/renamed.png" in names(test_later)) == ("b/000.png" in names(test))


def test_copies_of_an_image_are_in_one_part(tmp_path: Path):
    fill(tmp_path, {"a": 20, "b": 20})
    for index in range(20):
        shutil.copy(tmp_path / "a" / f"{index:03}.png", tmp_path / "a" / f"copy{index:03}.png")
    _, _, test = list_folder(tmp_path)
    chosen = {path.name.removeprefix("copy") for path in test.paths if path.parent.name == "a"}
    assert {f"a/copy{name}" for name in chosen} | {f"a/{name}" for name in chosen} <= names(test)


@pytest.mark.parametrize("copies", [3, 7, 9, 10])
def test_copies_stay_together_in_a_small_class(tmp_path: Path, copies: int):
    fill(tmp_path, {"a": 10, "b": 10})
    for index in range(1, copies):
        shutil.copy(tmp_path / "a" / "000.png", tmp_path / "a" / f"{index:03}.png")
    _, train, test = list_folder(tmp_path)
    same = {f"a/{index:03}.png" for index in range(copies)}
    if copies < 10:
        assert not (same & names(train) and same & names(test))
    assert 1 <= len([name for name in names(test) if name[0] == "a"]) <= (3 if copies < 7 else 9)


@pytest.mark.parametrize("start", range(0, 40, 4))
def test_every_class_has_an_image_in_both_parts(tmp_path: Path, start: int):
    for count, level in ((2, start), (3, start + 50)):
        fill(tmp_path, {f"{count}": count}, level)
    dataset = load_dataset(str(tmp_path), size=8)
    assert set(dataset.train.labels) == set(dataset.test.labels) == {0, 1}


@pytest.mark.parametrize("test", ["test", "val"])
def test_given_parts_are_used_as_they_are(tmp_path: Path, test: str):
    fill(tmp_path / "train", {"a": 3, "b": 1})
    fill(tmp_path / test, {"a": 1, "b": 2}, level=100)
    dataset = load_dataset(str(tmp_path))
    pairs = [
        sorted(zip(split.labels.tolist(), levels(split.images), strict=True)) for split in (dataset.train, dataset.test)
    ]
    assert pairs == [[(0, 0), (0, 1), (0, 2), (1, 0)], [(0, 100), (1, 100), (1, 101)]]


def test_the_first_images_are_of_all_classes(tmp_path: Path):
    for part in ("train", "test"):
        fill(tmp_path / part, {"a": 100, "b": 100, "c": 50})
    dataset = load_dataset(str(tmp_path), size=8)
    for split in (dataset.train, hold_out(dataset, 0.5).train, hold_out(dataset, 0.5).test, dataset.test):
        counts = np.bincount(split.labels[: len(split) // 2])
        assert (abs(counts - np.bincount(split.labels) / 2) < len(split) / 10).all()


def test_test_wins_over_val(tmp_path: Path):
    for level, part in enumerate(("train", "test", "val")):
        fill(tmp_path / part, {"a": 1, "b": 1}, level=100 * level)
    assert levels(load_dataset(str(tmp_path)).test.images) == [100, 100]


def test_parts_with_other_classes_are_refused(tmp_path: Path):
    fill(tmp_path / "train", {"a": 1, "b": 1})
    fill(tmp_path / "test", {"a": 1, "c": 1})
    with pytest.raises(DataError, match="b, c should be in both train/ and test/"):
        load_dataset(str(tmp_path))


def test_unsorted_test_images_are_said_to_be_so(tmp_path: Path):
    fill(tmp_path / "train", {"a": 1, "b": 1})
    fill(tmp_path, {"test": 2})
    with pytest.raises(DataError, match=r"test should hold .* but holds 0; it holds images: sort them into folders of"):
        load_dataset(str(tmp_path))
    with pytest.raises(DataError, match=f"it holds images: give the folder above it, {tmp_path}$"):
        load_dataset(str(tmp_path / "test"))


def test_hidden_and_other_files_are_passed_over(tmp_path: Path):
    fill(tmp_path, {"a": 2, "b": 2})
    fill(tmp_path, {".cache": 2, "__MACOSX": 2})
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
    with pytest.raises(DataError, match=rf"class folder .*/b holds {count} images?; it needs at least 2"):
        load_dataset(str(tmp_path))


def test_an_empty_class_in_a_given_part_is_named(tmp_path: Path):
    fill(tmp_path / "train", {"a": 1, "b": 1})
    fill(tmp_path / "test", {"a": 1, "b": 0})
    with pytest.raises(DataError, match=r"class folder .*/test/b holds 0 images; it needs at least 1"):
        load_dataset(str(tmp_path))


def test_an_unreadable_image_is_named(tmp_path: Path):
    fill(tmp_path, {"a": 2, "b": 2})
    broken = tmp_path / "b" / "001.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(DataError, match=r"/b/001\.png cannot be read as an image"):
        load_dataset(str(tmp_path))


def test_a_link_to_nothing_is_named(tmp_path: Path):
    fill(tmp_path, {"a": 6, "b": 6})
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises((DataError, FileNotFoundError), match=r"/b/gone\.png"):
        load_dataset(str(tmp_path))


def test_all_unreadable_images_are_named_or_counted(tmp_path: Path):
    fill(tmp_path, {"a": 15, "b": 2})
    for index in range(14):
        (tmp_path / "a" / f"{index:03}.png").write_text("no image")
    with pytest.raises(DataError) as caught:
        load_dataset(str(tmp_path))
    assert str(caught.value).count("cannot be read as an image") == 10
    assert str(caught.value).endswith("; and 4 more")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("train", "test"), [("train", "valid"), ("train", "validation"), ("training", "validation")])
def test_parts_may_have_other_names(tmp_path: Path, train: str, test: str):
    fill(tmp_path / train, {"cat": 3, "dog": 2})
    fill(tmp_path / test, {"cat": 1, "dog": 1}, 100)
    dataset = load_dataset(str(tmp_path))
    assert (len(dataset.train), len(dataset.test), dataset.classes) == (5, 2, ("cat", "dog"))


def test_a_part_alone_says_what_is_looked_for(tmp_path: Path):
    fill(tmp_path / "train", {"cat": 3, "dog": 2})
    with pytest.raises(
        DataError, match=r"holds train/ with folders in it, but none of test/, val/, valid/, validation/"
    ):
        load_dataset(str(tmp_path))


def test_jfif_is_a_photo(tmp_path: Path):
    fill(tmp_path, {"cat": 3, "dog": 3})
    for path in (tmp_path / "cat").iterdir():
        Image.open(path).convert("RGB").save(path.with_suffix(".jfif"), "JPEG")
        path.unlink()
    assert len(load_dataset(str(tmp_path)).train) == 4


def test_an_image_of_each_class_stays_in_training(tmp_path: Path):
    dataset = load_dataset(str(fill(tmp_path, {"cat": 3, "dog": 40})))
    held = hold_out(dataset, 0.5)
    assert np.bincount(held.train.labels).tolist()[0] == np.bincount(held.test.labels).tolist()[0] == 1
    small = load_dataset(str(fill(tmp_path / "other", {"cat": 2, "dog": 40})))
    with pytest.raises(DataError, match="class 'cat' has 1 training image; to hold some out it needs at least 2"):
        hold_out(small, 0.1)


def test_folders_in_a_class_folder_are_named_with_what_to_do(tmp_path: Path):
    fill(tmp_path / "animals", {"cat": 3, "dog": 3, "eel": 3, "fox": 3})
    fill(tmp_path, {"signs": 3})
    with pytest.raises(
        DataError, match=r"animals holds 0 images.* It holds folders \(cat, dog, eel, ...\).* give .*/animals, other"
    ):
        load_dataset(str(tmp_path))


def test_parts_may_be_written_with_capitals(tmp_path: Path):
    fill(tmp_path / "Train", {"cat": 3, "dog": 2})
    fill(tmp_path / "Val", {"cat": 1, "dog": 1}, 100)
    dataset = load_dataset(str(tmp_path))
    assert (len(dataset.train), len(dataset.test), dataset.classes) == (5, 2, ("cat", "dog"))
