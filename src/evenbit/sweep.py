"""A sweep: a list of recipes, each with some seeds, trained one after another into one table.

    name = "methods"                the name of the table
    seeds = [0]                     the seeds of every run that gives none
    [base]                          keys of a recipe that all runs share
    data = "cifar10"
    [[run]]                         one row of the table
    label = "fd without excitation"
    seeds = [0, 1]
    method = "fd"                   any keys of a recipe
    knobs = { excitation_groups = 0 }

Every run has a folder of its own, so a sweep that was stopped continues where it was, and several processes can share
one: each trains the runs that no other is training.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from evenbit import plan_file
from evenbit.errors import CaptureError, CheckpointError, RecipeError, TrainingError, unknown
from evenbit.files import is_run
from evenbit.printable import printable
from evenbit.progress import Report, part
from evenbit.train.checkpoint import read_checkpoint
from evenbit.train.lock import AlreadyLockedError
from evenbit.train.loop import train
from evenbit.train.metrics import check_metrics, read_metrics
from evenbit.train.recipe import Recipe, make_recipe
from evenbit.train.toml import parse_toml

KEYS = ("name", "seeds", "base", "run")  # of a sweep file


@dataclass(frozen=True)
class Entry:
    """One row of a sweep.

    Attributes:
        label: Its name in the table.
        recipes: The same recipe with each seed.
    """

    label: str
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True)
class Sweep:
    """What a sweep file asks for.

    Attributes:
        name: Name of the sweep.
        entries: Its rows.
    """

    name: str
    entries: tuple[Entry, ...]

    def folder(self, out: Path, entry: Entry, recipe: Recipe) -> Path:
        """The folder of a run."""
        return out / f"{_slug(entry.label)}-seed{recipe.seed}"


def _slug(label: str) -> str:
    return re.sub("[^a-z0-9]+", "-", label.lower()).strip("-")


def load_sweep(path: Path) -> Sweep:
    """Reads and checks a sweep file.

    Raises:
        RecipeError: If the file or a recipe in it is not valid; the message names the file and the run.
    """
    values = parse_toml(path.read_bytes(), str(path))
    if others := values.keys() - KEYS:
        raise RecipeError(f"{path}: {unknown('key', min(others), KEYS)}")
    seeds, base, runs = values.get("seeds", [0]), values.get("base", {}), values.get("run", [])
    if not isinstance(runs, list) or not runs:
        raise RecipeError(f"{path} has no [[run]] table")
    for table in (base, *runs):
        if not isinstance(table, dict) or not isinstance(table.get("knobs", {}), dict):
            raise RecipeError(f"{path}: base, each run and their knobs have to be TOML tables")
    entries = tuple(_entry(path, number, run, base, seeds) for number, run in enumerate(runs, 1))
    folders: dict[str, str] = {}
    for entry in entries:
        if _slug(entry.label) in folders:
            first = folders[_slug(entry.label)]
            raise RecipeError(f"{path}: the runs '{first}' and '{entry.label}' would share a folder; change a label")
        folders[_slug(entry.label)] = entry.label
    return Sweep(str(values.get("name", path.stem)), entries)


def _entry(path: Path, number: int, run: Mapping[str, Any], base: Mapping[str, Any], seeds: Sequence[int]) -> Entry:
    own = {key: value for key, value in run.items() if key not in ("label", "seeds")}
    settings = {**base, **own, "knobs": {**base.get("knobs", {}), **own.get("knobs", {})}}
    if "seed" in settings:
        raise RecipeError(f"{path}: run {number}: a sweep takes a list of seeds: seeds = [{settings['seed']!r}]")
    label = str(run.get("label", settings.get("method", f"run {number}")))
    chosen = run.get("seeds", seeds)
    numbers = isinstance(chosen, list) and all(type(seed) is int for seed in chosen)
    if not numbers or not chosen or len(set(chosen)) < len(chosen):
        raise RecipeError(f"{path}: '{label}': seeds should be a list of different numbers, but are {chosen!r}")
    return Entry(label, tuple(make_recipe({**settings, "seed": seed}, f"{path}: '{label}'") for seed in chosen))


def run_sweep(
    sweep: Sweep, out: Path, *, data_root: str | None, console: Console, progress: Report | None = None
) -> list[dict[str, Any]]:
    """Trains all runs that are not finished yet, and returns the finished rows.

    Args:
        sweep: What to train.
        out: Folder of all runs.
        data_root: Where the data set's files are.
        console: Where a line for each run and epoch is printed.
        progress: Called now and then with the number of epochs done and their total, over all runs.

    Returns:
        A row for each entry whose runs are all finished; entries are missing only if other processes still train them.

    Raises:
        TrainingError: If the loss of some run was not finite, once all others are trained; `finished_rows` gives their
            rows.
    """
    runs = [(entry.label, r, sweep.folder(out, entry, r)) for entry in sweep.entries for r in entry.recipes]
    left = [(label, recipe, folder) for label, recipe, folder in runs if not _is_finished(folder, recipe)]
    before, epochs = 0, sum(recipe.epochs for _, recipe, _ in left)
    failed = []
    for label, recipe, folder in left:
        share = part(progress, before, recipe.epochs, epochs)
        before += recipe.epochs
        if _is_finished(folder, recipe):  # by another process, meanwhile
            continue
        console.print(printable(f"{label}, seed {recipe.seed}: {folder}"), markup=False)
        resume = is_run(folder)
        try:
            train(recipe, folder, data_root=data_root, resume=resume, console=console, progress=share)
        except AlreadyLockedError:
            console.print("  another process is training it", markup=False)
        except TrainingError as error:
            console.print(f"  {error}", markup=False)
            failed.append(f"'{label}', seed {recipe.seed}")
    if failed:
        raise TrainingError(f"the loss did not stay finite in {', '.join(failed)}")
    return finished_rows(sweep, out)


def _is_finished(folder: Path, recipe: Recipe) -> bool:
    if not is_run(folder):
        return False
    checkpoint = read_checkpoint(folder)
    if checkpoint.recipe != recipe.decided_as(checkpoint.recipe):
        raise CheckpointError(f"{folder} was trained with another recipe than the sweep's; move it away")
    return checkpoint.epoch == recipe.epochs


def finished_rows(sweep: Sweep, out: Path) -> list[dict[str, Any]]:
    """A row for each entry whose runs are all finished.

    Args:
        sweep: What is trained.
        out: Folder of all runs.
    """
    rows = []
    for entry in sweep.entries:
        folders = [sweep.folder(out, entry, recipe) for recipe in entry.recipes]
        if all(_is_finished(folder, recipe) for folder, recipe in zip(folders, entry.recipes, strict=True)):
            rows.append(_row(entry, folders))
    return compared_with_twins(rows)


def compared_with_twins(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows; each binary one also has the accuracy of its float twin among them, and the gap to it.

    Args:
        rows: Rows of `finished_rows`, from one sweep or several.
    """
    ordered = sorted(rows, key=lambda row: row["accuracy_mean"])  # of several twins, the best one is used
    twins = {_twin_key(row): row["accuracy_mean"] for row in ordered if row["method"] == "float"}
    found = []
    for row in rows:
        twin = twins.get(_twin_key(row))
        gap = None if twin is None or row["method"] == "float" else twin - row["accuracy_mean"]
        found.append({**row, "float_accuracy": twin, "gap_points": gap})
    return found


