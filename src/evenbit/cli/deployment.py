"""Commands around the packed file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from evenbit import plan_file, terminal
from evenbit.cli.app import DEPLOY, Json, Out, app
from evenbit.files import check_result
from evenbit.progress import bar


@app.command(group=DEPLOY, sort_key=0)
def pack(
    run: Path | None = None,
    *,
    out: Out,
    float_layers: Literal["float32", "int8"] = "float32",
    freeze_excitation: bool = False,
    data_root: str | None = None,
    untrained: str | None = None,
    method: str | None = None,
    channels: int | None = None,
    size: int | None = None,
    classes: int | None = None,
    as_json: Json = False,
) -> None:
    """Pack a trained network into an .evb file.

    The file also keeps how sure the network may be, measured on images that it was not trained on, for
    `evenbit predict`.

    Args:
        run: Folder of a run.
        out: The file to write.
        float_layers: How the layers that are not binary are stored: the first, the last and those of shortcuts; int8
            is calibrated on the first training images, and the accuracy on these is printed with and without it.
        freeze_excitation: Replace each excitation and third moment by its mean over the first training images. The
            network becomes smaller and faster, but with third moments it loses much accuracy; the last line of the
            run's metrics.jsonl has the accuracy.
        data_root: Where the files of a named data set are.
        untrained: Pack this model with random weights instead, for benchmarks.
        method: Method of the untrained network; fd if not given.
        channels: Image channels of the untrained network; 3 if not given.
        size: Image height and width of the untrained network; 32 if not given.
        classes: Classes of the untrained network; 10 if not given.
        as_json: Print JSON.
    """
    import numpy as np

    from evenbit.confidence import LEAST_IMAGES, with_confidence
    from evenbit.deploy import calibration_split, pack_network, pack_untrained, quantize_float_layers, run_dataset
    from evenbit.errors import DataError, RecipeError
    from evenbit.evaluation import evaluate as measure
    from evenbit.nn.excitation import FREEZING_IMAGES
    from evenbit.runtime.engine import Engine
    from evenbit.train import load_run

    if (run is None) == (untrained is None):
        raise RecipeError("give either the folder of a run or --untrained MODEL")
    fresh: dict[str, Any] = {"method": method, "channels": channels, "size": size, "classes": classes}
    given = [name for name, value in fresh.items() if value is not None]
    if untrained is None and given:
        raise RecipeError(f"--{given[0]} goes with --untrained; a run has its own")
    if untrained is not None and freeze_excitation:
        raise RecipeError("--freeze-excitation is for a run, since it needs training images")
    check_result(out)
    if untrained is not None:
        plan = pack_untrained(untrained, **{name: fresh[name] for name in given})
        images = np.random.default_rng(0).random((8, plan.channels, plan.height, plan.width), np.float32)
    else:
        assert run is not None
        first = calibration_split(run, data_root, FREEZING_IMAGES) if freeze_excitation else None
        with bar("freezing") as progress:
            trained = load_run(run)
            plan = pack_network(trained, freeze_on=first, progress=progress)
        if told := trained.unfinished(run, data_root):
            terminal.print_error(told)
    accuracy = {}
    if float_layers == "int8":
        split = None if run is None else calibration_split(run, data_root)
        with bar("calibrating") as progress:
            floats, plan = plan, quantize_float_layers(plan, images if split is None else split.images[:], progress)
        if split is not None:
            accuracy = {"float_accuracy": measure(Engine(floats), split).accuracy}
            accuracy |= {"int8_accuracy": measure(Engine(plan), split).accuracy}
    if run is not None:
        try:
            dataset = run_dataset(run, data_root)
        except DataError as error:
            terminal.print_error(
                f"answers of {out} will not be marked 'unsure', since this needs the data of the run: {error}"
            )
        else:
            with bar("measuring certainty") as progress:
                plan = with_confidence(plan, Engine(plan), dataset, progress)
            if len(dataset.test) < LEAST_IMAGES:
                terminal.print_error(
                    f"answers of {out} will not be marked 'unsure', since this needs {LEAST_IMAGES} held-out images, "
                    f"not {len(dataset.test)}"
                )
    plan_file.save(plan, out)
    row = {"file": str(out), "bytes": out.stat().st_size, "ops": len(plan.ops), **accuracy}
    terminal.show([row], as_json=as_json, single=True)


@app.command(group=DEPLOY, sort_key=1)
def predict(
    *paths: Path,
    top: int | None = None,
    isa: str | None = None,
    as_csv: Annotated[bool, Parameter(name="--csv", negative="")] = False,
    as_json: Json = False,
) -> int:
    """Classify photos.

    A photo that cannot be read is reported on standard error, and the exit status is then 2. If the file says how sure
    the network may be, an answer is marked "unsure" if its probability is low, or if hardly any image that
    the network was trained or tested on has such contrast, detail or colour.

    Args:
        paths: Photos and folders of photos, and the packed file that classifies them; without one, the network that
            comes with evenbit is used, which knows the ten classes of CIFAR-10.
        top: How many classes to list for each photo; if not given, 5, and 1 in a table of several photos.
        isa: Instruction set of the engine; the best one if not given.
        as_csv: Print CSV.
        as_json: Print JSON.
    """
    from evenbit.errors import InputError
    from evenbit.predict import predict_images
    from evenbit.pretrained import NETWORK

    if as_csv and as_json:
        raise InputError("choose one of --csv and --json")
    networks = [path for path in paths if path.suffix.lower() == ".evb" or plan_file.is_network(path)]
    if len(networks) > 1:
        raise InputError(f"give one packed network, not {len(networks)}: {', '.join(map(str, networks))}")
    network = networks[0] if networks else None
    with bar("looking") as progress:
        found = predict_images(
            network,
            [path for path in paths if path != network],
            top=5 if top is None else top,
            isa=isa,
            progress=progress,
            tell=terminal.print_error,
        )
    terminal.show_predictions(
        found,
        plan_file.load(network or NETWORK),
        as_csv=as_csv,
        as_json=as_json,
        pretrained=network is None,
        brief=top is None and len(found) > 1,
    )
    return 2 if any("error" in item for item in found) else 0


@app.command(group=DEPLOY, sort_key=2)
def info(path: Path, *, as_json: Json = False) -> None:
    """List the ops of a packed file.

    The table shows shapes, 1-bit and float multiply-adds, and bytes. Below it are what stays float, and how much memory
    the network takes as C on a device.

    Args:
        path: An .evb file.
        as_json: Print JSON.
    """
    from evenbit.export.c.size import memory_of
    from evenbit.summary import summarize, total

    plan = plan_file.load(path)
    rows = summarize(plan)
    terminal.show_summary(plan, path.stat().st_size, rows, total(rows), memory_of(plan), as_json=as_json)


@app.command(group=DEPLOY, sort_key=3)
def export(
    path: Path,
    *,
    to: str,
    out: Out,
    name: str | None = None,
    fit_flash: str | None = None,
    fit_ram: str | None = None,
    as_json: Json = False,
) -> None:
    """Write a packed file as C source, ONNX, QONNX or a web page.

    Args:
        path: An .evb file.
        to: The form; c for a folder of C99 source, web for one with a page, onnx or qonnx for a file.
        out: The file or folder to write.
        name: Prefix of the names in C, evenbit if not given; each network in a program needs its own.
        fit_flash: Flash of a device, such as 256K; C that needs more is refused.
        fit_ram: RAM of a device, such as 128K; C that needs more is refused.
        as_json: Print JSON.
    """
    from evenbit.errors import ExportError, unknown
    from evenbit.export import EXPORTERS
    from evenbit.export.c.size import check_fits, parse_memory

    if to not in EXPORTERS:
        raise ExportError(unknown("form", to, EXPORTERS))
    if name is not None and to != "c":
        raise ExportError("--name can only be used with --to c")
    fits = fit_flash is not None or fit_ram is not None
    if fits and to != "c":
        raise ExportError("--fit-flash and --fit-ram can only be used with --to c")
    plan = plan_file.load(path)
    if out.exists() and out.samefile(path):
        raise ExportError(f"{out} is the network itself; name another file with -o")
    if fits:
        check_fits(plan, parse_memory(fit_flash, fit_ram))
    row = EXPORTERS[to](plan, out, **({} if name is None else {"name": name}))
    terminal.show([row], as_json=as_json, single=True)
