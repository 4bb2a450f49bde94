from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from evenbit.data import load_dataset, svhn
from evenbit.errors import DataError

COUNTS = {"train_32x32.mat": 12, "test_32x32.mat": 5}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(svhn, "COUNTS", COUNTS)
    draw = np.random.default_rng(0)
    for file, count in COUNTS.items():
        images = draw.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        savemat(tmp_path / file, {"X": images, "y": (np.arange(count) % 10 + 1)[:, None].astype(np.uint8)})
    return tmp_path


def test_images_and_labels(files: Path):
    data = load_dataset("svhn", root=files)
    assert data.classes == tuple("0123456789")
    assert data.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    assert (len(data.train), len(data.test), data.shape) == (12, 5, (3, 32, 32))
    from scipy.io import loadmat

    raw = loadmat(files / "train_32x32.mat")["X"]
    assert data.train.images[7, 2, 30, 4] == raw[30, 4, 2, 7]


def test_damaged_files_are_named(files: Path):
    path = files / "test_32x32.mat"
    good = path.read_bytes()
    for bad in (good[: len(good) // 2], b"", b"MATLAB 5.0 MAT-file" + bytes(200)):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"test_32x32\.mat cannot be read"):
            load_dataset("svhn", root=files)
    images = np.zeros((32, 32, 3, 5), np.uint8)
    savemat(path, {"X": images[..., :4], "y": np.ones((4, 1), np.uint8)})
    with pytest.raises(DataError, match=r"test_32x32\.mat cannot be read: X should be bytes in the shape 32x32x3x5"):
        load_dataset("svhn", root=files)
    savemat(path, {"X": images, "y": np.full((5, 1), 11, np.uint8)})
    with pytest.raises(DataError, match="a label that is not from 1 to 10"):
        load_dataset("svhn", root=files)


def test_missing_files_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"svhn not found: it needs train_32x32\.mat, test_32x32\.mat"):
        load_dataset("svhn", root=tmp_path)
