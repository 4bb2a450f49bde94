from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evenbit import bench

ROOT = Path(__file__).parent.parent

sys.path.append(str(ROOT / "tests"))  # makes `warm` importable

# For torch, here and in every process that a test starts: small maps gain nothing from more threads, and on a busy
# machine the threads wait for each other. Read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
# Without a window, lines are not broken; pytest-xdist gives its workers one of 80 columns.
os.environ.pop("COLUMNS", None)

# No test looks at times that are worth a rest between turns.
bench.REST_SECONDS = 0

# Files that take minutes, first, so that the processes of `make test` are done at about the same time.
LONGEST = ("test_docs.py", "test_cli.py", "test_demo.py", "test_kills.py", "test_new_op.py", "test_compilation.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which the sanitizers' environment does not have
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A process takes a whole file, which sets up some things once, but of the pages of docs/ one at a time."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if "::test_commands_run[" in nodeid else super()._split_scope(nodeid)

    return Scheduling(config, log)


@pytest.fixture
def draw_photos() -> Callable[..., None]:
    """Draws 20 photos of each class into a folder, noise about the level of their class."""

    def drawn(folder: Path, levels: dict[str, int], height: int, width: int) -> None:
        rng = np.random.default_rng(0)
        for name, level in levels.items():
            (folder / name).mkdir(parents=True)
            for index in range(20):
                pixels = np.clip(rng.normal(level, 20, (height, width, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{index}.png")

    return drawn


@pytest.fixture
def photos(tmp_path: Path, draw_photos: Callable[..., None]) -> Path:
    """The folder in which the commands of a page run: it holds 2 x 20 photos, and this repository as `evenbit`."""
    (tmp_path / "evenbit").symlink_to(ROOT)
    draw_photos(tmp_path / "photos", {"cat": 60, "dog": 190}, 40, 50)
    return tmp_path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium that keeps what its pages request and log."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    program = shutil.which("chromedriver")
    assert program, "needs Debian's packages chromium and chromium-driver"
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(program))
    yield driver
    driver.quit()


@pytest.fixture
def open_page(browser: Any) -> Callable[..., None]:
    """Opens an address in a window of some size, colour scheme and medium, with empty logs."""

    def opened(address: str, width: int, height: int, scheme: str, medium: str = "screen") -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})
        browser.get_log("performance")
        browser.get_log("browser")
        browser.get(address)

    return opened
