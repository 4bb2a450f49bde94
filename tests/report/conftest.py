from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from evenbit.report import make_report
from evenbit.train import load_recipe, train


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Short runs on the digits: float, react and fd."""
    root = tmp_path_factory.mktemp("runs")
    for method in ("float", "react", "fd"):
        recipe = load_recipe("digits-resnet8-fd", {"method": method, "epochs": 2, "seed": 5})
        train(recipe, root / method, console=Console(quiet=True))
    return [root / method for method in ("float", "react", "fd")]


@pytest.fixture(scope="session")
def page(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the three runs."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    make_report(runs, path)
    return path
