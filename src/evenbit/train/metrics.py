"""`metrics.jsonl`: a line of JSON for each epoch of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evenbit.errors import CheckpointError

METRICS = "metrics.jsonl"


def read_metrics(folder: Path, epochs: int) -> list[dict[str, Any]]:
    """The lines of the epochs that the checkpoint has done; a run at work may have written one more.

    Args:
        folder: Of the run; nothing is found where the file is missing.
        epochs: Of the checkpoint.

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
