from __future__ import annotations

import dataclasses
import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from evenbit.data import idx, load_dataset
from evenbit.errors import DataError

SYSTEM = Path(idx.SYSTEM[0])


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data, 1))
    return path


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (4, 3, 5), dtype=np.uint8)


def test_reads_what_was_written(tmp_path: Path, array: np.ndarray):
    found = idx.read_idx(write(tmp_path / "a.gz", idx_bytes(array)), (4, 3, 5))
    np.testing.assert_array_equal(found, array)
    assert found.flags.writeable


def test_other_contents_are_refused(tmp_path: Path, array: np.ndarray):
    good = idx_bytes(array)
    bad = {
        "short": good[:-1],
        "long": good + b"\0",
        "header only": good[:16],
        "empty": b"",
        "other magic": b"\1" + good[1:],
        "floats": good[:2] + b"\x0d" + good[3:],
        "two dimensions": good[:3] + b"\2" + good[4:],
        "other shape": idx_bytes(array.reshape(4, 5, 3)),
    }
    for name, data in bad.items():
        path = write(tmp_path / f"{name}.gz", data)
        with pytest.raises(DataError, match=rf"{name}\.gz is not an IDX file of bytes in the shape 4x3x5"):
            idx.read_idx(path, (4, 3, 5))


def test_damaged_gzip_is_refused(tmp_path: Path, array: np.ndarray):
    packed = gzip.compress(idx_bytes(array), 1)
    bad = {
        "truncated": packed[:-12],
        "checksum": packed[:-8] + bytes(4) + packed[-4:],
        "deflate": packed[:10] + b"\xff" * (len(packed) - 10),
        "plain": idx_bytes(array),
        "tail": packed + b"more",
    }
    for name, data in bad.items():
        (tmp_path / f"{name}.gz").write_bytes(data)
        with pytest.raises(DataError, match=rf"{name}\.gz cannot be read: "):
            idx.read_idx(tmp_path / f"{name}.gz", (4, 3, 5))


def test_a_bomb_is_not_expanded(tmp_path: Path, array: np.ndarray):
    path = write(tmp_path / "bomb.gz", idx_bytes(array) + bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="is not an IDX file"):
            idx.read_idx(path, (4, 3, 5))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 3, 7] = np.arange(count) % 251
        write(folder / f"{part}-images-idx3-ubyte.gz", idx_bytes(images))
        write(folder / f"{part}-labels-idx1-ubyte.gz", idx_bytes((np.arange(count) % 10).astype(np.uint8)))
    return folder


def test_fashion_mnist_is_found_in_root_and_split_as_its_files(fashion: Path):
    dataset = load_dataset("fashion-mnist", fashion.parent)
    assert dataset.shape == (1, 28, 28)
    assert dataset.classes[0] == "T-shirt/top"
    assert dataset.classes[9] == "Ankle boot"
    for split, count in ((dataset.train, 60_000), (dataset.test, 10_000)):
        assert split.images.shape == (count, 1, 28, 28)
        np.testing.assert_array_equal(split.images[:, 0, 3, 7], np.arange(count) % 251)
        np.testing.assert_array_equal(split.labels, np.arange(count) % 10)
        assert split.labels.dtype == np.int64


def test_a_label_out_of_range_is_named(fashion: Path):
    write(fashion / "t10k-labels-idx1-ubyte.gz", idx_bytes(np.full(10_000, 10, np.uint8)))
    with pytest.raises(DataError, match="a label of t10k is 10, but there are 10 classes"):
        load_dataset("fashion-mnist", fashion)


def test_missing_files_are_named_with_the_official_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(idx, "FASHION_MNIST", dataclasses.replace(idx.FASHION_MNIST, system=()))
    message = r"train-images-idx3-ubyte\.gz.*looked in .*https://github\.com/zalandoresearch/fashion-mnist"
    with pytest.raises(DataError, match=message):
        load_dataset("fashion-mnist", tmp_path)


@pytest.mark.skipif(not SYSTEM.is_dir(), reason=f"needs Debian's package dataset-fashion-mnist in {SYSTEM}")
def test_the_real_fashion_mnist(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EVENBIT_DATA", raising=False)
    dataset = load_dataset("fashion-mnist")
    assert np.bincount(dataset.train.labels).tolist() == [6000] * 10
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10
