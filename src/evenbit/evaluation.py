"""Measuring a classifier, whatever runs it: a function from images to logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evenbit.data.dataset import Images, ImageSource, Split
from evenbit.progress import Report

Predict = Callable[[Images], npt.NDArray[np.float32]]
MOST_AT_ONCE = 500  # images of `SIDE` x `SIDE` or less; of larger ones as many as have together as many pixels
SIDE = 32


@dataclass(frozen=True)
class Evaluation:
    """Results over a set of images.

    Attributes:
        accuracy: Share of images whose largest logit is the label's, in percent.
        top5: Share of images whose label is among the five largest logits, in percent.
        loss: Mean cross-entropy, in nats.
        confusion: `[K, K]` counts; row is the label, column the prediction.
    """

    accuracy: float
    top5: float
    loss: float
    confusion: npt.NDArray[np.int64]


def batch_for(images: ImageSource) -> int:
    """How many images of this size are run at once: 500 of 32x32 and fewer of larger ones, whose maps are larger."""
    height, width = images.shape[2:]
    return max(1, min(MOST_AT_ONCE, MOST_AT_ONCE * SIDE**2 // int(height * width)))


def evaluate(
    predict: Predict, split: Split, *, batch_size: int | None = None, progress: Report | None = None
) -> Evaluation:
    """Runs `predict` over all images.

    Args:
        predict: From images `[N, C, H, W]`, uint8, to logits `[N, K]`.
        split: Images and labels.
        batch_size: Images a call; `batch_for` them if not given.
        progress: Called after each batch with the number of images done and of all.
    """
    logits = collect_logits(predict, split.images, batch_size=batch_size, progress=progress)
    return score(logits, split.labels)


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


def score(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Evaluation:
    """Compares logits `[N, K]` with labels `[N]`."""
    count, classes = logits.shape
    predicted = logits.argmax(1)
    rank = (logits > logits[np.arange(count), labels][:, None]).sum(1)
    with np.errstate(invalid="ignore"):  # an infinite logit makes the loss NaN, for the caller to see
        shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(1))
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return Evaluation(
        accuracy=100 * float((predicted == labels).mean()),
        top5=100 * float((rank < 5).mean()),
        loss=float((log_sums - shifted[np.arange(count), labels]).mean()),
        confusion=confusion,
    )
