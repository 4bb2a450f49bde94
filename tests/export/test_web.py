"""A network as a web page. That it answers as the reference does is tested in tests/web."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from plans import PlanMaker

from evenbit import plan_file, pretrained
from evenbit.errors import ExportError
from evenbit.export import EXPORTERS

ROOT = Path(__file__).parents[2]
WEB = ROOT / "src" / "evenbit" / "export" / "web"
NETWORK = plan_file.load(pretrained.NETWORK)
FILES = {"index.html", "page.css", "page.js", "evenbit.js", "image.js", "module.js", "offline.js", "evenbit.wasm"}


def test_a_folder_for_a_static_host(tmp_path: Path) -> None:
    row = EXPORTERS["web"](NETWORK, tmp_path / "page")
    assert {file.name for file in (tmp_path / "page").iterdir()} == {*FILES, "model.evb"}
    assert (tmp_path / "page" / "model.evb").read_bytes() == plan_file.to_bytes(NETWORK)
    assert row["network_bytes"] == (tmp_path / "page" / "model.evb").stat().st_size
    assert row["page_bytes"] == sum((tmp_path / "page" / name).stat().st_size for name in FILES)


def test_the_page_keeps_what_it_needs_when_there_is_no_connection(tmp_path: Path) -> None:
    EXPORTERS["web"](NETWORK, tmp_path / "page")
    worker = (tmp_path / "page" / "offline.js").read_text()
    needed = {*FILES, "model.evb"} - {"offline.js"}
    assert [name for name in needed if f'"{name}"' not in worker] == []


def test_an_earlier_page_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    EXPORTERS["web"](NETWORK, tmp_path / "page")
    (tmp_path / "page" / "model.evb").write_bytes(b"old")
    EXPORTERS["web"](NETWORK, tmp_path / "page")
    assert (tmp_path / "page" / "model.evb").read_bytes() != b"old"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("<p>mine</p>")
    with pytest.raises(ExportError, match=r"index\.html exists and was not made by this command"):
        EXPORTERS["web"](NETWORK, tmp_path / "mine")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["index.html"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.evb").write_bytes(b"mine")
    with pytest.raises(ExportError, match=r"model\.evb exists"):
        EXPORTERS["web"](NETWORK, tmp_path / "other")
    assert (tmp_path / "other" / "model.evb").read_bytes() == b"mine"


def test_photos_have_one_or_three_channels(tmp_path: Path) -> None:
    make = PlanMaker(0, 2, 4, 4)
    plan = make.plan(make.conv(make.normalize(), 3, (1, 1), (1, 1), (0, 0), 1))
    with pytest.raises(ExportError, match="1 or 3 channels, but the network takes 2"):
        EXPORTERS["web"](plan, tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_the_module_is_built_of_the_sources_of_today() -> None:
    """If not: make wasm."""
    command = [sys.executable, str(ROOT / "tools" / "web_sources.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == (WEB / "sources.sha256").read_text()
