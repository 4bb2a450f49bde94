"""The figures of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from evenbit.report.collect import Comparison, Measured, Packed
from evenbit.report.layers import BinaryLayer, Distribution
from evenbit.report.svg import FAINT, INK, MINUS, PLUS, RUNS, WINDOW, embed, name, new_figure

MOST_LETTERS = 24  # of a class name beside a confusion matrix
LABELLED_CLASSES = 20  # with more, a confusion matrix has no room for names and numbers
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Attributes:
        image: The `svg` element, with a text for readers who cannot see it.
        caption: What it shows.
    """

    image: Markup
    caption: str


def curves(comparison: Comparison, quantity: str) -> Figure | None:
    """Accuracy or loss by epoch, of the training images and the measured ones; None if no run recorded them."""
    runs = [run for run in comparison.runs if run.metrics]
    if not runs:
        return None
    percent = " %" if quantity == "accuracy" else ""
    part = comparison.part
    figure = new_figure(2.5)
    axes = figure.add_subplot()
    axes.grid()
    for index, run in enumerate(runs):
        epochs = [line["epoch"] for line in run.metrics]
        values = [line[f"{part}_{quantity}"] for line in run.metrics]
        colour, marker = _colour(comparison.runs.index(run)), "o" if len(epochs) == 1 else None
        axes.plot(epochs, values, color=colour, linestyle=DASHES[index % len(DASHES)], label=str(index), marker=marker)
        for epoch, value in zip(epochs, values, strict=True):
            _say_at(axes, epoch, value, f"{run.label}, epoch {epoch}: {value:.4g}{percent} on the {part} images")
        axes.plot(epochs, [line[f"train_{quantity}"] for line in run.metrics], color=colour, linewidth=0.6, alpha=0.7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch (pass over the training images)", title=f"{quantity}{percent and ' in %'}")
    _legend(axes, [run.label for run in runs])
    last = ", ".join(f"{run.label} {run.metrics[-1][f'{part}_{quantity}']:.3g}{percent}" for run in runs)
    return Figure(
        embed(figure, f"Curves of the {quantity} by epoch. At the end, on the {part} images: {last}.", quantity),
        f"{quantity.capitalize()} by epoch. Thick lines: {part} images, which the network never trains on. "
        "Thin lines: the training images, which are shifted and otherwise changed at random before the network sees "
        "them, so they can be harder.",
    )


def entropies(comparison: Comparison, binary: Sequence[Measured]) -> Figure:
    """Entropy of the bits of every layer, with a plain sign and with the method."""
    figure = new_figure(2.5)
    axes = figure.add_subplot()
    axes.grid()
    for index, run in enumerate(binary):
        colour = _colour(comparison.runs.index(run))
        places = range(1, len(run.layers) + 1)
        layers = run.layers.values()
        axes.plot(places, [x.after.probe.entropy for x in layers], color=colour, marker="o", ms=3, label=str(index))
        for place, (called, found) in zip(places, run.layers.items(), strict=True):
            value = found.after.probe.entropy
            _say_at(axes, place, value, f"{run.label}, {called}: {value:.3f} bits")
        if any(layer.adjusted for layer in layers):
            before = [layer.before.probe.entropy for layer in layers]
            axes.plot(places, before, color=colour, marker="o", ms=2, linewidth=0.7, linestyle="--", alpha=0.8)
    axes.set(xlabel="binary layer, from the image to the answer", title="entropy in bits", ylim=(0, 1.05))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes, [run.label for run in binary], loc="lower left")
    means = ", ".join(
        f"{run.label} {np.mean([layer.after.probe.entropy for layer in run.layers.values()]):.2f}" for run in binary
    )
    return Figure(
        embed(figure, f"Curves of the entropy of the bits by layer. Means over the layers: {means}.", "entropy"),
        "How much each bit says, layer by layer: 1 when half of the bits are +1, 0 when all are alike. Solid: as the "
        "network runs. Dashed: if the sign were taken without the adjustment.",
    )


