from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from evenbit.data.mat import COMPRESSED, HEADER, MAGIC, read_mat
from evenbit.errors import DataError

ARRAY = np.random.default_rng(0).integers(0, 256, (3, 2, 5), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.mat"


@pytest.mark.parametrize("compressed", [True, False])
def test_reads_what_scipy_writes(path: Path, compressed: bool) -> None:
    others = {"other": np.ones((2, 2)), "text": "hello", "long_name": ARRAY, "b": np.ones((1, 1), np.uint8)}
    savemat(path, {**others, "A": ARRAY}, do_compression=compressed)
    found = read_mat(path, {"A": ARRAY.shape, "long_name": ARRAY.shape, "b": (1, 1)})
    np.testing.assert_array_equal(found["A"], ARRAY)
    np.testing.assert_array_equal(found["long_name"], ARRAY)
    assert found["b"].tolist() == [[1]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"A": ARRAY[:2]}, "A should be bytes in the shape 3x2x5"),
        ({"A": ARRAY.astype(float) / 2}, "A should be bytes"),
        ({"A": ARRAY.astype(np.int8)}, "A should be bytes"),
        ({"A": {"field": ARRAY}}, "A should be bytes"),
        ({"B": ARRAY}, "it holds no A"),
        ({"A": ARRAY, "noise": np.random.default_rng(0).random(4000)}, "it is larger than its arrays"),
    ],
)
def test_other_contents_are_refused(path: Path, arrays: dict[str, object], message: str) -> None:
    savemat(path, arrays)
    with pytest.raises(DataError, match=rf"x\.mat cannot be read: {message}"):
        read_mat(path, {"A": ARRAY.shape})


@pytest.mark.parametrize("compressed", [True, False])
def test_every_truncation_and_flipped_bit_is_refused_or_changes_values_only(path: Path, compressed: bool) -> None:
    savemat(path, {"A": ARRAY}, do_compression=compressed)
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(DataError):
            read_mat(path, {"A": ARRAY.shape})
    for bit in range(8 * HEADER - 32, 8 * len(good)):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with contextlib.suppress(DataError):
            assert read_mat(path, {"A": ARRAY.shape})["A"].shape == ARRAY.shape


def test_a_bomb_is_not_expanded(path: Path) -> None:
    stream = zlib.compress(bytes(50_000_000))
    path.write_bytes(bytes(HEADER - 4) + MAGIC + struct.pack("<II", COMPRESSED, len(stream)) + stream)
    shape = (100, 1000)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="larger than the arrays"):
            read_mat(path, {"A": shape})
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.mat cannot be read: .*No such file"):
        read_mat(path, {"A": (1,)})
