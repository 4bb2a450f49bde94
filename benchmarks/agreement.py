"""Why an engine and torch name different classes: whose bits differ first, and how near their values were to zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from evenbit.bits import unpack_bits
from evenbit.nn import BinaryActivation
from evenbit.plan import Plan
from evenbit.runtime import reference
from evenbit.train.checkpoint import to_float

EXPLAINED = 1e-4  # distance of a value from its zero point, in units of what the sign sees


def compare(
    model: nn.Module,
    plan: Plan,
    images: npt.NDArray[np.uint8],
    in_torch: npt.NDArray[np.float32],
    on_engine: npt.NDArray[np.float32],
) -> dict[str, Any]:
    """Counts the images whose top class differs, and those of them that are explained.

    Args:
        model: The network in eval mode.
        plan: The same network, packed; its bits are written in the order of the network's binary activations.
        images: `[N, C, H, W]`, uint8.
        in_torch: Logits `[N, K]` of `model`, or `[N, K, H, W]` of each pixel.
        on_engine: Logits of `plan`, of the same shape.
    """
    differs = in_torch.argmax(1) != on_engine.argmax(1)
    differing = np.flatnonzero(differs.reshape(len(images), -1).any(1))
    distances = [_first_difference(model, plan, images[index : index + 1], differs[index]) for index in differing]
    return {
        "differing": len(differing),
        "explained": sum(distance <= EXPLAINED for distance in distances),
        "largest_distance": max(distances, default=None),
        "logits_equal_within_1e-3": int((np.abs(in_torch - on_engine).reshape(len(images), -1).max(1) < 1e-3).sum()),
    }


def _first_difference(
    model: nn.Module, plan: Plan, image: npt.NDArray[np.uint8], differs: npt.NDArray[np.bool_]
) -> float:
    """Largest distance from zero among the values whose bits differ in the first layer where any do.

    Without any differing bit, the difference of the two largest logits, which rounding has turned round; of a map, the
    largest of the pixels whose class differs.
    """
    seen: list[Tensor] = []
    hooks = [
        module.sign.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for module in model.modules()
        if isinstance(module, BinaryActivation)
    ]
    with torch.inference_mode():
        logits = model(to_float(torch.from_numpy(image)))
    for hook in hooks:
        hook.remove()
    shapes, values = plan.shapes(), reference.values(plan, image)
    packed = [op.tail.bits.out for op in plan.ops if op.tail.bits]
    for before, name in zip(seen, packed, strict=True):
        bits = unpack_bits(values[name], shapes[name].channels)[0].transpose(2, 0, 1)
        value = (before if before.dim() == 4 else before.T).reshape(bits.shape).numpy()  # a map, or rows of tokens
        wrong = (value >= 0) != bits
        if wrong.any():
            return float(np.abs(value[wrong]).max())
    top = logits[0].topk(2, dim=0).values
    return float((top[0] - top[1]).numpy()[differs].max())
