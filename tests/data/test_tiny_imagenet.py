from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from evenbit.data import load_dataset
from evenbit.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "tiny-imagenet-200"
    (root / "val" / "images").mkdir(parents=True)
    (root / "wnids.txt").write_text("n2\nn1\n")
    for level, name in ((40, "n1"), (200, "n2")):
        (root / "train" / name / "images").mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (64, 64), (level,) * 3).save(root / "train" / name / "images" / f"{name}_{index}.JPEG")
    for index, level in enumerate((40, 200, 200)):
        Image.new("L", (64, 64), level).save(root / "val" / "images" / f"val_{index}.JPEG")
    lines = [f"val_{index}.JPEG\t{name}\t0\t0\t62\t62\n" for index, name in enumerate(("n1", "n2", "n2"))]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return root


def test_classes_and_labels(folder: Path):
    data = load_dataset("tiny-imagenet", root=folder.parent)
    assert data.classes == ("n2", "n1")
    assert data.train.labels.tolist() == [0 if level == 200 else 1 for level in data.train.images[:, 0, 5, 5]]
    assert sorted(data.train.labels) == [0, 0, 0, 1, 1, 1] != data.train.labels.tolist()
    assert data.test.labels.tolist() == [1, 0, 0]
    assert data.shape == (3, 64, 64)
    assert data.test.images[:, 0, 5, 5].tolist() == [40, 200, 200]


def test_damage_is_named(folder: Path):
    annotations = folder / "val" / "val_annotations.txt"
    good = annotations.read_text()
    for text, message in (
        (good + "val_9.JPEG\tn3\t0\n", "line 4, names no class"),
        ("", "is empty"),
        (good + "val_9.JPEG\tn1\t0\n", "val_9.JPEG does not exist"),
    ):
        annotations.write_text(text)
        with pytest.raises(DataError, match=message):
            load_dataset("tiny-imagenet", root=folder)
    (folder / "wnids.txt").write_text("n2\nn1\nn4\n")
    with pytest.raises(DataError, match="no images of some classes"):
        load_dataset("tiny-imagenet", root=folder)
    for name in ("../n1", "n" + "1" * 300, "\udcff"):
        (folder / "wnids.txt").write_text(f"n2\n{name}\n", errors="surrogateescape")
        with pytest.raises(DataError, match="which is not a WordNet number"):
            load_dataset("tiny-imagenet", root=folder)
    (folder / "wnids.txt").write_text("n2\n")
    with pytest.raises(DataError, match="at least two different classes"):
        load_dataset("tiny-imagenet", root=folder)
