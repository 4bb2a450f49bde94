"""Memory that a training step has freed serves the next one."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from evenbit.nn._training import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for turn in range(12):
    if turn == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(48 << 20, np.uint8).fill(1)  # freed at once
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(choice: str) -> int:
    """Pages that the system had to map for ten maps of 48 MiB, after two others."""
    command = [sys.executable, "-c", FAULTS, choice]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc")
def test_kept_memory_is_not_mapped_again() -> None:
    assert faults("keep") * 10 < faults("leave")
