"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evenbit.ops import BinaryConv
from evenbit.plan import Plan
from evenbit.printable import counted, printable
from evenbit.progress import tell
from evenbit.summary import Row

if TYPE_CHECKING:
    from evenbit.evaluation import Evaluation
    from evenbit.export.c.size import Memory

LEAST_LETTERS = 12  # of a layer's name
MOST_NAMED = 3  # layers, below the table of their times
OTHER_COLUMNS = 62  # of a terminal, for the columns beside the layers' names
PIPED = 100_000  # columns where no window limits them, so that lines can be parsed and copied unbroken
WHAT_IS_UNUSUAL = (
    "unusual: hardly any image that the network was trained or tested on has such contrast (of dark and bright), "
    "detail (fine structure) or colour"
)
MOST_CLASSES = 20  # in a table by class; if there are more, those of the lowest accuracy


def print_error(message: str) -> None:
    """One line on standard error."""
    print(printable(f"evenbit: {message}"), file=sys.stderr)


def print_json(value: object) -> None:
    """A value on standard output as JSON."""
    print(json.dumps(value, indent=1))


class _Console(Console):
    """A console that leaves it to the command line what to do when its reader has gone."""

    def on_broken_pipe(self) -> None:
        raise


def open_console(*, stderr: bool = False) -> Console:
    """A console as wide as its window; without a window, lines are not broken."""
    stream = sys.stderr if stderr else sys.stdout
    return _Console(stderr=stderr, width=None if stream.isatty() or "COLUMNS" in os.environ else PIPED)


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, single: bool = False) -> None:
    """A table whose columns are the keys of the rows; as JSON the rows, or the only one if `single`."""
    if as_json:
        print_json(rows[0] if single else rows)
        return
    table = Table(box=None, pad_edge=False)
    for key, value in rows[0].items():
        words = isinstance(value, str) and not value.endswith(" %")
        table.add_column(key, justify="left" if words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    open_console().print(table)


def show_evaluation(result: Evaluation, *, part: str = "test") -> None:
    """How good a classifier is, overall and by class."""
    console = open_console()
    low, high = result.interval
    told = [
        f"{part} accuracy {result.accuracy:.2f} % of {counted(len(result), 'image')} "
        f"({low:.1f} to {high:.1f} % with 95 % confidence)",
        f"balanced accuracy {result.balanced_accuracy:.2f} %, the mean over the classes",
    ]
    if result.top5 is not None:
        told.append(f"top-5 accuracy {result.top5:.2f} %")
    if result.constant.near:
        told.append(f"always answering {result.constant.name} would give {result.constant.accuracy:.2f} %")
    for line in told:
        tell(console, line)
    counts, shares = result.confusion.sum(1), result.by_class
    labels = [label for label in range(len(counts)) if counts[label]]
    if len(labels) > MOST_CLASSES:
        labels = sorted(labels, key=lambda label: shares[label])[:MOST_CLASSES]
        console.print(f"the {MOST_CLASSES} worst of {len(counts)} classes; --json has all", highlight=False)
    rows = []
    for label in labels:
        name, times = result.taken_for(label) or ("", 0)
        taken = f"{name} ({times})" if times else ""
        rows.append(
            {
                "class": result.classes[label],
                "images": int(counts[label]),
                "accuracy": f"{shares[label]:.2f} %",
                "most often taken for": taken,
            }
        )
    show(rows, as_json=False)


def show_training_accuracy(result: Evaluation, *, learned: bool) -> None:
    """The accuracy on training images, in one line; `learned` says that the network was trained on these."""
    known = ", which the network has learned from" if learned else ""
    print(f"\ntraining accuracy {result.accuracy:.2f} % of {counted(len(result), 'image')}{known}")


def show_mistakes(results: Mapping[str, Evaluation]) -> None:
    """Each image that is classified wrong, of one part of the data or of several, with the part that it is of."""
    from evenbit.evaluation import mistakes_of

    console = open_console()
    mistakes = mistakes_of(results)
    if not mistakes:
        console.print("no image is classified wrong")
        return
    console.print(
        "\nclassified wrong, the surest first; if the network is very sure, check whether the photo's class is right"
    )
    rows = []
    for item in mistakes:
        certainty = f"{100 * item['certainty']:.1f} %"
        row = {"class": item["class"], "named": item["named"], "certainty": certainty}
        rows.append(row | ({"part": item["part"]} if len(results) > 1 else {}) | {"image": item["image"]})
    show(rows, as_json=False)


def show_summary(
    plan: Plan, size: int, rows: list[Row], sums: Mapping[str, int], memory: Memory, *, as_json: bool
) -> None:
    """The ops of a packed file, how much of it is 1-bit, and what memory it takes as C."""
    header = size - sums["bit_bytes"] - sums["float_bytes"]
    if as_json:
        head = {"bytes": size, "header_bytes": header, "classes": list(plan.classes)}
        head |= {"info": dict(plan.info), "total": dict(sums), "as_c": dataclasses.asdict(memory)}
        print_json({**head, "ops": [dataclasses.asdict(row) for row in rows]})
        return
    console = open_console()
    image = f"{plan.channels}x{plan.height}x{plan.width}"
    for line in (f"{size:,} bytes; images {image}, {len(plan.classes)} classes", *_described(plan.info)):
        tell(console, line)
    table = Table(box=None, pad_edge=False)
    table.add_column("op", no_wrap=True)
    table.add_column("layer", no_wrap=True)
    most_letters = max(LEAST_LETTERS, console.width - OTHER_COLUMNS)
    table.add_column("output", no_wrap=True)
    for column in ("1-bit MAC", "float MAC", "bits", "float"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        numbers = (row.binary_macs, row.float_macs, row.bit_bytes, row.float_bytes)
        table.add_row(row.kind, Text(_end(printable(row.name), most_letters)), row.output, *map(_short, numbers))
    table.add_section()
    table.add_row("total", "", "", *map(_short, sums.values()))
    console.print(table)
    macs = sums["binary_macs"] + sums["float_macs"]
    kinds = sorted({row.kind for row in rows if row.float_macs})
    console.print(
        f"{100 * sums['binary_macs'] / max(1, macs):.1f} % of the multiply-adds are 1-bit. "
        f"Float: {', '.join(kinds) or 'none'} ({sums['float_macs']:,} MAC), and every scale, bias and threshold. "
        f"Sizes are in bytes; the other {header:,} of the file are its header, which describes the ops in JSON. "
        f"As C for a device it takes about {memory}."
    )


def show_probes(found: Mapping[str, Any], *, as_json: bool) -> None:
    """What binarization does to each layer's features."""
    if as_json:
        print_json(found)
        return
    keys = list(found["means"])
    rows = [{"layer": name, **{key: f"{layer[key]:.3f}" for key in keys}} for name, layer in found["layers"].items()]
    show([*rows, {"layer": "mean", **{key: f"{found['means'][key]:.3f}" for key in keys}}], as_json=False)


def show_predictions(
    found: Sequence[Mapping[str, Any]], plan: Plan, *, as_csv: bool, as_json: bool, pretrained: bool, brief: bool
) -> None:
    """The classes of each photo, in a brief table the first one, and on standard error photos that cannot be read."""
    for item in found:
        if "error" in item:
            print_error(item["error"])
    if as_json:
        print_json(found)
        return
    guesses = [(item["image"], rank, guess) for item in found for rank, guess in enumerate(item.get("classes", ()), 1)]
    if as_csv:
        import csv

        if isinstance(sys.stdout, io.TextIOWrapper):  # a name that is not UTF-8 is written as it is
            sys.stdout.reconfigure(errors="surrogateescape")
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("image", "rank", "class", "probability", "unsure"))
        reasons = {item["image"]: " ".join(item.get("unsure", ())) for item in found}
        writer.writerows(
            (image, rank, one["class"], one["probability"], reasons[image]) for image, rank, one in guesses
        )
        return
    if not guesses:
        return
    doubts = {item["image"]: _doubt(item.get("unsure", ())) for item in found}
    rows = [
        {
            "image": image if rank == 1 else "",
            "class": guess["class"],
            "share": f"{100 * guess['probability']:.1f} %",
            **({"": f"unsure: {doubts[image]}" if rank == 1 and doubts[image] else ""} if any(doubts.values()) else {}),
        }
        for image, rank, guess in guesses
        if rank == 1 or not brief
    ]
    show(rows, as_json=False)
    console = open_console()
    if any("unusual" in doubt for doubt in doubts.values()):
        tell(console, WHAT_IS_UNUSUAL)
    colours = "grey" if plan.channels == 1 else "colour"
    names = ", ".join(plan.classes[:MOST_CLASSES]) + (", ..." if len(plan.classes) > MOST_CLASSES else "")
    tell(console, f"the network saw the middle of each photo, in {colours} and {plan.width}x{plan.height} pixels")
    tell(console, f"there are {len(plan.classes)} classes: {names}")
    if pretrained:
        from evenbit.pretrained import card

        origin = card()
        tell(
            console,
            f"this is the network that comes with evenbit, trained on {origin['data']}; "
            f"it gets {origin['accuracy']:.1f} % of the test images right",
        )


def _doubt(reasons: Sequence[str]) -> str:
    """Why an answer is unsure, in a few words."""
    unusual = [reason for reason in reasons if reason != "certainty"]
    parts = ["no class is likely"] if "certainty" in reasons else []
    return "; ".join(parts + [f"unusual {', '.join(unusual)}"] * bool(unusual))


def show_benchmark(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Times of all runtimes."""
    if as_json:
        print_json(result)
        return
    runners = {"evenbit": result["ours"], **result["peers"]}
    rows = [
        {
            "runtime": name,
            "ms": f"{runner['ms']:.3f}",
            "quartiles": f"{runner['low_ms']:.3f} - {runner['high_ms']:.3f}",
            "ratio": f"{runner.get('ratio', 1):.2f}",
            "least": f"{runner['least_ms']:.3f}",
            "ratio of least": f"{runner.get('least_ratio', 1):.2f}",
        }
        for name, runner in runners.items()
    ]
    show(rows, as_json=False)
    print(f"batch {result['batch']}, {counted(result['threads'], 'thread')}, {result['isa']}; ratio = time / our time")


def show_layers(result: Mapping[str, Any], *, as_json: bool) -> None:
    """The time of each op."""
    if as_json:
        print_json(result)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("op", "output"):
        table.add_column(column, no_wrap=True)
    for column in ("us", "GMAC/s", "of limit", "sums us", "of limit", "tail us"):
        table.add_column(column, justify="right", no_wrap=True)
    for layer in result["layers"]:
        speed = f"{layer['gmacs']:.0f}" if "gmacs" in layer else ""
        parts = []
        if "share" in layer:
            parts = [f"{100 * layer['share']:.0f} %"]
        if "sums_us" in layer:
            parts += [f"{layer['sums_us']:.2f}", f"{100 * layer['sums_share']:.0f} %", f"{layer['tail_us']:.2f}"]
        table.add_row(layer["op"], layer["output"], f"{layer['us']:.2f}", speed, *parts)
    console = open_console()
    console.print(table)
    total = sum(result["kinds"].values())
    by_time = sorted(result["kinds"].items(), key=lambda item: -item[1])
    tell(console, ", ".join(f"{kind} {100 * us / total:.0f} %" for kind, us in by_time))
    others = [layer for layer in result["layers"] if layer["op"] != BinaryConv.kind]
    longest = [
        f"{layer['name'] or layer['op']} ({layer['op']} to {layer['output']}, {100 * layer['us'] / total:.0f} %)"
        for layer in sorted(others, key=lambda layer: -layer["us"])[:MOST_NAMED]
    ]
    tell(console, f"the longest that are not binary convolutions: {', '.join(longest)}")
    sums = sum(layer.get("sums_us", 0.0) for layer in result["layers"])
    tell(
        console,
        f"{total:.0f} us in all, {100 * sums / total:.0f} % of it binary sums; {result['isa']}, 1 thread; "
        f"limit {result['limit_gmacs']:.0f} GMAC/s (1-bit)",
    )


def show_diagnosis(found: Mapping[str, Any], *, as_json: bool) -> None:
    """What evenbit finds on this machine."""
    if as_json:
        print_json(found)
        return
    cpu, packages = found["cpu"], found["packages"]
    rows = {key: found[key] for key in ("evenbit", "python", "platform")}
    rows |= {name: version or "not installed" for name, version in packages.items()}
    rows["torch"] = f"{packages['torch']}, {found['torch']}" if packages["torch"] else found["torch"]
    rows["cpu"] = f"{cpu['model'] or 'unknown'}, {cpu['usable']} usable"
    rows |= {"features": " ".join(cpu["features"]) or "none that evenbit uses"}
    rows |= {"instruction set": found["isa"], "available": ", ".join(found["isas"])}
    rows |= {name: folder or "not found" for name, folder in found["data"].items()}
    show([{"what": name, "found": value} for name, value in rows.items()], as_json=False)


def show_demo(result: Mapping[str, Any], *, as_json: bool) -> None:
    """What the demo found."""
    if as_json:
        print_json(result)
        return
    rows = [
        {"network": "float", "accuracy": f"{result['float_accuracy']:.2f} %", "bytes": f"{result['float_bytes']:,}"},
        {"network": "binary, in torch", "accuracy": f"{result['binary_accuracy']:.2f} %", "bytes": ""},
        {
            "network": "binary, packed",
            "accuracy": f"{result['engine_accuracy']:.2f} %",
            "bytes": f"{result['packed_bytes']:,}",
        },
    ]
    show(rows, as_json=False)
    print(f"gap to float {result['gap_points']:.2f} points; one image takes {1000 * result['latency_ms']:.0f} µs")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def _short(number: int) -> str:
    """A count with three digits, empty for 0."""
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {letter}"
    return str(number) if number else ""


def _end(name: str, most: int) -> str:
    """The last letters of a long name; layers differ in these."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _described(info: Mapping[str, str]) -> list[str]:
    """Where a network comes from, and when it is unsure."""
    from evenbit.confidence import Confidence

    confidence = Confidence.of_info(info)
    of_confidence = () if confidence is None else confidence.as_info()
    lines = [", ".join(f"{key} {value}" for key, value in info.items() if key not in of_confidence) or "origin unknown"]
    if confidence is not None:
        ranges = ", ".join(f"{key} {info[key]}" for key in confidence.usual)
        lines.append(
            f"unsure if the probability of the likeliest class is below {100 * confidence.certainty:.4g} % (at "
            f"temperature {confidence.temperature:g}), or if an image is not in the usual range: {ranges}"
        )
    return lines
