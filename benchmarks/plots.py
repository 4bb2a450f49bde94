"""The pictures of docs/performance.md and docs/front.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

mpl.rcParams["svg.hashsalt"] = "evenbit"  # the same picture gives the same bytes
OURS, PEERS, LIGHT = "#1f6f8b", "#b0b7bd", "#9cc9d6"


def plot_peers(benches: list[tuple[str, dict[str, Any]]], path: Path) -> None:
    """Bars of least times, a panel for each titled benchmark; the ratio to ours beside each peer."""
    figure = Figure(figsize=(9, 0.4 + 1.9 * -(-len(benches) // 2)), layout="constrained")
    panels = list(figure.subplots(-(-len(benches) // 2), 2, squeeze=False).flat)
    for panel in panels:
        panel.axis("off")
    for panel, (title, bench) in zip(panels, benches, strict=False):
        panel.axis("on")
        rows = {"evenbit": bench["ours"], **bench["peers"]}
        times = [row["least_ms"] for row in rows.values()]
        panel.barh(list(rows), times, color=[OURS, *[PEERS] * (len(rows) - 1)])
        for index, (row, ms) in enumerate(zip(rows.values(), times, strict=True)):
            label = f" {ms:.3g} ms" + (f", {row['least_ratio']:.1f}x" if "least_ratio" in row else "")
            panel.text(ms, index, label, va="center", fontsize=8)
        panel.set_xlim(0, 1.35 * max(times))
        panel.invert_yaxis()
        panel.set_title(title, fontsize=9)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def plot_shares(profiles: list[dict[str, Any]], path: Path) -> None:
    """Each binary convolution's share of the limit, with its Tail and without, a panel for each instruction set."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    panels = figure.subplots(1, len(profiles), sharey=True, squeeze=False)[0]
    for panel, profile in zip(panels, profiles, strict=True):
        layers = [layer for layer in profile["layers"] if "share" in layer]
        places = np.arange(len(layers))
        panel.bar(places, [100 * layer["sums_share"] for layer in layers], color=LIGHT, label="sums alone")
        panel.bar(places, [100 * layer["share"] for layer in layers], color=OURS, width=0.5, label="with Tail")
        panel.axhline(100, color="black", linewidth=0.8)
        panel.set_xticks(places, [layer["output"] for layer in layers], rotation=90, fontsize=6)
        panel.set_title(f"{profile['isa']}: limit {profile['limit_gmacs']:.0f} GMAC/s", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("% of the limit")
    panels[0].legend(fontsize=7, loc="lower right")
    _save(figure, path)


Points = list[tuple[float, float, str]]
Line = list[tuple[float, float]]


def plot_front(panels: dict[str, dict[str, tuple[Points, Line]]], path: Path) -> None:
    """Accuracy against a cost, a panel a cost: the points of each kind of network, and the line of its best."""
    figure = Figure(figsize=(4.2 * len(panels), 4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for panel, (cost, kinds) in zip(axes, panels.items(), strict=True):
        for (name, (points, line)), color in zip(kinds.items(), (OURS, "#c05a2b", "#7a7f87"), strict=True):
            panel.scatter([x for x, _, _ in points], [y for _, y, _ in points], color=color, s=18, label=name)
            panel.step([x for x, _ in line], [y for _, y in line], where="post", color=color, linewidth=1)
            for x, y, label in points:
                panel.annotate(label, (x, y), (3, -9), textcoords="offset points", fontsize=6)
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel("bytes of the file" if cost == "bytes" else f"milliseconds, one thread, ours with {cost}")
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    axes[0].set_ylabel("% of the test images")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8, frameon=False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
