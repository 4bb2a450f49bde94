"""Images of a data set as a folder of photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from evenbit.data import Dataset


def write_photos(folder: Path, dataset: Dataset, names: Sequence[str], train: int, test: int) -> None:
    """Writes the first images of some classes into `train/` and `test/`, so many of each class."""
    for part, split, count in (("train", dataset.train, train), ("test", dataset.test, test)):
        for name in names:
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for index in np.flatnonzero(split.labels == dataset.classes.index(name))[:count]:
                Image.fromarray(split.images[index].transpose(1, 2, 0)).save(folder / part / name / f"{index}.png")
