"""`metrics.jsonl`: a line of JSON for each epoch of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evenbit.errors import CheckpointError

METRICS = "metrics.jsonl"


def read_metrics(folder: Path, epochs: int) -> list[dict[str, Any]]:
    """The lines of a checkpoint's finished epochs; a run in progress may have written one more.

    Args:
        folder: Folder of the run; if the file is missing, the result is empty.
        epochs: Finished epochs of the checkpoint.

    Raises:
        CheckpointError: If a line is not JSON.
    """
    path = folder / METRICS
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:epochs]]
    except ValueError:
        raise CheckpointError(f"{path} is damaged: a line is not JSON") from None


def check_metrics(folder: Path, lines: Sequence[object], epochs: int) -> None:
    """Raises CheckpointError if a run's metrics, whose lines these are, miss some of its checkpoint's epochs."""
    if len(lines) < epochs:
        raise CheckpointError(
            f"{folder / METRICS} holds {len(lines)} of the {epochs} epochs of the checkpoint beside it"
        )
