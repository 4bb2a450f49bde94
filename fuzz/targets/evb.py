"""Reading an `.evb` file, preparing the engine for it, and running one image where that is quick."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import safetensors.numpy

from evenbit import plan_file
from evenbit.plan import Plan
from evenbit.runtime.engine import Engine
from targets import scratch
from targets.structure import ChangeBytes, SafetensorsFile, change, mutate_file

MOST_WORK = 10_000_000  # elements of all maps, times those of the largest weight or window, of a network that is run


def check(data: bytes) -> None:
    """Loads the file; a network that loads must run."""
    engine = Engine.load(scratch.write("x.evb", data), threads=1)
    plan = engine.plan
    if _work(plan) <= MOST_WORK:
        logits = engine(np.full((1, plan.channels, plan.height, plan.width), 99, np.uint8))
        _, height, width, classes = plan.shapes()[plan.output]
        if logits.shape != ((1, classes, height, width) if plan.gives_map else (1, classes)):
            raise AssertionError(f"logits of the shape {logits.shape}")


def _work(plan: Plan) -> int:
    tensors = max((array.size for array in plan.tensors.values()), default=1)
    windows = max((math.prod(getattr(op, "kernel", ())) for op in plan.ops), default=1)
    return sum(math.prod(shape[1:]) for shape in plan.op_shapes()) * max(tensors, windows)


def mutate(data: bytes, rng: random.Random, change_bytes: ChangeBytes) -> bytes:
    """Changes the plan, a tensor's entry or the tensors' bytes, and makes the digest fit."""

    def change_part(file: SafetensorsFile, kind: int) -> None:
        content = json.loads(file.metadata[plan_file.KEY])
        if kind == 1:
            change(file.header, rng, change_bytes)
        elif kind == 2:
            file.body = (change_bytes(file.body) + bytes(len(file.body)))[: len(file.body)]
        else:
            for _ in range(rng.randrange(1, 3)):
                change(content["plan"], rng, change_bytes)
        content["sha256"] = plan_file._digest(content["plan"], safetensors.numpy.load(file.to_bytes()))
        file.metadata[plan_file.KEY] = json.dumps(content)

    return mutate_file(data, rng, change_bytes, change_part)
