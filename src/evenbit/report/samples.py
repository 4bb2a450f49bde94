"""A few of the measured images with what each network says of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from evenbit.data.dataset import Images
from evenbit.report.collect import Comparison, Measured

OF_EACH_CLASS = 8  # images, the first one of each of the first classes
MISTAKES = 4


@dataclass(frozen=True)
class Guess:
    """What a network says: the likeliest class, its probability, and whether that is right."""

    run: str
    name: str
    probability: float
    right: bool


@dataclass(frozen=True)
class Sample:
    """An image.

    Attributes:
        source: As a data URI.
        name: What it is.
        guesses: One for each run.
    """

    source: str
    name: str
    guesses: list[Guess]


def choose(comparison: Comparison, classes: Sequence[str], watched: Measured) -> tuple[list[Sample], list[Sample]]:
    """The first image of each of the first classes, and the first ones that `watched` takes for something else."""
    labels = comparison.images.labels
    firsts = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:OF_EACH_CLASS]]
    wrong = np.flatnonzero(watched.evaluation.predictions != labels)[:MISTAKES]
    probabilities = [run.evaluation.probabilities for run in comparison.runs]

    def sample(index: int) -> Sample:
        guesses = []
        for run, rows in zip(comparison.runs, probabilities, strict=True):
            best = int(rows[index].argmax())
            guesses.append(Guess(run.label, classes[best], float(rows[index, best]), best == labels[index]))
        return Sample(_data_uri(comparison.images.images[index : index + 1][0]), classes[labels[index]], guesses)

    return [sample(index) for index in firsts], [sample(int(index)) for index in wrong]


def _data_uri(image: Images) -> str:
    pixels = np.repeat(image, 3, 0) if len(image) == 1 else image
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
