"""The report in headless Chromium: `make test-browser`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

WINDOWS = [(390, 844), (1280, 900)]
SCHEMES = ["light", "dark"]
# Chromium's contrast of two colours as WCAG defines it, after the page's own variables are resolved.
CONTRAST = """
const probe = document.createElement('span'); document.body.append(probe);
const luminance = name => {
  probe.style.color = `var(${name})`;
  const levels = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255);
  const [r, g, b] = levels.map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const found = Object.fromEntries(arguments[0].map(name => [name, ratio(luminance(name), luminance('--card'))]));
probe.remove();
return found;
"""
Open = Callable[..., Any]


@pytest.fixture
def show(browser: Any, open_page: Open, page: Path) -> Open:
    """Opens the page in a window of some width, in some colour scheme and medium."""

    def opened(width: int, height: int, scheme: str, medium: str = "screen") -> Any:
        open_page(page.as_uri(), width, height, scheme, medium)
        return browser

    return opened


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("width", "height"), WINDOWS)
def test_it_opens_without_errors_and_without_the_network(
    show: Open, page: Path, width: int, height: int, scheme: str
) -> None:
    browser = show(width, height, scheme)
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in urls
    assert all(url == page.as_uri() or url.startswith("data:") for url in urls)


@pytest.mark.parametrize(("width", "height"), WINDOWS)
def test_nothing_is_wider_than_the_window(show: Open, width: int, height: int) -> None:
    browser = show(width, height, "light")
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    cut = browser.execute_script(
        "return [...document.querySelectorAll('figure, pre, h1, h2, h3, p, dl')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.textContent.slice(0, 60))"
    )
    assert cut == []


@pytest.mark.parametrize(("width", "height"), WINDOWS)
def test_figures_are_seen_and_their_texts_can_be_read(show: Open, width: int, height: int) -> None:
    browser = show(width, height, "light")
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('figure')].map(f => {"
        "const picture = f.querySelector('svg, img'), box = picture.getBoundingClientRect();"
        "return [box.width, box.height, f.querySelector('figcaption').innerText.length,"
        "(picture.getAttribute('aria-label') || picture.alt).length]})"
    )
    assert len(sizes) > 20
    for wide, high, caption, text in sizes:
        assert min(wide, high) >= 60
        assert wide <= width
        assert min(caption, text) >= 5
    smallest = browser.execute_script(
        "return Math.min(...[...document.querySelectorAll('svg')].flatMap(s => {"
        "const scale = s.getScreenCTM().a;"
        "return [...s.querySelectorAll('text')].map(t => parseFloat(getComputedStyle(t).fontSize) * scale)}))"
    )
    assert smallest >= 7
    outside = browser.execute_script(
        "return [...document.querySelectorAll('svg')].flatMap(s => {const box = s.getBoundingClientRect();"
        "return [...s.querySelectorAll('text')].filter(t => {const r = t.getBoundingClientRect();"
        "return r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1})"
        ".map(t => s.getAttribute('aria-label') + ': ' + t.textContent)})"
    )
    assert outside == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_colours_stand_out(show: Open, scheme: str) -> None:
    browser = show(1280, 900, scheme)
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, paper.strip("rgb()").split(","))) < 60) == (scheme == "dark")
    found = browser.execute_script(
        CONTRAST, ["--ink", "--faint", "--plus", "--minus", *(f"--run{i}" for i in range(1, 7))]
    )
    assert min(found.values()) >= 4.5, found


def test_everything_is_printed(show: Open, tmp_path: Path) -> None:
    browser = show(1280, 900, "dark", "print")
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    heights = browser.execute_script(
        "return [...document.querySelectorAll('details svg, details table')].map(e => e.getBoundingClientRect().height)"
    )
    assert len(heights) >= 10
    assert min(heights) > 20
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"])
    assert pdf.startswith(b"%PDF")
