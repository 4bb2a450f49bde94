"""Deployment: a trained torch network becomes a Plan."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from evenbit.deploy.capture import capture
from evenbit.deploy.passes import PASSES
from evenbit.plan import Plan


def pack(
    module: nn.Module,
    *,
    channels: int,
    height: int,
    width: int,
    classes: tuple[str, ...],
    info: Mapping[str, str] | None = None,
) -> Plan:
    """Turns a network into a Plan: captured with `torch.export`, then simplified by `evenbit.deploy.passes.PASSES`.

    Args:
        module: A network in eval mode from images `[N, C, H, W]` in [0, 1] to logits `[N, classes]`.
        channels: C.
        height: H.
        width: W.
        classes: Class names in the order of the logits.
        info: Where the network comes from; kept in the file for people.

    Returns:
        The Plan, checked.

    Raises:
        CaptureError: If the network holds something that cannot be deployed; names the module.
    """
    plan = capture(module, channels, height, width, classes, info or {})
    for simplify in PASSES:
        plan = simplify(plan)
        plan.shapes()
    return plan


__all__ = ["pack"]
