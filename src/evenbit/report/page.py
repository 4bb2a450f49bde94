"""The page: what was measured, put into the templates."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2

from evenbit.export.c.size import in_kib
from evenbit.files import check_result, write_atomically
from evenbit.printable import printable
from evenbit.report import figures, samples, words
from evenbit.report.collect import LAYER_BATCH, Comparison, Packed, collect
from evenbit.report.drawing import draw_network
from evenbit.report.svg import settings
from evenbit.report.timing import Timings, time_networks
from evenbit.train.augmented import describe_augmentation
from evenbit.train.origin import Origin, find_data


def make_report(
    folders: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    data_root: str | None = None,
    images: int = 1000,
    tell: Callable[[str], object] = lambda line: None,
) -> None:
    """Measures runs and writes a page about them that needs no other file and no connection.

    Args:
        folders: Folders of runs that were measured on the same images; at least one.
        out: The HTML file to write.
        data_root: Where the files of a named data set are.
        images: How many of the measured images to observe the binary layers on.
        tell: Called with a line about each step.

    Raises:
        CheckpointError, DataError: If a run or its data cannot be read.
        RecipeError: If there is no run, or they were not measured on the same images.
        OSError: If the file cannot be written.
    """
    out = Path(out)
    check_result(out)
    comparison = collect([Path(folder) for folder in folders], data_root=data_root, images=images, tell=tell)
    tell("timing the packed networks")
    timings = time_networks(comparison.runs)
    tell("drawing")
    with settings():
        context = _context(comparison, timings)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evenbit.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    page = environment.get_template("report.html.j2").render(context, timings=timings, origin=Origin.here())
    write_atomically(out, page.encode())


def _context(comparison: Comparison, timings: Timings | None) -> dict[str, Any]:
    """The variables of the templates, with all figures drawn."""
    runs, binary = comparison.runs, words.binary_runs(comparison)
    classes = [printable(name) for name in runs[0].run.task.classes]
    names = list(dict.fromkeys(name for run in binary for name in run.layers))
    watched = binary[-1] if binary else runs[-1]
    first, mistakes = samples.choose(comparison, classes, watched)
    return {
        "comparison": comparison,
        "infinite": math.inf,
        "layer_batch": LAYER_BATCH,
        "runs": runs,
        "packed": [run for run in runs if isinstance(run.packed, Packed)],
        "unpacked": [run for run in runs if not isinstance(run.packed, Packed)],
        "binary": binary,
        "classes": classes,
        "models": " and ".join(dict.fromkeys(run.run.recipe.model for run in runs)),
        "several": len({run.run.recipe.model for run in runs}) > 1,
        "in_kib": in_kib,
        "by_heart": words.learned_by_heart(comparison),
        "data": Path(find_data(runs[0].run.recipe.data, runs[0].run.origin)).resolve().name,
        "made": datetime.now(timezone.utc),
        "in_short": words.in_short(comparison),
        "warnings": words.warnings(comparison),
        "float_run": any(not run.layers for run in runs),
        "unmeasured": math.isnan,
        "method_parts": {run.label: words.method_parts(run.run.recipe.resolved_method()) for run in runs},
        "entropies": {run.label: words.mean_entropies(run) for run in binary},
        "settings": {run.label: _settings(run.run.recipe.model_dump()) for run in runs},
        "shown": samples.montage(comparison.shown),
        "augmentation": describe_augmentation(runs[0].run.recipe),
        "curves": [figures.curves(comparison, "accuracy"), figures.curves(comparison, "loss")],
        "entropy_figure": figures.entropies(comparison, binary) if binary else None,
        "clearest": words.clearest_layer(comparison) if binary else None,
        "adjusted": any(layer.adjusted for run in binary for layer in run.layers.values()),
        "layers": {
            name: [figures.layer(run, name, f"l{i}r{j}") for j, run in enumerate(binary) if name in run.layers]
            for i, name in enumerate(names)
        },
        "confusions": [figures.confusion(run, classes, comparison.part, f"c{index}") for index, run in enumerate(runs)],
        "samples": first,
        "mistakes": mistakes,
        "watched": watched,
        "parts": figures.bits_and_floats(comparison),
        "drawings": [
            draw_network(run, run.packed, timings.ops[run.label], f"n{index}")
            for index, run in enumerate(runs)
            if timings is not None and isinstance(run.packed, Packed)
        ],
    }


def _settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """The settings of a recipe that are in use."""
    return {key: value for key, value in recipe.items() if value not in (None, {})}
