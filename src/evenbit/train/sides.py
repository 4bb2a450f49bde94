"""Whether images may be mirrored, found out on the training images before a network is trained on them.

Mirroring half of the images helps where a mirrored image is still one of its class, as a cat is, and ruins classes that
differ by side, as arrows to the left and to the right do, or letters. So a small network is trained for a few seconds
on half of the training images, brought to a low resolution, and asked for the other half as they are and mirrored;
then the same with the halves exchanged, so that each image is asked for once. Of a class, let b images be named right
as they are and wrong when mirrored, and c the other way round. If mirroring changed nothing, b and c would differ by
chance alone, as heads and tails do (McNemar, 1947), so

    p = P(X >= b),  X binomial of b + c throws with chance 1/2

A class is one of a side where p is below 0.01 over the number of classes and fewer than half as many are named right
mirrored as are named right as they are, (right - b + c) < right / 2. Mirroring is off if there is such a class.
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
MOST_IMAGES = 2_000  # of the training images, spread evenly
STEPS, BATCH = 100, 32
LEARNING_RATE = 5e-3
CHANCE = 0.01  # that mirroring is turned off where it changes nothing
LEFT = 0.5  # of the right answers, at least, where mirroring does no harm
MOST_NAMED = 3


def classes_of_a_side(dataset: Dataset, seed: int) -> list[str]:
    """The classes whose images mean something else when they are mirrored, for what a small network sees of them.

    Args:
        dataset: Of which the training images alone are looked at.
        seed: Of all that is random; the same seed finds the same on the same machine and number of threads.
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
    """What was found, for people, and how to have it the other way."""
    if not classes:
        return (
            "mirroring half of the images, since no class was seen to change when it is mirrored; "
            "--set flip=false leaves it out"
        )
    names = ", ".join(classes[:MOST_NAMED]) + (f" and {len(classes) - MOST_NAMED} more" if classes[3:] else "")
    return f"no image is mirrored, since mirrored ones of {names} look like another class; --set flip=true mirrors them"


def _small(split: Split) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Some images at low resolution, float32, each with mean 0 and deviation 1, and their labels."""
    chosen = np.sort(mixed(len(split))[:MOST_IMAGES])
    images = torch.from_numpy(np.ascontiguousarray(split.images[chosen])).float()
    height, width = images.shape[2:]
    images = F.interpolate(images, (min(height, SIDE), min(width, SIDE)), mode="area")
    deviation, mean = torch.std_mean(images, (1, 2, 3), keepdim=True)
    return (images - mean) / (deviation + 1), split.labels[chosen]


def _answers(
    images: Tensor, labels: npt.NDArray[np.int64], classes: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """For each image whether a network that has not seen it names it right as it is, and mirrored."""
    right = np.zeros((2, len(labels)), np.bool_)
    halves = stratified_split(labels, 0.5)
    for seen, asked in (halves, halves[::-1]):
        if not len(seen):  # one image of each class
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
    """That of so many heads or more in some throws of a coin."""
    return float(sum(math.comb(throws, k) for k in range(heads, throws + 1)) / 2**throws)