def _row(entry: Entry, folders: Sequence[Path]) -> dict[str, Any]:
    """One row of the table."""
    recipe = entry.recipes[0]
    measured = "validation" if recipe.validation else "test"
    lines = [read_metrics(folder, recipe.epochs) for folder in folders]
    for folder, found in zip(folders, lines, strict=True):
        check_metrics(folder, found, recipe.epochs)
    last = [epochs[-1] for epochs in lines]
    accuracies = [line[f"{measured}_accuracy"] for line in last]

    def mean(key: str) -> float | None:
        values = [line[key] for line in last if key in line]
        return statistics.fmean(values) if values else None

    return {
        "label": entry.label,
        "method": recipe.method,
        "model": recipe.model,
        "dataset": recipe.data,
        "measured": measured,
        "epochs": recipe.epochs,
        "seeds": [each.seed for each in entry.recipes],
        "accuracy_mean": statistics.fmean(accuracies),
        "accuracy_spread": max(accuracies) - min(accuracies),
        "accuracies": accuracies,
        "accuracy_frozen": mean(f"{measured}_accuracy_frozen"),
        "float_accuracy": None,
        "gap_points": None,
        "balance": mean("balance"),
        "entropy": mean("entropy"),
        "window": mean("window"),
        "seconds_per_epoch": statistics.median(line["seconds"] for epochs in lines for line in epochs),
        "packed_bytes": _packed_bytes(folders[0]),
        "recipe": recipe.model_dump(exclude={"seed"}),
        "settings": asdict(recipe.resolved_method()),
    }


def _packed_bytes(folder: Path) -> int | None:
    """Size of the deployed file; None for a network that has no 1-bit form."""
    from evenbit.deploy import pack_run

    try:
        return len(plan_file.to_bytes(pack_run(folder)))
    except CaptureError:
        return None


def _twin_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a binary network and its float twin have in common."""
    blocks = row["recipe"]["knobs"].get("double_skip", False)  # which a float network can have too
    images = row["recipe"]["image_size"], row["recipe"]["validation"]
    return (*(row[key] for key in ("model", "dataset", "epochs")), *images, blocks)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table, best accuracy last.

    Accuracy is the mean over the seeds and `spread` the distance between the best and the worst; `frozen` is the
    accuracy with each group excitation and third moment at its mean, `gap` the distance to the float twin, `window` the
    share of values that the gradient estimator lets through.
    """
    columns = [
        "method",
        "seeds",
        "accuracy %",
        "spread",
        "frozen %",
        "gap",
        "balance",
        "entropy",
        "window",
        "s/epoch",
        ".evb bytes",
    ]
    lines = [f"| {' | '.join(columns)} |", "|---|" + "--:|" * (len(columns) - 1)]
    for row in sorted(rows, key=lambda row: row["accuracy_mean"]):
        spread = f"{row['accuracy_spread']:.2f}" if len(row["seeds"]) > 1 else ""
        size = "" if row["packed_bytes"] is None else f"{row['packed_bytes']:,}"
        label = printable(row["label"]).replace("|", r"\|")
        cells = [label, ", ".join(map(str, row["seeds"])), f"{row['accuracy_mean']:.2f}", spread]
        cells += [_number(row[key], 2) for key in ("accuracy_frozen", "gap_points")]
        cells += [_number(row[key], 3) for key in ("balance", "entropy", "window")]
        cells += [_number(row["seconds_per_epoch"], 0), size]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
