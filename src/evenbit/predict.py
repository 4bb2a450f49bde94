"""Naming what is on photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evenbit.errors import InputError
from evenbit.images import load_image
from evenbit.runtime.engine import Engine


def predict_images(
    network: Path, images: Sequence[Path], *, top: int = 5, isa: str | None = None
) -> list[dict[str, Any]]:
    """The likeliest classes of each image.

    Args:
        network: An `.evb` file.
        images: Image files.
        top: How many classes to name.
        isa: Instruction set of the engine, None for the best one.

    Returns:
        For each image its path as `image` and, as `classes`, the likeliest first, `class` and `probability`
        (softmax of the logits).

    Raises:
        PlanError: If the network cannot be read.
        InputError: If no image is given, or one cannot be read.
    """
    if not images:
        raise InputError("name at least one image")
    if top < 1:
        raise InputError(f"the number of classes to name should be at least 1, but is {top}")
    engine = Engine.load(network, threads=1, isa=isa)
    plan = engine.plan
    batch = np.stack([load_image(path, plan.channels, plan.height, plan.width) for path in images])
    logits = engine(batch).astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return [
        {
            "image": str(path),
            "classes": [
                {"class": plan.classes[index], "probability": float(row[index])} for index in np.argsort(-row)[:top]
            ],
        }
        for path, row in zip(images, shares, strict=True)
    ]
