"""The sentences of a report, made from the measurements."""

from __future__ import annotations

import numpy as np

from evenbit.nn.method import Method
from evenbit.printable import printable
from evenbit.report.collect import Comparison, Measured, Packed

BY_HEART = 15.0  # points between the accuracies on the training images and on others
LEAST_GAIN = 0.01  # bits of entropy; less cannot be seen in two digits


def method_parts(method: Method) -> list[str]:
    """What a method does, for readers who know no methods."""
    if not method.binary:
        return ["real numbers of 32 bits everywhere"]
    told = {
        "shifts and scales its inputs before taking the sign (distribution adjustment)": method.adjustment != "none",
        "lets each image move the zero points (group excitation)": method.excitation_groups > 0,
        "lets the distribution of a channel in an image move its zero point (third moment)": method.third_moment,
        "learns two values instead of −1 and +1": method.two_values,
        "learns a zero point for each channel (refinement)": method.zero_point and method.zero_point_cells == 1,
        "learns zero points for each channel, by place in the map (refinement)": method.zero_point
        and method.zero_point_cells > 1,
        "learns to shift and bend the results of the binary layers (RPReLU)": method.activation == "rprelu",
        "keeps real weights, for the first of two steps of training": not method.binary_weights,
    }
    return [words for words, holds in told.items() if holds] or ["takes the signs of its inputs, and nothing else"]


def binary_runs(comparison: Comparison) -> list[Measured]:
    """The runs that have binary layers."""
    return [run for run in comparison.runs if run.layers]


def mean_entropies(run: Measured) -> tuple[float, float]:
    """Mean over the binary layers of the entropy without the adjustment and with it."""
    layers = run.layers.values()
    before = np.mean([layer.before.probe.entropy for layer in layers])
    return float(before), float(np.mean([layer.after.probe.entropy for layer in layers]))


def warnings(comparison: Comparison) -> list[str]:
    """What a reader should know before comparing the accuracies."""
    told = []
    epochs = {run.label: run.run.epoch for run in comparison.runs}
    if len(set(epochs.values())) > 1:
        lengths = ", ".join(f"{label} {count}" for label, count in epochs.items())
        told.append(f"The runs were not trained equally long (epochs: {lengths}), so do not compare their accuracies.")
    constant = comparison.runs[0].evaluation.constant
    if any(run.evaluation.constant.near for run in comparison.runs):
        told.append(
            f"Always answering {printable(constant.name)} would give {constant.accuracy:.2f} %. Look at the balanced "
            "accuracy, in which each class counts the same."
        )
    return told


def learned_by_heart(comparison: Comparison) -> list[str]:
    """A sentence about each run that is far better on the images it was trained on than on others."""
    told = []
    for run in comparison.runs:
        if not run.metrics:
            continue
        trained, measured = run.metrics[-1]["train_accuracy"], run.metrics[-1][f"{comparison.part}_accuracy"]
        beyond_chance = trained > run.evaluation.interval[1]  # few test images say little
        if trained - measured >= BY_HEART and beyond_chance:
            told.append(
                f"{run.label} is right on {trained:.1f} % of the images it was trained on, changed as in training, and "
                f"on {measured:.1f} % of others: it has learned the former by heart (overfitting). What helps is more "
                "images, or a start from a network that has seen many others (--from)."
            )
    return told


def in_short(comparison: Comparison) -> list[str]:
    """The results, in a few sentences for each binary run; if there is none, for each run."""
    told = []
    if not binary_runs(comparison):
        for run in comparison.runs:
            accuracy = f"{run.evaluation.accuracy:.2f} % of the images right"
            told.append(f"{run.label}, which has real numbers, gets {accuracy}.")
    twin = next((run for run in comparison.runs if not run.layers), None)
    for run in binary_runs(comparison):
        right = f"{run.label}, a binary network, gets {run.evaluation.accuracy:.2f} % of the images right"
        if twin is not None:
            gap = twin.evaluation.accuracy - run.evaluation.accuracy
            side = f"{abs(gap):.2f} points {'fewer' if gap > 0 else 'more'} than" if gap else "as many as"
            right += f", {side} {twin.label}, which has real numbers"
        sentences = [right + "."]
        if twin is not None and isinstance(run.packed, Packed) and isinstance(twin.packed, Packed):
            ours, theirs = run.packed.bytes, twin.packed.bytes
            sentences.append(
                f"Its file has {ours:,} bytes, that of {twin.label} {theirs:,}: {theirs / ours:.1f} times as many."
            )
        before, after = mean_entropies(run)
        if any(layer.adjusted for layer in run.layers.values()) and after - before >= LEAST_GAIN:
            sentences.append(
                f"On average, each of its bits carries {after:.2f} bits of information; without the adjustment before "
                f"the sign it would carry {before:.2f}."
            )
        told.append(" ".join(sentences))
    return told


def clearest_layer(comparison: Comparison) -> tuple[str, str]:
    """The layer in which the adjustment of some run gains most entropy, and a sentence on why it was chosen."""
    gains: dict[str, float] = {}
    for run in binary_runs(comparison):
        for name, layer in run.layers.items():
            gain = layer.after.probe.entropy - layer.before.probe.entropy
            gains[name] = max(gain, gains.get(name, gain))
    name = max(gains, key=lambda name: gains[name])
    if not any(layer.adjusted for run in binary_runs(comparison) for layer in run.layers.values()):
        return name, "This is the first of the binary layers."
    if 0 < gains[name] < LEAST_GAIN:
        return name, "The adjustment changes how much the bits say by less than 0.01 in every layer."
    if gains[name] <= 0:
        return name, "In no layer do the bits say more with the adjustment; in this one they lose least."
    return name, "This is the layer in which the bits gain most from the adjustment."