def layer(run: Measured, name: str, key: str) -> Figure:
    """The input of one layer of a run, before and after the adjustment, and the share of +1 of its channels."""
    found = run.layers[name]
    parts: list[tuple[str, Distribution]] = [("the values before the sign", found.after)]
    if found.adjusted:
        parts = [("before the adjustment", found.before), ("after it, where the sign is taken", found.after)]
    figure = new_figure(1.15 * (len(parts) + 1))
    panels = figure.subplots(len(parts) + 1)
    for axes, (title, distribution) in zip(panels, parts, strict=False):
        _distribution(axes, title, distribution, found)
    if found.adjusted:
        _zero_points(panels[0], found)
    _shares(panels[-1], found)
    after, before = found.after.probe, found.before.probe
    alt = (
        f"Histograms for layer {name} of {run.label}. Share of +1: {100 * found.before.positive:.0f} % before the "
        f"adjustment, {100 * found.after.positive:.0f} % after it. Entropy: {before.entropy:.2f} bits before, "
        f"{after.entropy:.2f} after."
    )
    change = f"Entropy {before.entropy:.2f} → {after.entropy:.2f} bits. " if found.adjusted else ""
    change = change or f"This method takes the sign of the unchanged input. Entropy {after.entropy:.2f} bits. "
    caption = f"{run.label}, {name}. {change}{100 * after.window:.0f} % of the values lie inside the gradient window."
    return Figure(embed(figure, alt, key), caption)


def _distribution(axes: Axes, title: str, distribution: Distribution, found: BinaryLayer) -> None:
    """A histogram whose bars have the colour of their sign, over the gradient window."""
    edges, shares = distribution.edges, distribution.shares
    axes.axvspan(max(-found.window, edges[0]), min(found.window, edges[-1]), color=WINDOW, alpha=0.18, linewidth=0)
    zero = int(np.abs(edges).argmin())
    axes.stairs(shares[:zero], edges[: zero + 1], color=MINUS, fill=True, alpha=0.85)
    axes.stairs(shares[zero:], edges[zero:], color=PLUS, fill=True, alpha=0.85)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set(xlim=(edges[0], edges[-1]), yticks=[], title=title)
    axes.spines["left"].set_visible(False)
    for colour, right, text in (
        (MINUS, 0.8, f"−1: {100 * (1 - distribution.positive):.0f} %"),
        (PLUS, 1, f"+1: {100 * distribution.positive:.0f} %"),
    ):
        axes.text(right, 1.04, text, color=colour, ha="right", va="bottom", transform=axes.transAxes, weight="bold")


def _zero_points(axes: Axes, found: BinaryLayer) -> None:
    """A tick for the zero point of each channel, below the histogram of its input."""
    points = found.zero_points[np.isfinite(found.zero_points)]
    low, high = axes.get_xlim()
    inside = points[(points > low) & (points < high)]
    axes.plot(inside, np.zeros_like(inside), "|", color=INK, ms=7, mew=0.7, alpha=0.6, clip_on=False)


def _shares(axes: Axes, found: BinaryLayer) -> None:
    """Share of +1 of each channel, sorted."""
    channels = len(found.after.probe.share)
    places = (np.arange(channels) + 0.5) / channels
    axes.axhline(50, color=FAINT, linewidth=0.8)
    if found.adjusted:
        axes.plot(places, 100 * np.sort(found.before.probe.share), color=INK, linewidth=0.9, linestyle=":")
    axes.plot(places, 100 * np.sort(found.after.probe.share), color=PLUS, linewidth=1.6)
    axes.set(ylim=(-3, 103), yticks=[0, 50, 100], xlim=(0, 1), xticks=[])
    axes.set_title("share of +1 in %, " + (f"{channels} channels, sorted" if channels > 1 else "one channel"))


