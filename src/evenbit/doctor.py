"""What evenbit finds on this machine: for bug reports, and to see why it is slow."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from evenbit.cpu import cpu_features, read_cpu
from evenbit.data import SOURCES
from evenbit.data.locate import Source
from evenbit.errors import DataError, EvenbitError

NEEDED = ("numpy", "pillow", "safetensors", "rich", "cyclopts")
OPTIONAL = ("torch", "accelerate", "scikit-learn", "onnx", "onnxruntime", "openvino")
# The CPU features that the instruction sets of csrc/kernels/isas.inc need, as Linux names them.
FEATURES = ("avx2", "avx512f", "avx512dq", "avx512vl", "avx512bw", "avx512_vpopcntdq", "avx512_vnni", "asimd")


def diagnose(data_root: str | None = None) -> dict[str, Any]:
    """Versions, CPU, instruction sets, torch and data sets.

    Args:
        data_root: Where the files of data sets are; None to use the variable `EVENBIT_DATA`.

    Returns:
        `evenbit`, `python` and `platform`: versions. `packages`: the version of each, None if it is not installed.
        `torch`: whether it loads, and on what it computes. `cpu`: `model`, `usable` CPUs and `features`.
        `isa`: the instruction set that an engine uses, or what is wrong with the choice; `isas`: all that this machine
        can run. `data`: the folder of each data set, None if it is not found.
    """
    return {
        "evenbit": metadata.version("evenbit"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in (*NEEDED, *OPTIONAL)},
        "torch": _torch(),
        "cpu": _cpu(),
        **_instruction_sets(),
        "data": {source.name: _folder(source, data_root) for source in SOURCES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _torch() -> str:
    """Whether torch loads; only loading it tells, since a library that it links to may be missing."""
    if _version("torch") is None:
        return "not installed: no training; pip install 'evenbit[train]'"
    try:
        import torch
    except Exception as error:  # whatever a broken installation raises
        return f"does not load: {' '.join(str(error).split())}"
    return f"computes on {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "computes on the CPU"


def _instruction_sets() -> dict[str, Any]:
    try:
        from evenbit.runtime.engine import choose_isa, isas
    except ImportError as error:
        return {"isa": f"the engine does not load: {error}", "isas": []}
    try:
        return {"isa": choose_isa(None), "isas": list(isas())}
    except EvenbitError as error:
        return {"isa": str(error), "isas": list(isas())}


def _cpu() -> dict[str, Any]:
    cpu = read_cpu()
    found = cpu_features(cpu)
    features = [name for name in FEATURES if name in found]
    return {"model": cpu.get("model name"), "usable": len(os.sched_getaffinity(0)), "features": features}


def _folder(source: Source, root: str | None) -> str | None:
    try:
        return str(source.locate(root))
    except DataError:
        return None
