"""Finds out from the training images, before training, whether images may be mirrored.

Mirroring half of the images helps where a mirrored image still belongs to its class, such as a cat. It ruins classes
that differ by side, such as left and right arrows, or letters. So a small network is trained for a few seconds on half
of the training images, at low resolution. It then classifies the other half, as they are and mirrored. The halves then
change places, so that every image is tested once. In a class, let b images be right as they are and wrong when
mirrored, and c images the other way round. If mirroring changed nothing, b and c would differ only by chance, like
heads and tails (McNemar, 1947), so

    p = P(X >= b),  X binomial, b + c trials with probability 1/2

A class depends on the side if p is below 0.01 / (number of classes) and mirroring leaves fewer than half as many right
answers, (right - b + c) < right / 2. Mirroring is off if there is such a class.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evenbit.data.dataset import Dataset, Split, mixed, stratified_split

SIDE = 20  # pixels of the small images, at most
MOST_IMAGES = 2_000  # of the training images, in a fixed random choice
STEPS, BATCH = 100, 32
LEARNING_RATE = 5e-3
CHANCE = 0.01  # of turning mirroring off although it changes nothing
LEFT = 0.5  # share of the right answers that must be left when images are mirrored
MOST_NAMED = 3


def classes_of_a_side(dataset: Dataset, seed: int) -> list[str]:
    """The classes whose images mean something else when mirrored, as judged by a small network.

    Args:
        dataset: Only its training images are used.
        seed: For everything random; the result repeats with the same seed, machine and number of threads.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images, labels = _small(dataset.train)
        as_they_are, mirrored = _answers(images, labels, len(dataset.classes))
    found = []
    for label, name in enumerate(dataset.classes):
        plain, other = as_they_are[labels == label], mirrored[labels == label]
        lost, won, right = int((plain & ~other).sum()), int((other & ~plain).sum()), int(plain.sum())
        if _chance(lost, lost + won) < CHANCE / len(dataset.classes) and right - lost + won < LEFT * right:
            found.append(name)
    return found


def describe_sides(classes: list[str]) -> str:
    """What was found, and the flag that overrides it, in one line."""
    if not classes:
        return (
            "half of the images are mirrored, since no class seems to change when mirrored; "
            "--set flip=false turns this off"
        )
    names = ", ".join(classes[:MOST_NAMED]) + (f" and {len(classes) - MOST_NAMED} more" if classes[3:] else "")
    return f"no image is mirrored, since {names} look like another class when mirrored; --set flip=true mirrors anyway"


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
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """For each image, whether a network that has not seen it is right about it: as it is, and mirrored."""
    right = np.zeros((2, len(labels)), np.bool_)
    halves = stratified_split(labels, 0.5)
    for seen, asked in (halves, halves[::-1]):
        if not len(seen):  # there is only one image of each class
            continue
        network = _trained(images[seen], torch.from_numpy(labels[seen]), classes)
        for row, flipped in enumerate((images[asked], images[asked].flip(3))):
            right[row, asked] = network(flipped).argmax(1).numpy() == labels[asked]
    return right[0], right[1]


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


def _chance(heads: int, throws: int) -> float:
    """Probability of at least so many heads in some throws of a coin."""
    return float(sum(math.comb(throws, k) for k in range(heads, throws + 1)) / 2**throws)
