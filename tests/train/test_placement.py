from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evenbit.data import image_files
from evenbit.data.image_files import ImageFiles
from evenbit.errors import DataError
from evenbit.train import Result, read_checkpoint
from evenbit.train.placement import batches, place


def test_images_that_a_gpu_has_no_room_for_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.zeros((2, 1, 4, 4), np.uint8)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (63, 1000))
    assert place(images, torch.device("cuda")).data_ptr() == images.ctypes.data  # type: ignore[union-attr]
    assert place(images, torch.device("meta")).device.type == "meta"  # type: ignore[union-attr]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_batches_of_files_are_those_of_memory_in_order(tmp_path: Path, count: int) -> None:
    for level in range(10):
        Image.new("L", (3, 3), level).save(tmp_path / f"{level}.png")
    files = ImageFiles([tmp_path / f"{level}.png" for level in range(10)], 2)
    order = [torch.tensor([index, 9 - index]) for index in range(count)]
    expected = list(batches(torch.from_numpy(files[:]), order))
    assert [images[:, 0, 0, 0].tolist() for images in expected] == [index.tolist() for index in order]
    for one, other in zip(batches(files, order), expected, strict=True):
        assert torch.equal(one, other)


def test_a_file_that_cannot_be_read_stops_at_its_batch(tmp_path: Path) -> None:
    Image.new("L", (3, 3)).save(tmp_path / "0.png")
    files = ImageFiles([tmp_path / "0.png", tmp_path / "1.png"], 2)
    found = batches(files, [torch.tensor([0]), torch.tensor([1])])
    assert next(found).shape == (1, 3, 2, 2)
    with pytest.raises(DataError, match=r"1\.png does not exist"):
        next(found)


def test_training_from_files_ends_with_the_weights_of_training_from_memory(
    train_tiny: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"epochs": 2, "area": 0.3, "validation": 0.25}
    train_tiny(tmp_path / "memory", **settings)
    monkeypatch.setattr(image_files, "_memory", lambda: 0)
    train_tiny(tmp_path / "files", **settings)
    memory, files = (read_checkpoint(tmp_path / name) for name in ("memory", "files"))
    assert memory.task == files.task
    assert memory.tensors.keys() == files.tensors.keys()
    for name, tensor in memory.tensors.items():
        assert torch.equal(tensor, files.tensors[name]), name
