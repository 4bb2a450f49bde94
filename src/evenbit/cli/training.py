"""Commands that train."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from evenbit import terminal
from evenbit.cli.app import TRAIN, Json, Out, app
from evenbit.errors import CaptureError, ExportError, RecipeError, TrainingError
from evenbit.files import check_result, is_run, pack_command, resume_command, write_atomically
from evenbit.printable import printable
from evenbit.progress import bar, tell


@app.command(group=TRAIN, sort_key=0)
def train(
    recipe: str | None = None,
    *,
    out: Out | None = None,
    data: str | None = None,
    data_root: str | None = None,
    model: str | None = None,
    network: str | None = None,
    weights: Path | None = None,
    method: str | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    teacher: str | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    set_: Annotated[list[str] | None, Parameter(name="--set")] = None,
    fit_flash: str | None = None,
    fit_ram: str | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    as_json: Json = False,
) -> None:
    """Train a network and save it in a folder.

    Without a recipe, a named data set uses the recipe that comes with evenbit for it. For a folder of images, settings
    that are not given are chosen by the number and size of the images.

    Args:
        recipe: A recipe file (TOML), or the name of one that comes with evenbit. Flags override it.
        out: Folder of the run; runs/DATA-MODEL-METHOD if not given.
        data: digits (if nothing else is given), cifar10, cifar100, fashion-mnist, svhn, tiny-imagenet, or a folder with
            one subfolder per class.
        data_root: Where the files of a named data set are; if not given, the variable EVENBIT_DATA says it.
        model: resnet8, resnet20, resnet20_wide, resnet18, resnet34, resnet18_imagenet, mobilenet, vgg_small,
            vgg_slim, vgg_dense or mlp; made for the engine: evennet_s, evennet_m, evennet_l, evennet_xl; mostly in
            float: basic8, basic20, basic20_half, basic20_wider, basic20_wide, basic14_wide, patch14, patch14_wider,
            patch14_wide, patch10, mobilenet_v2.
        network: A network of your own instead, as FILE.py:FUNCTION or MODULE:FUNCTION; the function's code is run.
        weights: Weights of the trained real network that the binary one is made from: a safetensors file, or the folder
            of a run with the method float, whose model and size of images are taken if they are not given. The binary
            network is fitted to the real one before training, and has it as teacher unless another is named.
        method: float, bnn, xnor, bireal, irnet, react, recu, adabin, sdbnn, insta or fd.
        epochs: Passes over the training images.
        seed: Seed of everything random.
        teacher: Folder of a float run to distil from, self for the network with the given weights, or none.
        from_: Folder of a run to start from, or bundled for a resnet8 that comes with evenbit, trained on CIFAR-10; if
            the classes differ, the head is new. Model, method and size of the images are that run's if they are not
            given.
        set_: Any other key of a recipe as KEY=VALUE, such as learning_rate=1e-3 or knobs.estimator=ede.
        fit_flash: Flash of a device, such as 256K: a network is chosen whose C export fits.
        fit_ram: RAM of a device, such as 128K: a network and a size of images are chosen whose C export fits.
        resume: Continue after the last finished epoch of the run in --out; with more --epochs, even a finished run.
        as_json: Print the last epoch's metrics as JSON.
    """
    from accelerate import PartialState

    from evenbit.data import READERS
    from evenbit.deploy import pack_run
    from evenbit.device import fit_device
    from evenbit.export.c.size import memory_of, parse_memory
    from evenbit.train import load_recipe, read_checkpoint
    from evenbit.train import train as run_training
    from evenbit.train.checkpoint import check_new
    from evenbit.train.defaults import advice, as_flags, describe_run, fitting_recipe, folder_settings
    from evenbit.train.network import is_own, short_name
    from evenbit.train.recipe import change_recipe, distil_from_itself, parse_settings
    from evenbit.train.start import like_start, like_weights

    if network is not None and model is not None:
        raise RecipeError("name the network by either --model NAME or --network FILE.py:FUNCTION")
    if network is not None and not is_own(network):
        raise RecipeError(f"--network {network} should also name the function: --network FILE.py:FUNCTION")
    given = {
        "data": data,
        "model": network or model,
        "weights": weights and str(weights),
        "method": method,
        "epochs": epochs,
        "seed": seed,
        "teacher": teacher,
        "start": from_,
    }
    overrides: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if teacher == "none":
        overrides["teacher"] = None
    overrides |= parse_settings(set_ or [])
    chosen: dict[str, Any] = {}
    lines: list[str] = []
    told, fits = "", ""
    fits_device, named = fit_flash is not None or fit_ram is not None, recipe is not None
    if resume and out is not None and recipe is None:
        if fits_device:
            raise RecipeError("--fit-flash and --fit-ram choose the network of a new run; leave them out with --resume")
        settings = change_recipe(read_checkpoint(out).recipe.model_dump(), overrides, str(out))
    else:
        if out is not None and not resume:
            check_new(out)
        taken: dict[str, Any] = {}
        for key, like in (("start", like_start), ("weights", like_weights)):
            if recipe is None and isinstance(overrides.get(key), str):
                found = {name: value for name, value in like(overrides[key]).items() if name not in overrides}
                taken |= found
                if found:
                    lines.append(f"taken from {overrides[key]}: {as_flags(found)}")
        overrides = taken | overrides
        images = str(overrides.get("data", "digits"))
        if recipe is None and images not in READERS and Path(images).is_dir():
            chosen = folder_settings(Path(images), overrides)
            told = f"chosen for these images: {as_flags(chosen)}"
        elif recipe is None and images in READERS:
            recipe = fitting_recipe(images, overrides)
            told = f"from the recipe {recipe}: " if recipe else "evenbit has no recipe for these data; by default: "
        settings = load_recipe(recipe, {**chosen, **overrides})
        if teacher is None:
            settings = distil_from_itself(settings)
        if fits_device:
            kept = settings.model_fields_set if named else overrides
            fitting, fits = fit_device(settings, kept, parse_memory(fit_flash, fit_ram), data_root)
            settings = change_recipe(settings.model_dump(), fitting, "the recipe that fits")
            if chosen:
                chosen |= {key: value for key, value in fitting.items() if key not in overrides}
                told = f"chosen for these images: {as_flags(chosen)}"
        if told and not chosen:
            told += describe_run(settings)
    folder = out or Path("runs") / "-".join(
        (Path(settings.data).resolve().name, short_name(settings.model), settings.method)
    )
    console = terminal.open_console(stderr=as_json)
    root = ["--data-root", data_root] if data_root else []
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts, only this one prints
    for line in filter(None, (*lines, told, fits) if first else ()):
        tell(console, line)
    try:
        with bar("training", console) as progress:
            result = run_training(
                settings, folder, data_root=data_root, resume=resume, console=console, progress=progress
            )
    except KeyboardInterrupt:
        if is_run(folder):
            terminal.print_error(f"stopped; go on with: {resume_command(folder, data_root)}")
        raise
    if not PartialState().is_main_process:
        return
    if as_json:
        print(json.dumps({**result.metrics, "evaluation": result.evaluation.as_dict()}))
    else:
        terminal.show_evaluation(result.evaluation, part="validation" if settings.validation else "test")
        for hint in advice(settings, result.evaluation):
            tell(console, hint)
        wrong = f"see the mistakes with: {_command('eval', folder, '--wrong', *root)}\n"
        console.print(
            f"{wrong if result.accuracy < 100 else ''}"
            f"pack it with: {printable(pack_command(folder))}\n"
            f"see a report with: {_command('report', folder, '-o', 'report.html', *root)}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        with contextlib.suppress(CaptureError, ExportError):  # of what cannot be packed, or has no kernel in C
            tell(console, f"as C for a device it takes about {memory_of(pack_run(folder))}")


@app.command(group=TRAIN, sort_key=1)
def sweep(
    path: Path,
    *,
    out: Out | None = None,
    data_root: str | None = None,
    results: Path | None = None,
    as_json: Json = False,
) -> None:
    """Train a list of recipes with several seeds into one table.

    Finished runs are not repeated, so the same command continues a sweep that was stopped.

    Args:
        path: A sweep file (TOML).
        out: Folder of all its runs; runs/NAME if not given.
        data_root: Where the files of a named data set are.
        results: A file to keep the rows in, as JSON.
        as_json: Print the rows as JSON instead of the table.
    """
    from evenbit.sweep import finished_rows, load_sweep, run_sweep, table

    if results is not None:
        check_result(results)
    plan = load_sweep(path)
    folder = out or Path("runs") / plan.name
    console = terminal.open_console(stderr=as_json)
    failure = None
    try:
        with bar("sweeping", console) as progress:
            rows = run_sweep(plan, folder, data_root=data_root, console=console, progress=progress)
    except KeyboardInterrupt:
        terminal.print_error("stopped; the same command continues")
        raise
    except TrainingError as error:  # the finished runs still have their rows
        rows, failure = finished_rows(plan, folder), error
    if results is not None:
        write_atomically(results, (json.dumps({"sweep": plan.name, "rows": rows}, indent=1) + "\n").encode())
    if as_json:
        terminal.print_json(rows)
    else:
        print(table(rows), end="")
    if failure is not None:
        raise failure


@app.command(group=TRAIN, sort_key=2)
def demo(*, out: Out = Path("runs/demo"), as_json: Json = False) -> None:
    """Train, pack and run a small network on real images, in a minute.

    A binary network and its float twin are trained on 1,797 digits; the binary one is packed and run.

    Args:
        out: Folder for both runs, the packed file, result.json and report.html.
        as_json: Print the result as JSON.
    """
    from evenbit.demo import REPORT, run_demo

    console = terminal.open_console(stderr=as_json)
    try:
        with bar("training", console) as progress:
            result = run_demo(out, console, progress)
    except KeyboardInterrupt:
        terminal.print_error("stopped; the same command continues")
        raise
    terminal.show_demo(result, as_json=as_json)
    if not as_json:
        print(f"what binarization does to the network, on one page: {out / REPORT}")


def _command(*words: str | Path) -> str:
    """A command for people to copy."""
    return printable(shlex.join(["evenbit", *map(str, words)]))
