"""The command line: parse, call, print. What a command does lives in the module it calls."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from evenbit import plan_file, terminal
from evenbit.errors import EvenbitError
from evenbit.files import check_target, write_atomically

if TYPE_CHECKING:
    from evenbit.evaluation import Predict

app = App(
    name="evenbit",
    help="Binary neural networks whose bits are balanced: train, pack to bits, run the bits.",
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)

# Packages that a command may lack, and what of evenbit brings them.
TRAINING = ("torch", "accelerate", "pydantic", "tensorboard", "sklearn", "scipy", "jinja2", "matplotlib")
EXTRAS = dict.fromkeys(TRAINING, "train") | {"onnx": "export"}

Json = Annotated[bool, Parameter(name="--json", negative="")]
Out = Annotated[Path, Parameter(name=("--out", "-o"))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit status.

    0 is success; 2 is a mistake in the command or its input, told in one line; an interruption ends the process with
    130. `--debug` anywhere shows the traceback of an error.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    try:
        app([token for token in tokens if token != "--debug"])
    except BrokenPipeError:  # a reader such as `head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (EvenbitError, CycloptsError, OSError) as error:
        if debug:
            raise
        terminal.print_error(_explain(error))
        return 2
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if debug or extra is None:
            raise
        terminal.print_error(f"this command needs the package '{error.name}'; pip install 'evenbit[{extra}]'")
        return 2
    return 0


@app.command
def train(
    recipe: str | None = None,
    *,
    out: Out | None = None,
    data: str | None = None,
    data_root: str | None = None,
    model: str | None = None,
    method: str | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    teacher: str | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set")] = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    as_json: Json = False,
) -> None:
    """Train a network and leave it in a folder.

    Args:
        recipe: A recipe file (TOML), or the name of one that comes with evenbit. Flags win over it.
        out: Folder of the run; runs/DATA-MODEL-METHOD if not given.
        data: digits, cifar10, cifar100, fashion-mnist, svhn, tiny-imagenet, or a folder with one subfolder a class.
        data_root: Where the files of a named data set are; the variable EVENBIT_DATA says it too.
        model: resnet8, resnet20, resnet20_wide, resnet18, resnet34, resnet18_imagenet, mobilenet, vgg_small,
            vgg_slim, vgg_dense or mlp.
        method: float, bnn, xnor, bireal, irnet, react, recu, adabin, sdbnn, insta or fd.
        epochs: Passes over the training images.
        seed: Of everything random.
        teacher: Folder of a float run to distil from.
        set_: Any other key of a recipe as KEY=VALUE, such as learning_rate=1e-3 or knobs.estimator=ede.
        resume: Go on after the last whole epoch of the run in --out.
        as_json: Print the last epoch's metrics as JSON.
    """
    from evenbit.train import load_recipe, read_checkpoint
    from evenbit.train import train as run_training
    from evenbit.train.recipe import make_recipe, parse_settings

    given = {"data": data, "model": model, "method": method, "epochs": epochs, "seed": seed, "teacher": teacher}
    overrides = {key: value for key, value in given.items() if value is not None} | parse_settings(set_ or [])
    if resume and out is not None and recipe is None:
        settings = make_recipe({**read_checkpoint(out).recipe.model_dump(), **overrides}, str(out))
    else:
        settings = load_recipe(recipe, overrides)
    folder = out or Path("runs") / f"{Path(settings.data).name}-{settings.model}-{settings.method}"
    console = Console(stderr=as_json)
    root = f" --data-root {data_root}" if data_root else ""
    try:
        result = run_training(settings, folder, data_root=data_root, resume=resume, console=console)
    except KeyboardInterrupt:
        terminal.print_error(f"stopped; go on with: evenbit train --resume --out {folder}{root}")
        raise
    if as_json:
        print(json.dumps(result.metrics))
    else:
        console.print(
            f"{'validation' if settings.validation else 'test'} accuracy {result.accuracy:.2f} %; "
            f"pack it with: evenbit pack {folder} -o model.evb\n"
            f"see it with: evenbit report {folder} -o report.html{root}",
            markup=False,
        )


@app.command
def sweep(
    path: Path,
    *,
    out: Out | None = None,
    data_root: str | None = None,
    results: Path | None = None,
    as_json: Json = False,
) -> None:
    """Train a list of recipes with several seeds into one table; what is finished is not repeated.

    Args:
        path: A sweep file (TOML).
        out: Folder of all its runs; runs/NAME if not given.
        data_root: Where the files of a named data set are.
        results: A file to keep the rows in, as JSON.
        as_json: Print the rows as JSON instead of the table.
    """
    from evenbit.train.sweep import load_sweep, run_sweep, table

    if results is not None:
        check_target(results)
    plan = load_sweep(path)
    folder = out or Path("runs") / plan.name
    console = Console(stderr=as_json)
    try:
        rows = run_sweep(plan, folder, data_root=data_root, console=console)
    except KeyboardInterrupt:
        terminal.print_error("stopped; the same command goes on")
        raise
    if results is not None:
        write_atomically(results, (json.dumps({"sweep": plan.name, "rows": rows}, indent=1) + "\n").encode())
    if as_json:
        terminal.print_json(rows)
    else:
        print(table(rows), end="")


@app.command
def probe(run: Path, *, data_root: str | None = None, images: int = 1000, as_json: Json = False) -> None:
    """Show what binarization does to the features of a run, layer by layer, over its test images.

    Args:
        run: Folder of a run.
        data_root: Where the files of a named data set are.
        images: How many of the test images, or of those held out for validation, to look at.
        as_json: Print JSON, with the numbers of every channel.
    """
    from evenbit.train.probes import probe_run

    terminal.show_probes(probe_run(run, data_root=data_root, images=images), as_json=as_json)


@app.command
def report(*runs: Path, out: Out, data_root: str | None = None, images: int = 1000) -> None:
    """Show what runs did, and what binarization does to their features, on one page that needs no network.

    Args:
        runs: Folders of runs that were measured on the same images, such as a float run and a binary one.
        out: The HTML file to write.
        data_root: Where the files of a named data set are.
        images: How many of the measured images to observe the binary layers on.
    """
    from evenbit.report import make_report

    console = Console(stderr=True)
    make_report(runs, out, data_root=data_root, images=images, tell=lambda line: console.print(line, markup=False))
    print(f"{out}: {out.stat().st_size:,} bytes; open it in a browser")


@app.command(name="eval")
def evaluate(
    path: Path,
    *,
    data: str | None = None,
    data_root: str | None = None,
    threads: int | None = None,
    isa: str | None = None,
    as_json: Json = False,
) -> None:
    """Measure a run (in torch) or a packed file (on the engine) on the test images.

    Args:
        path: Folder of a run, or an .evb file.
        data: Data set; the one it was trained on if not given.
        data_root: Where the files of a named data set are.
        threads: Threads of the engine; all CPUs if not given.
        isa: Instruction set of the engine; the best one if not given.
        as_json: Print JSON.
    """
    from evenbit.data import load_dataset
    from evenbit.errors import DataError
    from evenbit.evaluation import evaluate as measure

    predict, classes, shape, trained_on = _open_classifier(path, threads, isa)
    dataset = load_dataset(data or trained_on, root=data_root, size=shape[1])
    if dataset.shape != shape or dataset.classes != classes:
        raise DataError(f"{path} takes images {shape} of {len(classes)} classes; {dataset.name} does not fit it")
    with terminal.progress("evaluating", len(dataset.test), quiet=as_json) as advance:
        result = measure(predict, dataset.test, progress=advance)
    row = {"path": str(path), "data": dataset.name, "images": len(dataset.test)}
    row |= {"accuracy": result.accuracy, "top5": result.top5, "loss": result.loss}
    terminal.show([row], as_json=as_json, single=True)


@app.command
def pack(
    run: Path | None = None,
    *,
    out: Out,
    float_layers: Literal["float32", "int8"] = "float32",
    freeze_excitation: bool = False,
    data_root: str | None = None,
    untrained: str | None = None,
    method: str = "fd",
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    as_json: Json = False,
) -> None:
    """Pack a trained network into an .evb file.

    Args:
        run: Folder of a run.
        out: The file to write.
        float_layers: How stem, downsample and head are stored; int8 is calibrated on the first training images, and
            the accuracy on these is printed with and without it.
        freeze_excitation: Let each group excitation be its mean over the first training images, which makes the file
            smaller and faster; the last line of the run's metrics.jsonl has the accuracy with it.
        data_root: Where the files of a named data set are, for int8 and for freezing.
        untrained: Pack this model with fresh weights instead, for benchmarks.
        method: Method of the untrained network.
        channels: Image channels of the untrained network.
        size: Image height and width of the untrained network.
        classes: Classes of the untrained network.
        as_json: Print JSON.
    """
    import numpy as np

    from evenbit.deploy import calibration_split, pack_run, pack_untrained, quantize_float_layers
    from evenbit.errors import RecipeError
    from evenbit.evaluation import evaluate as measure
    from evenbit.nn.excitation import FREEZING_IMAGES
    from evenbit.runtime.engine import Engine

    if (run is None) == (untrained is None):
        raise RecipeError("give either the folder of a run or --untrained MODEL")
    check_target(out)
    if untrained is not None:
        plan = pack_untrained(untrained, method, channels=channels, size=size, classes=classes)
        images = np.random.default_rng(0).random((8, channels, size, size), np.float32)
    else:
        assert run is not None
        first = calibration_split(run, data_root, FREEZING_IMAGES) if freeze_excitation else None
        plan = pack_run(run, freeze_on=first)
    accuracy = {}
    if float_layers == "int8":
        split = None if run is None else calibration_split(run, data_root)
        floats, plan = plan, quantize_float_layers(plan, images if split is None else split.images)
        if split is not None:
            accuracy = {"float_accuracy": measure(Engine(floats), split).accuracy}
            accuracy |= {"int8_accuracy": measure(Engine(plan), split).accuracy}
    plan_file.save(plan, out)
    row = {"file": str(out), "bytes": out.stat().st_size, "ops": len(plan.ops), **accuracy}
    terminal.show([row], as_json=as_json, single=True)


@app.command
def info(path: Path, *, as_json: Json = False) -> None:
    """List every op of a packed file: shapes, 1-bit and float multiply-adds, bytes, and what stays float.

    Args:
        path: An .evb file.
        as_json: Print JSON.
    """
    from evenbit.summary import summarize, total

    plan = plan_file.load(path)
    rows = summarize(plan)
    terminal.show_summary(plan, path.stat().st_size, rows, total(rows), as_json=as_json)


@app.command
def export(path: Path, *, to: str, out: Out, name: str | None = None, as_json: Json = False) -> None:
    """Write a packed file in another form.

    Args:
        path: An .evb file.
        to: The form; c for a folder of C99 source, onnx or qonnx for a file.
        out: The file or folder to write.
        name: What names in C begin with, evenbit if not given; one for each network of a program.
        as_json: Print JSON.
    """
    from evenbit.errors import ExportError
    from evenbit.export import EXPORTERS

    if to not in EXPORTERS:
        raise ExportError(f"unknown form '{to}'; there are {', '.join(EXPORTERS)}")
    if name is not None and to != "c":
        raise ExportError("--name goes with --to c")
    row = EXPORTERS[to](plan_file.load(path), out, **({} if name is None else {"name": name}))
    terminal.show([row], as_json=as_json, single=True)


@app.command
def predict(path: Path, /, *images: Path, top: int = 5, isa: str | None = None, as_json: Json = False) -> None:
    """Name what is on photos.

    Args:
        path: An .evb file.
        images: Image files.
        top: How many classes to name.
        isa: Instruction set of the engine; the best one if not given.
        as_json: Print JSON.
    """
    from evenbit.predict import predict_images

    terminal.show_predictions(predict_images(path, images, top=top, isa=isa), as_json=as_json)


@app.command
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
    """Time a packed file, and float networks of the same architecture in other runtimes beside it.

    Runs are interleaved (ours, peer, ours, peer, ...), each time is a median.

    Args:
        path: An .evb file.
        against: Peers, separated by commas; onnxruntime, onnxruntime-int8, openvino-int8, larq.
        threads: Threads of every runtime.
        batch: Images a call.
        rounds: How many times each runtime is timed.
        isa: Instruction set of the engine; the best one if not given.
        per_layer: Time each op of our engine instead, beside the CPU's limit.
        as_json: Print JSON.
    """
    from evenbit.bench import run_benchmark
    from evenbit.bench.layers import profile_layers
    from evenbit.runtime.engine import Engine

    if per_layer:
        terminal.show_layers(profile_layers(Engine.load(path, threads=1, isa=isa)), as_json=as_json)
        return
    peers = [name for name in against.split(",") if name]
    result = run_benchmark(path, peers, threads=threads, batch=batch, rounds=rounds, isa=isa)
    terminal.show_benchmark(result, as_json=as_json)


@app.command
def demo(*, out: Out = Path("runs/demo"), as_json: Json = False) -> None:
    """Train a binary network and its float twin on small real images, pack the binary one and run its bits.

    Args:
        out: Folder for both runs, the packed file, result.json and report.html.
        as_json: Print the result as JSON.
    """
    from evenbit.demo import REPORT, run_demo

    terminal.show_demo(run_demo(out, Console(stderr=as_json)), as_json=as_json)
    if not as_json:
        print(f"what binarization does to it, on one page: {out / REPORT}")


def _open_classifier(
    path: Path, threads: int | None, isa: str | None
) -> tuple[Predict, tuple[str, ...], tuple[int, int, int], str]:
    """How to run it, its classes, the shape of its images, and the data set it was trained on."""
    if path.is_dir():
        from evenbit.train import load_run, torch_predict

        run = load_run(path)
        task = run.task
        return torch_predict(run.model), task.classes, (task.channels, task.height, task.width), run.recipe.data
    from evenbit.runtime.engine import Engine

    engine = Engine.load(path, threads=threads, isa=isa)
    plan = engine.plan
    return engine, plan.classes, (plan.channels, plan.height, plan.width), plan.info.get("data", "digits")


def _explain(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
