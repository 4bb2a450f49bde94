"""What a training shows while it runs: a bar on a terminal, a line an epoch anywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class EpochProgress:
    """Context of one epoch.

    Args:
        console: Where to print.
        epoch: Number of the epoch, from 0.
        epochs: Number of epochs.
        steps: Steps of an epoch.
        batch_size: Images of a step.
    """

    def __init__(self, console: Console, epoch: int, epochs: int, steps: int, batch_size: int) -> None:
        self._console = console
        self._title = f"epoch {epoch + 1:>{len(str(epochs))}}/{epochs}"
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(compact=True),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        # The bar spans the whole run, so that the time left is the run's.
        self._task = self._progress.add_task(self._title, total=epochs * steps, completed=epoch * steps, status="")
        self._before = epoch * steps
        self._batch_size = batch_size
        self._start = time.perf_counter()

    def __enter__(self) -> EpochProgress:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def update(self, step: int, loss: float, accuracy: float) -> None:
        """Shows the means so far after `step` steps."""
        speed = step * self._batch_size / (time.perf_counter() - self._start)
        status = f"loss {loss:.3f}  {accuracy:.1f} %  {speed:.0f}/s"
        self._progress.update(self._task, completed=self._before + step, status=status)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Prints the epoch's line."""
        measured = "validation" if "validation_accuracy" in metrics else "test"
        balance = f"  balance {metrics['balance']:.3f}" if "balance" in metrics else ""
        self._console.print(
            f"{self._title}  loss {metrics['train_loss']:.3f}  train {metrics['train_accuracy']:.1f} %  "
            f"{measured} {metrics[f'{measured}_accuracy']:.2f} %{balance}  {metrics['images_per_second']:.0f}/s",
            highlight=False,
        )
