"""Measuring a classifier, whatever runs it: a function from images to logits."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evenbit.data.dataset import Images, ImageSource, Split
from evenbit.printable import counted
from evenbit.progress import Report

Predict = Callable[[Images], npt.NDArray[np.float32]]
MOST_AT_ONCE = 500  # images of `SIDE` x `SIDE` or less; fewer larger ones, which have as many pixels in all
SIDE = 32
LEAST_FOR_TOP5 = 10  # classes; with fewer, five would be most of them
NEAR = 20.0  # points; an accuracy that far above that of a constant answer speaks for itself
NORMAL_95 = 1.959964  # standard deviations on either side of the mean that hold 95 % of a normal distribution


class Mistake(NamedTuple):
    """An image that was classified wrong.

    Attributes:
        number: Its index among the images.
        path: Its file, None if it has none of its own.
        label: Name of its class.
        given: Name of the class that was answered.
        certainty: Probability that the classifier gave to its answer, from 0 to 1.
    """

    number: int
    path: Path | None
    label: str
    given: str
    certainty: float

    @property
    def name(self) -> str:
        """The file, or the image's number."""
        return f"image {self.number}" if self.path is None else str(self.path)


class Constant(NamedTuple):
    """The result of always answering the largest class.

    Attributes:
        name: The class.
        accuracy: Its share of the images, in percent.
        near: Whether the classifier is less than `NEAR` points better.
    """

    name: str
    accuracy: float
    near: bool


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Results over a set of images.

    Attributes:
        logits: `[N, K]`.
        labels: `[N]`, numbers of the classes.
        classes: Names of the K classes.
        paths: Files of the images, None if they have none of their own.
        temperature: Divides the logits before the softmax that gives probabilities; see `evenbit.confidence`.
    """

    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    paths: tuple[Path, ...] | None = None
    temperature: float = 1.0

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"<Evaluation: {self.accuracy:.2f} % of {counted(len(self), 'image')} right "
            f"(95 % interval {low:.1f} to {high:.1f} %), balanced {self.balanced_accuracy:.2f} %, "
            f"{len(self.classes)} classes>"
        )

    @functools.cached_property
    def predictions(self) -> npt.NDArray[np.int64]:
        """Numbers of the answered classes, `[N]`: the class of the largest logit, the first of equal ones."""
        answers: npt.NDArray[np.int64] = self.logits.argmax(1)
        return answers

    @functools.cached_property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Softmax of the logits at the temperature, `[N, K]`."""
        return softmax(self.logits, self.temperature)

    @functools.cached_property
    def confusion(self) -> npt.NDArray[np.int64]:
        """`[K, K]` counts; row is the label, column the answer."""
        counts = np.zeros((len(self.classes), len(self.classes)), np.int64)
        np.add.at(counts, (self.labels, self.predictions), 1)
        return counts

    @property
    def accuracy(self) -> float:
        """Share of images whose largest logit is the label's, in percent."""
        return 100 * float((self.predictions == self.labels).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy over all images of this kind, in percent.

        With p the share of n images that are right and z = 1.96, by Wilson (Journal of the American Statistical
        Association 22, 1927):

            (p + z^2 / 2n  ±  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
        """
        n, p, z = len(self), self.accuracy / 100, NORMAL_95
        half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        low, high = ((p + z**2 / (2 * n) + side) / (1 + z**2 / n) for side in (-half, half))
        return 100 * max(0.0, low), 100 * min(1.0, high)

    @property
    def by_class(self) -> npt.NDArray[np.float64]:
        """The accuracy over the images of each class, `[K]`, in percent; NaN for a class without images."""
        counts = self.confusion.sum(1)
        return np.where(counts > 0, 100 * self.confusion.diagonal() / np.maximum(1, counts), np.nan)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the classes' accuracies, in percent: each class counts the same, however many images it has."""
        return float(np.nanmean(self.by_class))

    @property
    def constant(self) -> Constant:
        """The result of always answering the largest class."""
        counts = self.confusion.sum(1)
        largest = int(counts.argmax())
        share = 100 * float(counts[largest] / len(self))
        return Constant(self.classes[largest], share, self.accuracy - share < NEAR)

    @property
    def top5(self) -> float | None:
        """Share of images whose label is among the five largest logits, in percent; None for fewer than ten classes."""
        if len(self.classes) < LEAST_FOR_TOP5:
            return None
        rank = (self.logits > self.logits[np.arange(len(self)), self.labels][:, None]).sum(1)
        return 100 * float((rank < 5).mean())

    @functools.cached_property
    def loss(self) -> float:
        """Mean cross-entropy, in nats."""
        with np.errstate(invalid="ignore"):  # an infinite logit makes the loss NaN, for the caller to see
            shifted = self.logits.astype(np.float64) - self.logits.max(1, keepdims=True)
        log_sums = np.log(np.exp(shifted).sum(1))
        return float((log_sums - shifted[np.arange(len(self)), self.labels]).mean())

    def mistakes(self) -> list[Mistake]:
        """The images that were classified wrong, the surest mistakes first; wrong labels show up among these."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        certainty = self.probabilities[wrong, self.predictions[wrong]]
        return [
            Mistake(
                number=int(wrong[place]),
                path=None if self.paths is None else self.paths[wrong[place]],
                label=self.classes[self.labels[wrong[place]]],
                given=self.classes[self.predictions[wrong[place]]],
                certainty=float(certainty[place]),
            )
            for place in np.argsort(-certainty, kind="stable")
        ]

    def taken_for(self, label: int) -> tuple[str, int] | None:
        """The class that images of the class `label` are most often taken for, and how many; None if there are none."""
        row = self.confusion[label].copy()
        row[label] = 0
        return (self.classes[int(row.argmax())], int(row.max())) if row.any() else None

    def as_dict(self) -> dict[str, Any]:
        """All its numbers, in a form that JSON can hold."""
        counts, by_class = self.confusion.sum(1), self.by_class
        classes = [
            {"class": name, "images": int(count), "accuracy": None if math.isnan(share) else float(share)}
            for name, count, share in zip(self.classes, counts, by_class, strict=True)
        ]
        return {
            "images": len(self),
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "balanced_accuracy": self.balanced_accuracy,
            "constant": {"class": self.constant.name, "accuracy": self.constant.accuracy},
            **({} if self.top5 is None else {"top5": self.top5}),
            "loss": self.loss,
            "classes": classes,
            "confusion": self.confusion.tolist(),
        }


def mistakes_of(results: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """The mistakes on all parts of a data set, the surest first, in a form that JSON can hold."""
    found = [(part, item) for part, result in results.items() for item in result.mistakes()]
    found.sort(key=lambda one: -one[1].certainty)
    return [
        {"image": item.name, "part": part, "class": item.label, "named": item.given, "certainty": item.certainty}
        for part, item in found
    ]


def softmax(logits: npt.NDArray[np.float32], temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Logits `[N, K]`, divided by the temperature, as probabilities of the same shape, in double precision."""
    with np.errstate(invalid="ignore"):  # an infinite logit gives NaN
        powers = np.exp((logits.astype(np.float64) - logits.max(1, keepdims=True)) / temperature)
    return powers / powers.sum(1, keepdims=True)  # type: ignore[no-any-return]


def batch_for(images: ImageSource) -> int:
    """How many images of this size are run at once: 500 of 32x32 and fewer of larger ones, whose maps are larger."""
    height, width = images.shape[2:]
    return max(1, min(MOST_AT_ONCE, MOST_AT_ONCE * SIDE**2 // int(height * width)))


def evaluate(
    predict: Predict,
    split: Split,
    *,
    classes: tuple[str, ...] | None = None,
    batch_size: int | None = None,
    progress: Report | None = None,
) -> Evaluation:
    """Runs `predict` over all images.

    Args:
        predict: From images `[N, C, H, W]`, uint8, to logits `[N, K]`.
        split: Images and labels.
        classes: Names of the K classes; their numbers if not given.
        batch_size: Images per call; `batch_for(images)` if not given.
        progress: Called after each batch with the number of images done and their total.
    """
    logits = collect_logits(predict, split.images, batch_size=batch_size, progress=progress)
    return score(logits, split.labels, classes=classes, paths=split.paths)


def collect_logits(
    predict: Predict, images: ImageSource, *, batch_size: int | None = None, progress: Report | None = None
) -> npt.NDArray[np.float32]:
    """Logits `[N, K]` of all images; see `evaluate`."""
    parts = []
    batch = batch_size or batch_for(images)
    for start in range(0, len(images), batch):
        parts.append(predict(images[start : start + batch]))
        if progress is not None:
            progress(min(start + batch, len(images)), len(images))
    return np.concatenate(parts)


def score(
    logits: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    *,
    classes: tuple[str, ...] | None = None,
    paths: tuple[Path, ...] | None = None,
) -> Evaluation:
    """Compares logits `[N, K]` with labels `[N]`; see `Evaluation`, whose classes are numbers if not given."""
    return Evaluation(logits, labels, classes or tuple(map(str, range(logits.shape[1]))), paths)
