"""How sure a network may be of a photo, measured on images that it was not trained on and kept in its file.

A softmax assigns every image to one of the classes, mostly with a probability that is too high. So three things are
measured on held-out images:

    temperature  T, which divides the logits so that the probabilities are right on average; it minimizes the
                 cross-entropy of softmax(z / T) (Guo et al., On calibration of modern neural networks, ICML 2017)
    certainty    the probability of the likeliest class that all but a share `UNSURE` of the images reach
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
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evenbit.data.dataset import Images, Split
from evenbit.evaluation import Predict, collect_logits, score, softmax
from evenbit.plan import Plan
from evenbit.progress import Report

UNSURE = 0.05
UNUSUAL = 0.01
STATISTICS = ("contrast", "detail", "colour")
LEAST_IMAGES = 20  # held out; fewer say nothing about rare images
MOST_IMAGES = 5_000
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.25, 8.0
TEMPERATURES = 201  # are tried, evenly spaced in their logarithm


@dataclass(frozen=True)
class Confidence:
    """What was measured; see the module.

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
            found = cls(float(info["temperature"]), float(info["certainty"]), usual)
        except (KeyError, ValueError):
            return None
        return found if 0 < found.temperature < np.inf else None

    def as_info(self) -> dict[str, str]:
        """As entries for the info of a Plan."""
        ranges = {name: f"{low:.4g} to {high:.4g}" for name, (low, high) in self.usual.items()}
        return {"temperature": f"{self.temperature:.4g}", "certainty": f"{self.certainty:.4g}", **ranges}

    def probabilities(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probabilities of the classes, `[N, K]`, from logits of the same shape."""
        return softmax(_divided(logits, self.temperature))

    def doubts(self, images: Images, logits: npt.NDArray[np.float32]) -> list[list[str]]:
        """For each image, why its answer is unsure: "certainty", names of `STATISTICS`; an empty list if it is sure."""
        low = self.probabilities(logits).max(1) < self.certainty
        found = [["certainty"] * bool(doubt) for doubt in low]
        for name, values in zip(STATISTICS, statistics(images).T, strict=True):
            lowest, highest = self.usual[name]
            for doubts, value in zip(found, values, strict=True):
                doubts += [name] * bool(not lowest <= value <= highest)
        return found


def measure(images: Images, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Confidence:
    """Measures a confidence on at least `LEAST_IMAGES` held-out images `[N, C, H, W]` with their logits and labels."""
    tried = np.geomspace(LEAST_TEMPERATURE, MOST_TEMPERATURE, TEMPERATURES)
    losses = [score(_divided(logits, temperature), labels).loss for temperature in tried]
    temperature = float(f"{tried[int(np.argmin(losses))]:.4g}")
    certainty = softmax(_divided(logits, temperature)).max(1)
    values = statistics(images)
    ranges = np.quantile(values, (UNUSUAL, 1 - UNUSUAL), axis=0).T
    usual = {name: (float(low), float(high)) for name, (low, high) in zip(STATISTICS, ranges, strict=True)}
    return Confidence(temperature, float(np.quantile(certainty, UNSURE)), usual)


def statistics(images: Images) -> npt.NDArray[np.float64]:
    """`STATISTICS` of images `[N, C, H, W]`, `[N, 3]`."""
    levels = images.astype(np.float64)
    grey = levels.mean(1)
    contrast = grey.std((1, 2))
    squares = [
        (np.diff(grey, axis=axis) ** 2).mean((1, 2)) if grey.shape[axis] > 1 else 0 * contrast for axis in (1, 2)
    ]
    detail = np.sqrt(sum(squares) / 2) / np.maximum(contrast, 1e-9)
    colour = (levels - grey[:, None]).std((1, 2, 3))
    return np.stack([contrast, detail, colour], 1)


def with_confidence(plan: Plan, predict: Predict, held_out: Split, progress: Report | None = None) -> Plan:
    """The Plan with the confidence in its info, measured on the first images of a split; unchanged if they are too few.

    Args:
        plan: The network.
        predict: Runs it.
        held_out: Images that it was not trained on.
        progress: Called now and then with the number of images done and their total.
    """
    first = held_out.images[:MOST_IMAGES]
    if len(first) < LEAST_IMAGES:
        return plan
    found = measure(first, collect_logits(predict, first, progress=progress), held_out.labels[:MOST_IMAGES])
    return dataclasses.replace(plan, info={**plan.info, **found.as_info()})


def _divided(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float32]:
    return (logits / np.float32(temperature)).astype(np.float32)


def _range(text: str) -> tuple[float, float]:
    low, high = text.split(" to ")
    return float(low), float(high)
