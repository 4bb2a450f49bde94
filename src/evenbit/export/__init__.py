"""Other forms of a Plan, for places where neither the engine nor Python runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from evenbit.errors import ExportError
from evenbit.plan import Plan


def _export_c(plan: Plan, out: Path, name: str) -> Mapping[str, object]:
    from evenbit.export.c import export_c

    return export_c(plan, out, name)


# What `evenbit export --to` takes: (plan, file or folder to write, name of the network) -> what to tell about it.
EXPORTERS: dict[str, Callable[[Plan, Path, str], Mapping[str, object]]] = {"c": _export_c}


def export(plan: Plan, to: str, out: Path, name: str = "evenbit") -> Mapping[str, object]:
    """Writes a Plan in another form.

    Args:
        plan: The network.
        to: One of `EXPORTERS`.
        out: The file or folder to write.
        name: What the network is called there.

    Returns:
        What to tell about it: a row of names and values.

    Raises:
        ExportError: If the form is unknown or cannot hold the network.
        PlanError: If the Plan is not valid.
    """
    if to not in EXPORTERS:
        raise ExportError(f"unknown form '{to}'; known are {', '.join(EXPORTERS)}")
    plan.shapes()
    return EXPORTERS[to](plan, out, name)
