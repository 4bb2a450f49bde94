"""`evenbit` commands in processes forked from one that has torch loaded, so that each starts at once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
PRELOADED = ["evenbit.cli", "evenbit.sweep", "evenbit.deploy", "evenbit.runtime.engine", "evenbit.data.folder"]
# What torch imports later.
PRELOADED += ["torch._dynamo", "torch.export._trace", "torch.testing", "sympy.assumptions", "networkx"]
FORKS.set_forkserver_preload(PRELOADED)


def start(command: list[str], log: Path) -> BaseProcess:
    """Starts a command; what it prints goes to a file."""
    process = FORKS.Process(target=_run, args=(command, str(log)))
    process.start()
    return process


def run(command: list[str], log: Path) -> int:
    """Runs a command to its end; returns its exit status."""
    process = start(command, log)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def run_well(command: list[str], log: Path) -> None:
    """Runs a command that has to succeed."""
    if run(command, log) != 0:
        sys.exit(f"evenbit {' '.join(command)}: {log.read_text()}")


def _run(command: list[str], log: str) -> None:
    """In the process of the command."""
    import torch

    from evenbit.cli import main

    with Path(log).open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    torch.set_num_threads(1)
    sys.exit(main(command))
