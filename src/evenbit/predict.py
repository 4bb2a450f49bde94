"""Naming what is on photos."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evenbit.errors import InputError
from evenbit.images import SUFFIXES, load_image
from evenbit.pretrained import NETWORK
from evenbit.progress import Report
from evenbit.runtime.engine import Engine

BATCH = 64
CHECKPOINT = "checkpoint.safetensors"  # in the folder of a run


def predict_images(
    network: Path | None,
    paths: Sequence[Path],
    *,
    top: int = 5,
    isa: str | None = None,
    progress: Report | None = None,
) -> list[dict[str, Any]]:
    """The likeliest classes of each photo.

    Args:
        network: An `.evb` file, None for the network that comes with evenbit.
        paths: Image files, and folders whose image files are all taken, those in folders inside them too.
        top: How many classes to name.
        isa: Instruction set of the engine, None for the best one.
        progress: Called after each batch with the number of photos done and of all.

    Returns:
        For each photo its path as `image` and, as `classes`, the likeliest first, `class` and `probability`
        (softmax of the logits); of one that cannot be read, what is wrong as `error` instead.

    Raises:
        PlanError: If the network cannot be read.
        InputError: If there is no photo, or the network takes images of neither 1 nor 3 channels or gives a map.
    """
    if top < 1:
        raise InputError(f"the number of classes to name should be at least 1, but is {top}")
    for path in paths:
        if (path / CHECKPOINT).is_file():
            command = shlex.join(["evenbit", "pack", str(path), "-o", "model.evb"])
            raise InputError(f"{path} is a run, and a packed network names photos; pack it: {command}")
    photos = [photo for path in paths for photo in _photos(path)]
    if not photos:
        raise InputError("name at least one image")
    engine = Engine.load(network or NETWORK, threads=1, isa=isa)
    if engine.plan.channels not in (1, 3):
        raise InputError(f"photos have 1 or 3 channels, but the network takes {engine.plan.channels}")
    if engine.plan.gives_map:
        raise InputError("the network classifies each pixel of a map, not a photo; run it by evenbit.Engine")
    found: list[dict[str, Any]] = []
    for start in range(0, len(photos), BATCH):
        found += _predict(engine, photos[start : start + BATCH], top)
        if progress is not None:
            progress(len(found), len(photos))
    return found


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Logits `[N, K]` as probabilities of the same shape, in double precision."""
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)  # type: ignore[no-any-return]


def _photos(path: Path) -> Iterator[Path]:
    """A file, or the images in a folder in order of their names, without those that are hidden."""
    if not path.is_dir():
        yield path
        return
    inside = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not inside:
        raise InputError(f"{path} holds no images")
    yield from inside


def _predict(engine: Engine, photos: Sequence[Path], top: int) -> Iterator[dict[str, Any]]:
    """One batch."""
    plan = engine.plan
    images, errors = [], {}
    for photo in photos:
        try:
            images.append(load_image(photo, plan.channels, plan.height, plan.width))
        except InputError as error:
            errors[photo] = str(error)
    logits = engine(np.stack(images)) if images else np.zeros((0, len(plan.classes)), np.float32)
    rows = iter(softmax(logits))
    for photo in photos:
        if photo in errors:
            yield {"image": str(photo), "error": errors[photo]}
            continue
        row = next(rows)
        classes = [{"class": plan.classes[index], "probability": float(row[index])} for index in np.argsort(-row)[:top]]
        yield {"image": str(photo), "classes": classes}
