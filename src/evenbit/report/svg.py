"""Figures of matplotlib as inline SVG that takes its colours from the page.

A figure is drawn in placeholder colours, one for each CSS variable of the page's style sheet, which differ between
light, dark and print. Texts stay texts, so they can be read aloud, searched and scaled.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Placeholders and the CSS variables that they stand for.
INK, FAINT, MINUS, PLUS, WINDOW = "#010101", "#020202", "#030303", "#040404", "#050505"
RUNS = ("#0a0101", "#0a0202", "#0a0303", "#0a0404", "#0a0505", "#0a0606")
VARIABLES = {INK: "--ink", FAINT: "--faint", MINUS: "--minus", PLUS: "--plus", WINDOW: "--window"}
VARIABLES |= {colour: f"--run{index + 1}" for index, colour in enumerate(RUNS)}

WIDTH = 3.75  # inches; shown at 350 pixels, the texts have the size of small print
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of classes and runs may hold dollar signs
    "svg.hashsalt": "evenbit",
    "font.size": 8,
    "axes.facecolor": "none",
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": FAINT,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
}
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
TITLE = "title: "  # begins the gid of an artist that shows a text when the mouse rests on it
# matplotlib's style sheet would apply to the whole page; the page has the same rule for its figures only.
DROPPED = (f"{{{SVG}}}metadata", f"{{{SVG}}}style")


def name(artist: Artist, text: str) -> None:
    """Shows a text when the mouse rests on an artist of an embedded figure."""
    artist.set_gid(TITLE + text)


def new_figure(height: float) -> Figure:
    """An empty figure without background, `WIDTH` inches wide; to be drawn within `settings()`."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0)
    return figure


def settings() -> AbstractContextManager[None]:
    """Context in which figures are drawn and embedded."""
    return matplotlib.rc_context(SETTINGS)


def embed(figure: Figure, alt: str, key: str) -> Markup:
    """A figure as an `svg` element.

    Args:
        figure: The figure.
        alt: What it shows, for readers who cannot see it.
        key: Prefix of the ids in it; different for each figure of a page.
    """
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Texts stay texts in SVG, so the reader's fonts count; measuring them here may lack a character.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        FigureCanvasSVG(figure).print_svg(file)  # type: ignore[no-untyped-call]
    root = ET.fromstring(file.getvalue())
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', file.getvalue().decode()))
    for parent in root.iter():
        for child in [child for child in parent if child.tag in DROPPED]:
            parent.remove(child)
        _clean(parent, used, key)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", alt)
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    return Markup(ET.tostring(root, encoding="unicode"))


def _clean(element: ET.Element, used: set[str], key: str) -> None:
    """Makes ids unique in the page, uses the page's colours and font, and rounds coordinates."""
    attributes = element.attrib
    if attributes.get("id", "").startswith(TITLE):
        title = ET.Element(f"{{{SVG}}}title")
        title.text = attributes["id"].removeprefix(TITLE)
        element.insert(0, title)
    if attributes.get("id") in used:
        attributes["id"] = f"{key}-{attributes['id']}"
    else:
        attributes.pop("id", None)
    for name, value in attributes.items():
        if name == "d":
            attributes[name] = re.sub(r"-?\d+\.\d+", lambda match: f"{float(match[0]):.2f}", value).replace("\n", "")
        elif name == f"{{{XLINK}}}href" and value.startswith("#"):
            attributes[name] = f"#{key}-{value[1:]}"
        elif name == "clip-path":
            attributes[name] = value.replace("url(#", f"url(#{key}-")
        elif name == "style":
            value = re.sub(r"#0[0-9a]\w{4}", lambda match: f"var({VARIABLES[match[0]]})", value)
            attributes[name] = re.sub(r"font: ([\d.]+px) [^;]*", r"font: \1 var(--font)", value)
