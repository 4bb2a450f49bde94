"""What Linux says about this machine's CPU."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def read_cpu() -> dict[str, str]:
    """The lines of /proc/cpuinfo for the first CPU, by their names; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = [[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]
    return dict(reversed(pairs))  # what comes last in a dict stays


def cpu_features(cpu: dict[str, str]) -> list[str]:
    """Names of the instruction set extensions that `read_cpu` found, on x86 or on ARM."""
    return (cpu.get("flags") or cpu.get("Features") or "").split()


def machine() -> str:
    """Model and number of the CPUs, and whether they have AMX; a name often stands for several generations.

    A virtual machine may hide the AMX (instructions that multiply matrices of 8-bit numbers) that its CPU has.
    """
    cpu = read_cpu()
    name = cpu.get("model name", platform.machine())
    details = [f"family {cpu['cpu family']}", f"model {cpu['model']}"] if "cpu family" in cpu else []
    details += ["AMX"] if "amx_int8" in cpu_features(cpu) else []
    kind = f" ({', '.join(details)})" if details else ""
    return f"{name}{kind}, {os.cpu_count()} CPUs"
