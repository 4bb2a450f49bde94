"""Finds out from the training images, before training, whether images may be mirrored.

Mirroring half of the images helps where a mirrored image still belongs to its class, such as a cat. It ruins classes
that differ by side, such as left and right arrows, or letters. The harm is far greater than the help, so images are
mirrored only if they show that it does no harm.

Classes that are named after sides, such as "turn left" and "turn right", say it themselves. Otherwise a small network
is trained for a few seconds on half of the training images, at low resolution. It then classifies the other half, as
they are and mirrored. The halves then change places, so that every image is tested once. If a class has b images that
are right as they are and wrong when mirrored, and c images the other way round, and if mirroring changed nothing, b and
c would differ only by chance, like heads and tails (McNemar, 1947), so

    p = P(X >= b),  X binomial, b + c trials with probability 1/2

Images are not mirrored if one of these holds:

    a class depends on the side    p is below `CHANCE`, and fewer than half as many of it are right when mirrored
    all classes together do        the same for the images of all classes, where fewer than 3/4 as many are right
    it cannot be told              mirrored images are hardly right more often than an answer that ignores the image

For the last one, let n of all N images belong to class k, and let a of the N answers to mirrored images be k. Answers
that ignored the image would be right with probability q = sum over k of (n/N) (a/N). With m right answers to mirrored
images, it cannot be told unless P(X >= m) is below `CHANCE`, X binomial, N trials with probability q.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.special import bdtrc
from torch import Tensor, nn

from evenbit.data.dataset import Dataset, Split, mixed, stratified_split

SIDE = 20  # pixels of the small images, at most
MOST_IMAGES = 2_000  # of the training images, in a fixed random choice
STEPS, BATCH = 100, 32
LEARNING_RATE = 5e-3
CHANCE = 0.01  # of each finding, if there is nothing to find
LEFT, LEFT_IN_ALL = 0.5, 0.75  # shares of the right answers that must be left when images are mirrored
MOST_NAMED = 3
WORDS = (
    ("left", "right"), ("links", "rechts"), ("gauche", "droite"), ("izquierda", "derecha"), ("sinistra", "destra"),
    ("esquerda", "direita"),
)  # fmt: skip


class Mirroring(NamedTuple):
    """Whether images may be mirrored, and why."""

    allowed: bool
    reason: str

    def __str__(self) -> str:
        """In one line, with the flag that overrides it."""
        if self.allowed:
            return f"half of the images are mirrored, since {self.reason}; --set flip=false turns this off"
        return f"no image is mirrored, since {self.reason}; --set flip=true mirrors anyway"


def judge_mirroring(dataset: Dataset, seed: int) -> Mirroring:
    """Whether the images of a data set keep their classes when mirrored; see the module.

    Args:
        dataset: Only its class names and training images are used.
        seed: For everything random; the result repeats with the same seed, machine and number of threads.
    """
    if pair := _named_after_sides(dataset.classes):
        return Mirroring(False, f"the classes {' and '.join(pair)} are named after sides")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images, labels = _small(dataset.train)
        as_they_are, mirrored = _answers(images, labels, len(dataset.classes))
    return _judge(dataset.classes, labels, as_they_are, mirrored)


def _judge(
    classes: tuple[str, ...],
    labels: npt.NDArray[np.int64],
    as_they_are: npt.NDArray[np.int64],
    mirrored: npt.NDArray[np.int64],
) -> Mirroring:
    """From the answers to each image; -1 where there is none."""
    right, right_mirrored = as_they_are == labels, mirrored == labels

    def lost(chosen: npt.NDArray[np.bool_], left: float) -> bool:
        plain, other = right[chosen], right_mirrored[chosen]
        b, c = int((plain & ~other).sum()), int((other & ~plain).sum())
        return _at_least(b, b + c, 0.5) < CHANCE and other.sum() < left * plain.sum()

    if found := [name for label, name in enumerate(classes) if lost(labels == label, LEFT)]:
        names = ", ".join(found[:MOST_NAMED]) + (f" and {len(found) - MOST_NAMED} more" if found[MOST_NAMED:] else "")
        return Mirroring(False, f"mirrored images of {names} look like another class")
    if lost(labels >= 0, LEFT_IN_ALL):
        return Mirroring(False, "mirrored images look like other classes too often")
    counts = [np.bincount(values[values >= 0], minlength=len(classes)) for values in (labels, mirrored)]
    by_chance = float(counts[0] @ counts[1]) / len(labels) ** 2
    if _at_least(int(right_mirrored.sum()), len(labels), by_chance) >= CHANCE:
        return Mirroring(False, "these images are too few or too hard to tell whether that would change their classes")
    return Mirroring(True, "a quick test found no class that this changes")


def _named_after_sides(classes: tuple[str, ...]) -> tuple[str, str] | None:
    """Two classes whose names differ only in the side that they name; None if there are none."""
    lower = {name.lower(): name for name in classes}
    for words in WORDS:
        for name in lower:
            other = name.replace(*words)
            if other != name and other in lower:
                return lower[name], lower[other]
    return None


def _small(split: Split) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Some images at low resolution, float32, each with mean 0 and a deviation of about 1, and their labels."""
    chosen = np.sort(mixed(len(split))[:MOST_IMAGES])
    images = torch.from_numpy(np.ascontiguousarray(split.images[chosen])).float()
    height, width = images.shape[2:]
    images = F.interpolate(images, (min(height, SIDE), min(width, SIDE)), mode="area")
    deviation, mean = torch.std_mean(images, (1, 2, 3), keepdim=True)
    return (images - mean) / (deviation + 1), split.labels[chosen]


def _answers(
    images: Tensor, labels: npt.NDArray[np.int64], classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each image the answers of a network that has not seen it, as it is and mirrored; -1 where there is none."""
    answers = np.full((2, len(labels)), -1)
    halves = stratified_split(labels, 0.5)
    for seen, asked in (halves, halves[::-1]):
        if not len(seen):  # there is only one image of each class
            continue
        network = _trained(images[seen], torch.from_numpy(labels[seen]), classes)
        for row, flipped in enumerate((images[asked], images[asked].flip(3))):
            answers[row, asked] = network(flipped).argmax(1).numpy()
    return answers[0], answers[1]


def _trained(images: Tensor, labels: Tensor, classes: int) -> nn.Module:
    channels = images.shape[1]
    network = nn.Sequential(
        *_layer(channels, 16), nn.MaxPool2d(2), *_layer(16, 32), nn.MaxPool2d(2), *_layer(32, 32),
        nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(128, classes),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / STEPS)
        batch = torch.randint(len(images), (min(BATCH, 2 * len(images)),))
        loss = F.cross_entropy(network(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network.eval().requires_grad_(False)


def _layer(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _at_least(hits: int, trials: int, probability: float) -> float:
    """Probability of at least so many hits in independent trials that each hit with that probability."""
    return 1.0 if hits == 0 else float(bdtrc(hits - 1, trials, probability))
