"""The progress of a long command: on a terminal a bar with the time left, anywhere else nothing.

Functions that take long have a parameter `progress`, which they call with the amount done and the total; `bar` makes
one that draws.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from evenbit.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

Report = Callable[[float, float], None]

SPEED_SECONDS = 120  # the time left is estimated from the speed in this period


@contextmanager
def bar(title: str, console: Console | None = None) -> Iterator[Report]:
    """A bar while the block runs, if both outputs are a terminal that can draw one; it leaves nothing behind.

    Args:
        title: What is being done.
        console: Where lines are printed meanwhile, so that they stay above the bar; standard error if not given.

    Yields:
        A function of the amount done and the total. If its first call says that all is done, nothing is drawn.
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


def tell(console: Console, text: str) -> None:
    """Prints a sentence, broken between words where the window ends."""
    console.print(printable(text), markup=False, highlight=False, emoji=False)


def part(report: Report | None, start: float, length: float, whole: float) -> Report | None:
    """Reports the progress of a part as that of the whole.

    Args:
        report: Called with the progress of the whole.
        start: Amount before the part.
        length: Amount of the part.
        whole: Amount of the whole.
    """
    return report and (lambda done, total: report(start + length * done / total, whole))
