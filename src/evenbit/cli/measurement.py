"""Commands that measure a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import Parameter

from evenbit import terminal
from evenbit.cli.app import MEASURE, Json, Out, app
from evenbit.errors import EvenbitError
from evenbit.printable import printable
from evenbit.progress import bar, part, tell

if TYPE_CHECKING:
    from evenbit.evaluation import Evaluation, Predict

MOST_NAMED = 5  # of the classes that differ


@app.command(name="eval", group=MEASURE, sort_key=0)
def evaluate(
    path: Path,
    *,
    data: str | None = None,
    data_root: str | None = None,
    threads: int | None = None,
    isa: str | None = None,
    wrong: Annotated[bool, Parameter(negative="")] = False,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    as_json: Json = False,
) -> None:
    """Measure a run or a packed file on test images.

    A run is measured in torch, a packed file on the engine. A run that held out images for validation is measured on
    these, unless --data names a data set.

    Args:
        path: Folder of a run, or an .evb file.
        data: Data set; the one it was trained on if not given.
        data_root: Where the files of a named data set are.
        threads: Threads of the engine; all CPUs if not given.
        isa: Instruction set of the engine; the best one if not given.
        wrong: List the images that are classified wrong, the surest mistakes first; wrong labels show up here.
        all_: Measure the training images too; with --wrong, list their mistakes among the others. A wrong label may be
            learned, but often is not.
        as_json: Print JSON.
    """
    from evenbit.confidence import calibrated
    from evenbit.data import READERS, hold_out, load_dataset
    from evenbit.errors import DataError
    from evenbit.evaluation import evaluate as measure
    from evenbit.evaluation import mistakes_of
    from evenbit.images import describe_passed_over

    network = _open_classifier(path, threads, isa, data_root)
    source = data or network.trained_on
    if source is None:
        raise DataError(f"{path} does not say what it was trained on; name a data set with --data")
    if data is None and path.is_file() and source not in READERS and not Path(source).is_dir():
        raise DataError(f"{path} was trained on the folder {source}, which is not here; say where it is with --data")
    dataset = load_dataset(source, root=data_root, size=network.shape[1])
    if dataset.shape != network.shape:
        raise DataError(
            f"{path} takes images of the shape {network.shape}, but those of {dataset.name} have {dataset.shape}"
        )
    if dataset.classes != network.classes:
        differing = _differing(network.classes, dataset.classes)
        raise DataError(f"the classes of {path} are not those of {dataset.name}: {differing}")
    if data is not None and (others := describe_passed_over(dataset.passed_over)):
        terminal.print_error(f"{dataset.name}: {others}")
    measured = "test"
    if data is None and network.validation:
        dataset, measured = hold_out(dataset, network.validation), "validation"
    splits = {measured: dataset.test}
    if all_:
        splits["train"] = dataset.train
    total, done = sum(len(split) for split in splits.values()), 0
    results: dict[str, Evaluation] = {}
    with bar("evaluating") as progress:
        for name, split in splits.items():
            share = part(progress, done, len(split), total)
            results[name] = measure(network.predict, split, classes=network.classes, progress=share)
            done += len(split)
    temperature = network.temperature or calibrated(results[measured]).temperature
    results = {name: dataclasses.replace(result, temperature=temperature) for name, result in results.items()}
    if not as_json:
        print(printable(f"{path} on {dataset.name}"))
        terminal.show_evaluation(results[measured], part=measured)
        if all_:
            terminal.show_training_accuracy(results["train"], learned=data is None)
        if wrong:
            terminal.show_mistakes(results)
        return
    head = {"path": str(path), "data": dataset.name, **results[measured].as_dict()}
    head |= {"train": results["train"].as_dict()} if all_ else {}
    head |= {"wrong": mistakes_of(results)} if wrong else {}
    terminal.print_json(head)


@app.command(group=MEASURE, sort_key=1)
def bench(
    path: Path,
    *,
    against: str = "",
    threads: int = 1,
    batch: int = 1,
    rounds: int = 30,
    isa: str | None = None,
    per_layer: Annotated[bool, Parameter(negative="")] = False,
    as_json: Json = False,
) -> None:
    """Time a packed file, and other runtimes beside it.

    The others run the same architecture with real weights, in float32 or in 8 bits; larq runs a binary one. They know
    the networks that come with evenbit. Runs are interleaved (ours, peer, ours, peer, ...), and each time is a median.

    Args:
        path: An .evb file.
        against: Peers, separated by commas; onnxruntime, onnxruntime-int8, openvino-int8, larq.
        threads: Threads of every runtime.
        batch: Images per call.
        rounds: How many times each runtime is timed.
        isa: Instruction set of the engine; the best one if not given.
        per_layer: Instead, time each op of our engine and compare it with the CPU's limit.
        as_json: Print JSON.
    """
    from evenbit.bench import run_benchmark
    from evenbit.bench.layers import profile_layers
    from evenbit.runtime.engine import Engine

    if per_layer:
        if (against, threads, batch, rounds) != ("", 1, 1, 30):
            raise EvenbitError("--per-layer times our engine alone, on one thread and one image, without rounds")
        terminal.show_layers(profile_layers(Engine.load(path, threads=1, isa=isa)), as_json=as_json)
        return
    peers = [name.strip() for name in against.split(",") if name.strip()]
    with bar("timing") as progress:
        result = run_benchmark(path, peers, threads=threads, batch=batch, rounds=rounds, isa=isa, progress=progress)
    terminal.show_benchmark(result, as_json=as_json)


@app.command(group=MEASURE, sort_key=2)
def probe(run: Path, *, data_root: str | None = None, images: int = 1000, as_json: Json = False) -> None:
    """Show what binarization does to each layer of a run.

    Args:
        run: Folder of a run.
        data_root: Where the files of a named data set are.
        images: How many of the test images, or of those held out for validation, to look at.
        as_json: Print JSON, with the numbers of every channel.
    """
    from evenbit.train.probes import probe_run

    terminal.show_probes(probe_run(run, data_root=data_root, images=images), as_json=as_json)


@app.command(group=MEASURE, sort_key=3)
def report(*runs: Path, out: Out, data_root: str | None = None, images: int = 1000) -> None:
    """Show runs side by side on one HTML page.

    The page shows accuracy and loss, what binarization does to every layer, mistakes, sizes, times, and how each run
    was made. It needs no internet connection.

    Args:
        runs: Folders of runs that were measured on the same images, such as a float run and a binary one.
        out: The HTML file to write.
        data_root: Where the files of a named data set are.
        images: How many of the measured images to observe the binary layers on.
    """
    from evenbit.report import make_report

    console = terminal.open_console(stderr=True)
    make_report(
        runs,
        out,
        data_root=data_root,
        images=images,
        tell=lambda line: tell(console, line),
    )
    print(f"{out}: {out.stat().st_size:,} bytes; open it in a browser")


def _differing(known: Sequence[str], there: Sequence[str]) -> str:
    """The first classes that only one side has; if there are none, that the order differs."""
    ours = [name for name in known if name not in there][:MOST_NAMED]
    theirs = [name for name in there if name not in known][:MOST_NAMED]
    parts = [f"the network has {', '.join(ours)}"] * bool(ours) + [f"the data have {', '.join(theirs)}"] * bool(theirs)
    return ", ".join(parts) or "the same names in a different order"


class _Classifier(NamedTuple):
    """A run's network or a packed one.

    Attributes:
        predict: Runs it.
        classes: Names of its classes.
        shape: Shape of its images.
        trained_on: The data that it was trained on, if it says so.
        temperature: Temperature of its probabilities; None if it is still to be measured.
        validation: The share of the training images that it was not trained on.
    """

    predict: Predict
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    trained_on: str | None
    temperature: float | None
    validation: float = 0


def _open_classifier(path: Path, threads: int | None, isa: str | None, data_root: str | None) -> _Classifier:
    if path.is_dir():
        from evenbit.train import load_run, torch_predict

        run = load_run(path)
        task = run.task
        if told := run.unfinished(path, data_root):
            terminal.print_error(told)
        shape = (task.channels, task.height, task.width)
        return _Classifier(torch_predict(run.model), task.classes, shape, run.data, None, run.recipe.validation)
    from evenbit.confidence import Confidence
    from evenbit.errors import InputError
    from evenbit.runtime.engine import Engine

    engine = Engine.load(path, threads=threads, isa=isa)
    plan = engine.plan
    if plan.gives_map:
        raise InputError(f"{path} classifies each pixel, and only classifiers of whole images can be evaluated")
    confidence = Confidence.of_info(plan.info)
    temperature = 1.0 if confidence is None else confidence.temperature
    shape = (plan.channels, plan.height, plan.width)
    return _Classifier(engine, plan.classes, shape, plan.info.get("data"), temperature)
