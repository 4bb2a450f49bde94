"""Classifying photos."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evenbit.confidence import Confidence
from evenbit.errors import InputError
from evenbit.evaluation import softmax
from evenbit.files import is_run, pack_command
from evenbit.images import describe_passed_over, is_image, load_image
from evenbit.pretrained import NETWORK
from evenbit.progress import Report
from evenbit.runtime.engine import Engine

BATCH = 64


def predict_images(
    network: str | os.PathLike[str] | None,
    paths: Sequence[str | os.PathLike[str]],
    *,
    top: int = 5,
    isa: str | None = None,
    progress: Report | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> list[dict[str, Any]]:
    """The likeliest classes of each photo.

    Args:
        network: An `.evb` file, None for the network that comes with evenbit.
        paths: Image files, and folders; all image files in a folder and in the folders inside it are used, but not
            hidden ones.
        top: How many classes to give for each photo.
        isa: Instruction set of the engine, None for the best one.
        progress: Called after each batch with the number of photos done and their total.
        tell: Called with a line for each folder that holds files which are not images.

    Returns:
        For each photo its path as `image`, and as `classes` its classes, the likeliest first, each with `class` and
        `probability` (softmax of the logits, at the temperature in the network's file). If that file says how sure the
        network may be, `unsure` lists why it is not; see `evenbit.confidence`. A photo that cannot be read has, instead
        of these, what is wrong as `error`, and so has a folder that cannot be read or holds no image.

    Raises:
        PlanError: If the network cannot be read.
        InputError: If there is no photo, or the network does not classify whole images of 1 or 3 channels.
    """
    if top < 1:
        raise InputError(f"the number of classes to list should be at least 1, but is {top}")
    places = [Path(path) for path in paths]
    for path in places:
        if is_run(path):
            raise InputError(f"{path} is a run, and a packed network is needed; pack it: {pack_command(path)}")
    found_wrong: dict[Path, str] = {}
    photos = [photo for path in places for photo in _photos(path, found_wrong, tell)]
    if not photos:
        raise InputError("give at least one photo")
    if len(found_wrong) == len(photos):
        raise InputError("; ".join(found_wrong.values()))
    engine = Engine.load(network or NETWORK, threads=1, isa=isa)
    if engine.plan.channels not in (1, 3):
        raise InputError(f"photos have 1 or 3 channels, but the network takes {engine.plan.channels}")
    if engine.plan.gives_map:
        raise InputError("the network classifies each pixel of a map, not a photo; run it with evenbit.Engine")
    confidence = Confidence.of_info(engine.plan.info)
    found: list[dict[str, Any]] = []
    for start in range(0, len(photos), BATCH):
        found += _predict(engine, confidence, photos[start : start + BATCH], found_wrong, top)
        if progress is not None:
            progress(len(found), len(photos))
    return found


def _photos(path: Path, wrong: dict[Path, str], tell: Callable[[str], object]) -> list[Path]:
    """A file itself, or the images in a folder, sorted by name and without hidden ones.

    A folder that cannot be read, or a folder without images, stands for itself; `wrong` then says why.
    """
    if not path.is_dir():
        return [path]
    files: list[Path] = []
    unreadable: list[Path] = []
    seen: set[tuple[int, int]] = set()  # links may lead in a circle

    def cannot_read(error: OSError) -> None:
        unreadable.append(Path(error.filename))
        wrong[unreadable[-1]] = f"{error.filename}: {error.strerror}"

    for folder, inside, names in os.walk(path, onerror=cannot_read, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            inside.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        inside[:] = [name for name in inside if not name.startswith(".")]
        files += [Path(folder) / name for name in names if not name.startswith(".")]
    # A link to nothing stays, so that it is reported; a pipe would be waited for.
    files = sorted(file for file in files if file.is_file() or not file.exists())
    images = [file for file in files if is_image(file)]
    others = describe_passed_over([file for file in files if not is_image(file)])
    if not images and not unreadable:
        wrong[path] = f"{path} holds no images" + (f"; {others}" if others else "")
        return [path]
    if others:
        tell(f"{path}: {others}")
    return sorted(images + unreadable)


def _predict(
    engine: Engine, confidence: Confidence | None, photos: Sequence[Path], wrong: Mapping[Path, str], top: int
) -> Iterator[dict[str, Any]]:
    """One batch, without the photos that are known to be wrong."""
    plan = engine.plan
    images, errors = [], {photo: wrong[photo] for photo in photos if photo in wrong}
    for photo in photos:
        if photo in wrong:
            continue
        try:
            images.append(load_image(photo, plan.channels, plan.height, plan.width))
        except InputError as error:
            errors[photo] = str(error)
    rows: Iterator[tuple[npt.NDArray[np.float64], dict[str, Any]]] = iter(())
    if images:
        stacked = np.stack(images)
        logits = engine(stacked)
        shares = softmax(logits) if confidence is None else confidence.probabilities(logits)
        doubts = (
            [{}] * len(images) if confidence is None else [{"unsure": x} for x in confidence.doubts(stacked, logits)]
        )
        rows = zip(shares, doubts, strict=True)
    for photo in photos:
        if photo in errors:
            yield {"image": str(photo), "error": errors[photo]}
            continue
        row, doubt = next(rows)
        classes = [{"class": plan.classes[index], "probability": float(row[index])} for index in np.argsort(-row)[:top]]
        yield {"image": str(photo), "classes": classes, **doubt}
