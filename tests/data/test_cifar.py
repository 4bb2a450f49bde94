from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evenbit.data import channel_statistics, load_dataset
from evenbit.errors import DataError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
RECORDS = 3  # written at the start of each file; the rest are zeros, which a sparse file holds for nothing


def records(seed: int, limits: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Label bytes and pixels of a file's first records; the first record has the highest labels."""
    draw = np.random.default_rng(seed)
    labels = np.stack([draw.integers(0, limit, RECORDS, dtype=np.uint8) for limit in limits], axis=1)
    labels[0] = np.array(limits) - 1
    return labels, draw.integers(0, 256, (RECORDS, 3, 32, 32), dtype=np.uint8)


def write(path: Path, count: int, seed: int, limits: tuple[int, ...]) -> None:
    labels, pixels = records(seed, limits)
    with path.open("wb") as file:
        file.write(np.concatenate([labels, pixels.reshape(RECORDS, -1)], axis=1).tobytes())
        file.truncate(count * (len(limits) + 3072))


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for index in range(1, 6):
        write(folder / f"data_batch_{index}.bin", 10_000, index, (10,))
    write(folder / "test_batch.bin", 10_000, 6, (10,))
    (folder / "batches.meta.txt").write_text("".join(f"kind{index}\n" for index in range(10)) + "\n")
    return folder


@pytest.fixture
def cifar100(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    write(folder / "train.bin", 50_000, 1, (20, 100))
    write(folder / "test.bin", 10_000, 2, (20, 100))
    (folder / "fine_label_names.txt").write_text("".join(f"kind{index}\n" for index in range(100)))
    return folder


def test_cifar10_joins_its_batches_in_order(cifar10: Path):
    dataset = load_dataset("cifar10", cifar10)
    assert dataset.shape == (3, 32, 32)
    assert dataset.classes == tuple(f"kind{index}" for index in range(10))
    assert (len(dataset.train), len(dataset.test)) == (50_000, 10_000)
    for index in range(5):
        labels, pixels = records(index + 1, (10,))
        part = slice(10_000 * index, 10_000 * index + RECORDS)
        np.testing.assert_array_equal(dataset.train.labels[part], labels[:, 0])
        np.testing.assert_array_equal(dataset.train.images[part], pixels)
    np.testing.assert_array_equal(dataset.test.images[:RECORDS], records(6, (10,))[1])
    assert dataset.train.images.flags.c_contiguous
    assert dataset.train.labels.dtype == np.int64


def test_cifar100_takes_the_fine_labels(cifar100: Path):
    dataset = load_dataset("cifar100", cifar100)
    assert dataset.shape == (3, 32, 32)
    assert len(dataset.classes) == 100
    for split, count, seed in ((dataset.train, 50_000, 1), (dataset.test, 10_000, 2)):
        labels, pixels = records(seed, (20, 100))
        assert len(split) == count
        np.testing.assert_array_equal(split.labels[:RECORDS], labels[:, 1])
        np.testing.assert_array_equal(split.images[:RECORDS], pixels)


@pytest.mark.parametrize("change", [-1, 1, -3073])
def test_a_file_of_the_wrong_size_is_named(cifar10: Path, change: int):
    path = cifar10 / "data_batch_1.bin"
    with path.open("r+b") as file:
        file.truncate(30_730_000 + change)
    with pytest.raises(
        DataError, match=rf"data_batch_1\.bin should have 30730000 bytes, but has {30_730_000 + change}"
    ):
        load_dataset("cifar10", cifar10)


def test_a_label_out_of_range_is_named(cifar10: Path):
    write(cifar10 / "data_batch_1.bin", 10_000, 1, (11,))
    with pytest.raises(DataError, match=r"data_batch_1\.bin holds the label 10, but there are 10 classes"):
        load_dataset("cifar10", cifar10)


@pytest.mark.parametrize(("limits", "label", "classes"), [((21, 100), 20, 20), ((20, 101), 100, 100)])
def test_coarse_and_fine_labels_are_checked(cifar100: Path, limits: tuple[int, int], label: int, classes: int):
    write(cifar100 / "train.bin", 50_000, 1, limits)
    with pytest.raises(DataError, match=rf"train\.bin holds the label {label}, but there are {classes} classes"):
        load_dataset("cifar100", cifar100)


@pytest.mark.parametrize(("content", "count"), [(b"cat\ndog\n", 2), (b"", 0), (b"\xff\xfe\x00", 1)])
def test_wrong_class_names_are_named(cifar10: Path, content: bytes, count: int):
    (cifar10 / "batches.meta.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"batches\.meta\.txt should hold 10 class names, but holds {count}"):
        load_dataset("cifar10", cifar10)


@pytest.mark.skipif(
    not (SHARED / "cifar-10-batches-bin").is_dir(),
    reason="needs the real CIFAR-10 (binary version) in ../shared/data/cifar-10-batches-bin beside the repository",
)
def test_the_real_cifar10():
    dataset = load_dataset("cifar10", SHARED)
    assert dataset.classes[0] == "airplane"
    assert dataset.classes[9] == "truck"
    assert np.bincount(dataset.train.labels).tolist() == [5000] * 10
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10
    mean, std = channel_statistics(dataset.train.images)
    np.testing.assert_allclose(mean, (0.491400, 0.482158, 0.446531), rtol=0, atol=1e-6)
    np.testing.assert_allclose(std, (0.247032, 0.243485, 0.261588), rtol=0, atol=1e-6)
