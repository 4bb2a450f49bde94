"""Reading a run's checkpoint and building its network."""

from __future__ import annotations

import json
import random

import safetensors.torch
from torch import nn

from evenbit.files import CHECKPOINT
from evenbit.models import register_model
from evenbit.nn.block import PlainLinear
from evenbit.nn.method import Method
from evenbit.train import checkpoint
from targets import scratch
from targets.structure import ChangeBytes, SafetensorsFile, change, mutate_file


@register_model
def smallest(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Two hidden units, so that a checkpoint has few bytes."""
    inputs = channels * size[0] * size[1]
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 2), PlainLinear(2, 2, method), nn.Linear(2, classes))


def check(data: bytes) -> None:
    """Loads the run."""
    scratch.write(CHECKPOINT, data)
    checkpoint.load_run(scratch.FOLDER)


def mutate(data: bytes, rng: random.Random, change_bytes: ChangeBytes) -> bytes:
    """Changes recipe, task, epoch or a tensor's entry, and makes the digest fit."""

    def change_part(file: SafetensorsFile, kind: int) -> None:
        if kind == 1:
            change(file.header, rng, change_bytes)
        elif kind == 2:
            change(file.metadata, rng, change_bytes)
        else:
            part = rng.choice(("recipe", "task"))
            value = json.loads(file.metadata[part])
            change(value, rng, change_bytes)
            file.metadata[part] = json.dumps(value)
        file.metadata.pop("sha256", None)
        tensors = safetensors.torch.load(file.to_bytes())
        file.metadata["sha256"] = checkpoint._digest(file.metadata, tensors)

    return mutate_file(data, rng, change_bytes, change_part)
