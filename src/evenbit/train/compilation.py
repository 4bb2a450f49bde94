"""Compiling a network for training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Units of one kind share their code, of which one version is compiled for each shape of the network's maps; torch
# takes more than eight for a mistake and goes on without compiling.
VERSIONS = 64


def compiler_found() -> bool:
    """Whether there is a C++ compiler, without which torch.compile fails at the first step."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++", "c++", "cl"))


def compile_network(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """The network under torch.compile, for images of one size in batches of one size.

    On a CPU, steps that have kernels of their own (`evenbit.nn.fused`) are left to them.

    Args:
        network: In training; its parameters and buffers stay those of the result.
    """
    versions: dict[str, Any] = {"recompile_limit": VERSIONS, "isolate_recompiles": True}  # torch's types lack them
    return torch.compile(network, dynamic=False, **versions)
