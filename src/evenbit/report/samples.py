"""A few of the measured images, with each network's answer."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from evenbit.data.dataset import Images
from evenbit.printable import printable
from evenbit.report.collect import Comparison, Measured

OF_EACH_CLASS = 8  # images: the first one of each of the first classes
MISTAKES = 12


@dataclass(frozen=True)
class Guess:
    """A network's answer: the likeliest class, its probability, and whether it is right."""

    run: str
    name: str
    probability: float
    right: bool


@dataclass(frozen=True)
class Sample:
    """An image.

    Attributes:
        source: The image as a data URI.
        name: Its class.
        file: Its file's path; empty if it has none of its own.
        guesses: One for each run.
    """

    source: str
    name: str
    file: str
    guesses: list[Guess]


def choose(comparison: Comparison, classes: Sequence[str], watched: Measured) -> tuple[list[Sample], list[Sample]]:
    """The first image of each of the first classes, and the mistakes that `watched` is surest of."""
    labels = comparison.images.labels
    firsts = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:OF_EACH_CLASS]]
    wrong = watched.evaluation.mistakes()[:MISTAKES]
    probabilities = [run.evaluation.probabilities for run in comparison.runs]

    def sample(index: int) -> Sample:
        guesses = []
        for run, rows in zip(comparison.runs, probabilities, strict=True):
            best = int(rows[index].argmax())
            guesses.append(Guess(run.label, classes[best], float(rows[index, best]), best == labels[index]))
        image, label = comparison.images[index]
        file = "" if comparison.images.paths is None else printable(str(comparison.images.paths[index]))
        return Sample(_data_uri(image), classes[label], file, guesses)

    return [sample(index) for index in firsts], [sample(item.number) for item in wrong]


def montage(rows: Images) -> str:
    """Images `[R, N, C, H, W]` in R rows, a white line between them, as a data URI."""
    edged = np.pad(rows, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)), constant_values=255)
    count, columns, channels, height, width = edged.shape
    return _data_uri(edged.transpose(2, 0, 3, 1, 4).reshape(channels, count * height, columns * width))


def _data_uri(image: Images) -> str:
    pixels = np.repeat(image, 3, 0) if len(image) == 1 else image
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
