"""How far a long command is: a bar with the time left on a terminal, nothing anywhere else.

Functions that take long have a parameter `progress`, which they call with how much is done and how much there is in
all; `bar` makes one that draws.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Report = Callable[[float, float], None]

SPEED_SECONDS = 120  # the time left is judged by the speed of this long


@contextmanager
def bar(title: str, console: Console | None = None) -> Iterator[Report]:
    """A bar while the block runs, if both outputs are a terminal that can draw one; it leaves nothing behind.

    Args:
        title: What is being done.
        console: Where lines are printed meanwhile, which then stay above the bar; standard error if not given.

    Yields:
        A function of how much is done and how much there is in all. What is done at once is not drawn.
    """
    from rich.console import Console

    console = console or Console(stderr=True)
    if not console.is_interactive or console.quiet or not sys.stdout.isatty():
        yield lambda done, total: None
        return
    with ExitStack() as stack:
        drawn: list[Report] = []

        def report(done: float, total: float) -> None:
            if not drawn and done < total:
                drawn.append(_draw(title, console, stack))
            for update in drawn:
                update(done, total)

        yield report


def _draw(title: str, console: Console, stack: ExitStack) -> Report:
    """Starts a bar that ends with the stack."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # slow to load

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(compact=True))
    period = SPEED_SECONDS
    progress = stack.enter_context(
        Progress(*columns, TextColumn("left"), console=console, transient=True, speed_estimate_period=period)
    )
    task = progress.add_task(title, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


def part(report: Report | None, start: float, length: float, whole: float) -> Report | None:
    """The progress of a part, told as that of the whole.

    Args:
        report: What is told the progress of the whole.
        start: How much of the whole comes before the part.
        length: How much of the whole the part is.
        whole: How much there is in all.
    """
    return report and (lambda done, total: report(start + length * done / total, whole))