def confusion(run: Measured, classes: Sequence[str], part: str, key: str) -> Figure:
    """The confusion matrix: how often each class was taken for each other."""
    counts = run.evaluation.confusion
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    labelled = len(classes) <= LABELLED_CLASSES
    figure = new_figure(3.4)
    axes = figure.add_subplot()
    colours = np.zeros((*counts.shape, 4))
    colours[..., :3] = np.where(np.eye(len(classes), dtype=bool)[..., None], (0.16, 0.55, 0.45), (0.85, 0.37, 0.1))
    colours[..., 3] = np.where(counts > 0, 0.1 + 0.6 * shares, 0)
    axes.imshow(colours, interpolation="nearest")
    axes.set(xlabel="the network's answer", ylabel="true class", xticks=[], yticks=[])
    for row, column in np.argwhere(counts > 0) if labelled else []:
        cell = Rectangle((column - 0.5, row - 0.5), 1, 1, alpha=0, linewidth=0, zorder=5)
        told = "recognized" if row == column else f"taken for {classes[column]}"
        name(axes.add_patch(cell), f"{classes[row]} {told}: {counts[row, column]:,} of {counts[row].sum():,}")
    if labelled:
        places, names = range(len(classes)), [_short(called) for called in classes]
        axes.set_xticks(places, names, rotation=90 if max(map(len, names)) > 2 else 0, fontsize=7)
        axes.set_yticks(places, names, fontsize=7)
        for row, column in np.argwhere(counts > 0):
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=6.5)
    off = np.where(np.eye(len(classes), dtype=bool), 0, counts)
    row, column = divmod(int(off.argmax()), len(classes))
    worst = "There is no mistake."
    if off[row, column]:
        times = "once" if off[row, column] == 1 else f"{off[row, column]} times"
        worst = f"The most frequent mistake: {classes[row]} taken for {classes[column]}, {times}."
    right, total = int(np.trace(counts)), int(counts.sum())
    alt = f"Confusion matrix of {run.label}: {right:,} of {total:,} {part} images are right. {worst}"
    return Figure(embed(figure, alt, key), f"{run.label}: {right:,} of {total:,} {part} images are right. {worst}")


def bits_and_floats(comparison: Comparison) -> Figure | None:
    """Bytes and multiply-adds of each run, 1-bit and float; None if none could be packed."""
    packed = [(run, run.packed) for run in comparison.runs if isinstance(run.packed, Packed)]
    if not packed:
        return None
    figure = new_figure(0.9 + 0.45 * len(packed))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, keys, unit in (
        (panels[0], "KB of constants", ("bit_bytes", "float_bytes"), 1e3),
        (panels[1], "million multiply-adds", ("binary_macs", "float_macs"), 1e6),
    ):
        start = np.zeros(len(packed))
        for key, colour, kind in zip(keys, (PLUS, MINUS), ("1-bit", "float"), strict=True):
            values = np.array([one.sums[key] / unit for _, one in packed])
            bars = axes.barh(range(len(packed)), values, left=start, color=colour, label=kind, height=0.6)
            for (run, one), bar in zip(packed, bars, strict=True):
                name(bar, f"{run.label}, {kind}: {one.sums[key]:,} {'bytes' if unit == 1e3 else 'multiply-adds'}")
            start += values
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.set(title=title, yticks=range(len(packed)))
        axes.set_yticklabels([shortened(run.label) for run, _ in packed])
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    texts = [
        f"{run.label}: {one.sums['bit_bytes']:,} bytes of bits and {one.sums['float_bytes']:,} of floats, "
        f"{one.sums['binary_macs']:,} multiply-adds on bits and {one.sums['float_macs']:,} on floats"
        for run, one in packed
    ]
    return Figure(
        embed(figure, f"Bars. {'; '.join(texts)}.", "parts"),
        "Left: bytes of weights and other constants. Right: multiply-adds for one image.",
    )


def _say_at(axes: Axes, x: float, y: float, text: str) -> None:
    """Shows a text when the mouse rests on a point of a curve."""
    (point,) = axes.plot([x], [y], marker="o", ms=7, color=INK, alpha=0, linestyle="none")
    name(point, text)


def _legend(axes: Axes, labels: Sequence[str], **options: Any) -> None:
    """A legend with these labels; matplotlib itself would leave out those that begin with an underscore."""
    lines = [line for line in axes.get_lines() if str(line.get_label()).isdigit()]
    for text, label in zip(axes.legend(handles=lines, **options).get_texts(), labels, strict=True):
        text.set_text(label)


def _colour(index: int) -> str:
    return RUNS[index % len(RUNS)]


def _short(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def shortened(path: str) -> str:
    """The end of a path, for a figure's margin."""
    return path if len(path) <= 24 else f"…{path[-23:]}"
