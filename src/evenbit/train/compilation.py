"""Compiling a network for training."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Blocks of one kind share their code, and torch compiles a version of it for each shape of their maps. By default it
# stops compiling after eight versions.
VERSIONS = 64


def compiler_found() -> bool:
    """Whether there is a C++ compiler, without which torch.compile fails at the first step."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++", "c++", "cl"))


def compile_network(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Compiles a network with torch.compile, for one image size and one batch size.

    On a CPU, operations that have their own kernels (`evenbit.nn.fused`) keep using these.

    Args:
        network: The network to train; the result shares its parameters and buffers.
    """
    versions: dict[str, Any] = {"recompile_limit": VERSIONS, "isolate_recompiles": True}  # not in torch's type hints
    if "isolate_recompiles" not in inspect.signature(torch.compile).parameters:  # torch before 2.13
        torch._dynamo.config.recompile_limit = VERSIONS
        versions = {}
    return torch.compile(network, dynamic=False, **versions)
