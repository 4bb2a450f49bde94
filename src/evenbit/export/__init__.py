"""Writes a Plan in other forms than `.evb`: one module per form, each with `export(plan, path)`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evenbit.plan import Plan

Exporter = Callable[..., Mapping[str, Any]]


def _module(name: str) -> Exporter:
    """`export` of a module that is only imported when it is used, since each needs packages of its own."""

    def export(plan: Plan, path: str | os.PathLike[str], **options: str) -> Mapping[str, Any]:
        row: Mapping[str, Any] = importlib.import_module(f"evenbit.export.{name}").export(plan, Path(path), **options)
        return row

    return export


EXPORTERS: dict[str, Exporter] = {name: _module(name) for name in ("c", "onnx", "qonnx", "web")}
"""The forms that `evenbit export --to` offers. Each function writes the Plan and returns what the command prints."""
