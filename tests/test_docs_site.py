"""The docs as a site: what `make docs` builds, with warnings as errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

import evenbit

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where ruff is, which forms signatures
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = {**os.environ, "PATH": path, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return out


class _Addresses(HTMLParser):
    """What a page loads by itself, and where its links lead."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "source", "iframe") and values.get("src"):
            self.loaded.append(values["src"] or "")
        if tag == "link" and values.get("rel") in ("stylesheet", "preconnect", "icon"):
            self.loaded.append(values["href"] or "")
        if tag == "a" and values.get("href"):
            self.linked.append(values["href"] or "")


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        addresses = _Addresses(page)
        assert addresses.loaded
        for address in addresses.loaded:
            if address.startswith("data:"):  # part of the page
                continue
            assert "//" not in address, f"{page.name} loads {address}"
            if page.name != "404.html":  # whose addresses are those of a server's root
                assert (page.parent / address).exists(), f"{page.name} loads {address}"


def test_links_to_files_of_the_repository_lead_to_their_pages(site: Path) -> None:
    linked = {
        path.resolve().relative_to(site.resolve()).as_posix()
        for page in site.glob("*.html")
        if page.name != "404.html"
        for link in _Addresses(page).linked
        if ":" not in link and (path := page.parent / link.partition("#")[0]).is_file()
    }
    assert {
        "source/CONTRIBUTING.md.html",
        "source/src/evenbit/ops/max_pool.py.html",
        "source/csrc/evb/index.html",
    } <= linked
    assert "class MaxPool" in re.sub(
        "<[^>]*>", "", (site / "source/src/evenbit/ops/max_pool.py.html").read_text("utf-8")
    )


def test_code_blocks_are_blocks_without_their_marks(site: Path) -> None:
    source = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    text = (site / "training.html").read_text(encoding="utf-8")
    assert "```sh no-run" in source
    assert "no-run" not in text
    assert text.count('<div class="highlight">') == source.count("```") // 2


@pytest.mark.parametrize("name", evenbit.__all__)
def test_public_names_have_an_entry_in_the_reference(site: Path, name: str) -> None:
    home = getattr(evenbit, name)
    pages = [page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html")]
    identifier = f"{getattr(home, '__module__', 'evenbit.nn.method')}.{name}"
    package = ".".join(identifier.split(".")[:2])
    assert any(f'id="{i}"' in page for page in pages for i in (identifier, f"{package}.{name}")), identifier


def _entries(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for child in nav.values() if isinstance(nav, dict) else nav:
            yield from _entries(child)


def test_every_page_is_in_the_navigation_once() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(_entries(nav)) == sorted(pages)
