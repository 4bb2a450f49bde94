"""How each ATen op becomes Plan ops: each file has a table, `LOWERINGS`, of functions, one for each kind of node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.deploy.aten import activations, arithmetic, attention, binary, einsum, layers, moves, norms, pooling
from evenbit.deploy.lowering import Lowering

LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    target: lower
    for module in (moves, binary, einsum, layers, norms, arithmetic, activations, attention, pooling)
    for target, lower in module.LOWERINGS.items()
}

ACTIVATIONS = "ReLU, LeakyReLU, PReLU, Hardtanh, Sigmoid, Tanh, ELU, SiLU, GELU, Mish, Hardswish or Softsign"
# What to do instead, by the start of an op's name.
HINTS = {
    ("softplus", "exp", "log_sigmoid", "hardshrink", "rrelu", "threshold"): f"use {ACTIVATIONS}",
    ("log_softmax",): "only as the last op, over the classes, it may stay: the logits are what it reads",
    ("native_",): "use batch, group or layer normalization",
    ("addmm",): "use nn.Linear, nn.Conv2d or matmul",
    ("upsample",): "use nearest, bilinear or bicubic interpolation of maps",
    ("index", "gather", "where", "masked"): "which elements are selected must not depend on the images",
    ("copy_", "fill_"): "parts of a tensor cannot be assigned to; put them together by torch.cat",
    ("lstm", "gru", "rnn"): "recurrent layers cannot be run",
}


def hint(target: Any) -> str:
    """What to do about an op that cannot be packed."""
    name = str(target).removeprefix("aten.")
    found = (text for starts, text in HINTS.items() if name.startswith(starts))
    return next(found, "the layers around it may have to change")
