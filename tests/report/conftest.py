from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from evenbit.report import make_report
from evenbit.train import load_recipe, train


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Maps of 8x8 gain nothing from more, and on a busy machine the threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
