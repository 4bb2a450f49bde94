"""How sure a network may be of a photo, measured on images that it was not trained on and kept in its file.

A softmax assigns every image to one of the classes, mostly with a probability that is too high. So two things are
measured on held-out images, and a third on these and on the training images:

    temperature  T, which divides the logits so that the probabilities are right on average; it minimizes the
                 cross-entropy of softmax(z / T) (Guo et al., On calibration of modern neural networks, ICML 2017)
    certainty    the probability of the likeliest class that all but a share `UNSURE` of the images reach, at most
                 `MOST_CERTAIN`
    usual        for each of `STATISTICS`, the range that holds all images but a share `UNUSUAL` at each end

An answer with less certainty, or to an image with a statistic outside its range, is "unsure". With g the mean of an
image over its channels, in levels from 0 to 255,

    contrast  standard deviation of g
    detail    root mean square of the differences between neighbours in g, divided by the contrast
    colour    standard deviation of the image minus g

docs/results.md measures what this catches and what it misses.
"""

from __future__ import annotations

import dataclasses
import decimal
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evenbit.data.dataset import Dataset, Images, ImageSource, Split
from evenbit.evaluation import Evaluation, Predict, batch_for, collect_logits, score, softmax
from evenbit.plan import Plan
from evenbit.progress import Report

UNSURE = 0.05
MOST_CERTAIN = 0.9999  # no answer of this probability is unsure, even of a network that is always so certain
UNUSUAL = 0.01
STATISTICS = ("contrast", "detail", "colour")
LEAST_IMAGES = 20  # held out; fewer say nothing about rare images
MOST_IMAGES = 5_000
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.25, 8.0
TEMPERATURES = 201  # are tried, evenly spaced in their logarithm


@dataclass(frozen=True)
class Confidence:
    """What was measured; see the module's docstring.

    Attributes:
        temperature: Divides the logits.
        certainty: Least probability of an answer that is sure, from 0 to 1.
        usual: Lowest and highest value of each of `STATISTICS`.
    """

    temperature: float
    certainty: float
    usual: Mapping[str, tuple[float, float]]

    @classmethod
    def of_info(cls, info: Mapping[str, str]) -> Confidence | None:
        """From the info of a Plan; None if it holds no values, or none that can be used."""
        try:
            usual = {name: _range(info[name]) for name in STATISTICS}
            found = cls(float(info["temperature"]), min(float(info["certainty"]), MOST_CERTAIN), usual)
        except (KeyError, ValueError):
            return None
        return found if 0 < found.temperature < np.inf else None

    def as_info(self) -> dict[str, str]:
        """As entries for the info of a Plan."""
        # Limits are rounded so that what they were measured on stays within them.
        down, up = decimal.ROUND_FLOOR, decimal.ROUND_CEILING
        ranges = {name: f"{_digits(low, down)} to {_digits(high, up)}" for name, (low, high) in self.usual.items()}
        return {"temperature": f"{self.temperature:.4g}", "certainty": _digits(self.certainty, down), **ranges}

    def probabilities(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probabilities of the classes, `[N, K]`, from logits of the same shape."""
        return softmax(logits, self.temperature)

    def doubts(self, images: Images, logits: npt.NDArray[np.float32]) -> list[list[str]]:
        """For each image, why its answer is unsure: "certainty", names of `STATISTICS`; an empty list if it is sure."""
        low = self.probabilities(logits).max(1) < self.certainty
        found = [["certainty"] * bool(doubt) for doubt in low]
        for name, values in zip(STATISTICS, statistics(images).T, strict=True):
            lowest, highest = self.usual[name]
            for doubts, value in zip(found, values, strict=True):
                doubts += [name] * bool(not lowest <= value <= highest)
        return found


def measure(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], *images: ImageSource) -> Confidence:
    """Measures a confidence.

    Args:
        logits: `[N, K]` of at least `LEAST_IMAGES` held-out images.
        labels: Their labels, `[N]`.
        images: The training and the held-out images, which show what is usual.
    """
    temperature = fit_temperature(logits, labels)
    certainty = softmax(logits, temperature).max(1)
    values = np.concatenate([statistics(part) for part in images])
    ranges = np.quantile(values, (UNUSUAL, 1 - UNUSUAL), axis=0).T
    usual = {name: (float(low), float(high)) for name, (low, high) in zip(STATISTICS, ranges, strict=True)}
    return Confidence(temperature, min(float(np.quantile(certainty, UNSURE)), MOST_CERTAIN), usual)


def fit_temperature(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """The temperature that suits logits `[N, K]` and labels `[N]` best, to four digits; see the module."""
    tried = np.geomspace(LEAST_TEMPERATURE, MOST_TEMPERATURE, TEMPERATURES)
    losses = [score(_divided(logits, temperature), labels).loss for temperature in tried]
    return float(f"{tried[int(np.argmin(losses))]:.4g}")


def calibrated(result: Evaluation) -> Evaluation:
    """The evaluation with the temperature that suits it best; unchanged if it has fewer than `LEAST_IMAGES` images."""
    if len(result) < LEAST_IMAGES:
        return result
    return dataclasses.replace(result, temperature=fit_temperature(result.logits, result.labels))


def statistics(images: ImageSource) -> npt.NDArray[np.float64]:
    """`STATISTICS` of images `[N, C, H, W]`, as `[N, 3]`."""
    batch = batch_for(images)
    parts = [_statistics(images[start : start + batch]) for start in range(0, len(images), batch)]
    return np.concatenate(parts) if parts else np.empty((0, len(STATISTICS)))


def _statistics(images: Images) -> npt.NDArray[np.float64]:
    levels = images.astype(np.float64)
    grey = levels.mean(1)
    contrast = grey.std((1, 2))
    squares = [
        (np.diff(grey, axis=axis) ** 2).mean((1, 2)) if grey.shape[axis] > 1 else 0 * contrast for axis in (1, 2)
    ]
    detail = np.sqrt(sum(squares) / 2) / np.maximum(contrast, 1e-9)
    colour = (levels - grey[:, None]).std((1, 2, 3))
    return np.stack([contrast, detail, colour], 1)


def with_confidence(plan: Plan, predict: Predict, dataset: Dataset, progress: Report | None = None) -> Plan:
    """The Plan with the confidence in its info; unchanged if there are too few held-out images.

    Args:
        plan: The network.
        predict: Runs it.
        dataset: The data that it was trained on, of which the test images are held out; the first `MOST_IMAGES` of each
            part are used.
        progress: Called now and then with the number of images done and their total.
    """
    train, test = _first(dataset.train), _first(dataset.test)
    if len(test) < LEAST_IMAGES:
        return plan
    logits = collect_logits(predict, test.images, progress=progress)
    found = measure(logits, test.labels, train.images, test.images)
    return dataclasses.replace(plan, info={**plan.info, **found.as_info()})


def _first(split: Split) -> Split:
    return split.subset(np.arange(min(len(split), MOST_IMAGES)))


def _digits(value: float, rounding: str) -> str:
    """Four digits of a number, rounded down or up."""
    return f"{float(decimal.Context(prec=4, rounding=rounding).create_decimal(repr(float(value)))):.4g}"


def _divided(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float32]:
    return (logits / np.float32(temperature)).astype(np.float32)


def _range(text: str) -> tuple[float, float]:
    low, high = text.split(" to ")
    return float(low), float(high)
