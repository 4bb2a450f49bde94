"""docs/front.md and its pictures, from what benchmarks/front.py kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from origin import optimizer
from plots import plot_front

ISAS = ("avx512", "avx2")
YARDSTICK = "basic20"  # the 8-bit network whose time the budgets are parts of
BUDGETS = {0.1: 0.1 / 0.55, 0.2: 0.2 / 0.55, 0.4: 0.4 / 0.55, 0.8: 0.8 / 0.55}  # milliseconds where it takes 0.55
NAMES = {
    "binary": "binary, evenbit",
    "int8": "8 bits, the faster of ONNX Runtime and OpenVINO",
    "float": "float32, ONNX Runtime",
}
RUNTIMES = {"int8": ("onnxruntime-int8", "openvino-int8"), "float": ("onnxruntime",)}  # of each kind of rivals

HEAD = """# Binary or 8 bits?

Nobody has to choose between a binary network and its own 8-bit twin. You have a time, or a number of bytes, and take
the most accurate network that fits. So this page compares networks of *different* architectures: binary ones made for
this engine, run by it, against the strongest rivals we could make: in 8 bits, run by the faster of ONNX Runtime and
OpenVINO, and in float32, run by ONNX Runtime, which for small networks is faster than 8 bits on some CPUs. All of one
table were trained by the same loop, with the same augmentation and optimizer, for the same number of epochs. Where a
teacher is named, the network also learned to give that float network's answers (distillation). The page is generated
by `make results` from the kept runs in [results/front](../results/front).
"""

SHAPES_HEAD = """## How the binary networks got their shape

Stages of binary convolutions after a stem that halves the image, each stage with half the height and width of the one
before. Each shape was trained for four epochs on nine tenths of CIFAR-10's training images; the accuracy is that on
the others, of one seed. A teacher was trained on the same nine tenths. Kept by
[benchmarks/shapes.py](../benchmarks/shapes.py).
"""

ADVICE = """## What to take

The lists above answer for CIFAR-10 and the CPUs that were timed. Beyond that:

- **Where bytes count**, in flash, over the air or in a web page, take the binary network: at one accuracy it is the
  smaller one by far.
- **Where time counts**, it depends on the CPU. Without VNNI, 8-bit products go through 16 bits and are slow, which is
  the best case for bits among large CPUs. With VNNI (most x86 CPUs of today) one instruction does the work of three,
  and with AMX a whole tile, while xor and popcount gain only what AVX-512 gives. Time both on yours:
  `evenbit bench FILE --against onnxruntime,onnxruntime-int8,openvino-int8`.
- **Where accuracy counts above all**, take the float network, or 8 bits, which lose next to nothing here.
- **On ARM and on microcontrollers** no time was measured, since only emulators were at hand. What is known of them,
  bytes, memory and instructions, is in [devices.md](devices.md).

""".splitlines()


@dataclass(frozen=True)
class Point:
    """A trained network as it is deployed.

    Attributes:
        kind: "binary", "int8" or "float".
        accuracy: Percent of the test images, as deployed.
        bytes: Of the file.
        row: What `benchmarks/front.py keep` kept of its run.
        ms: By instruction set, the median time of one image on one thread; of 8-bit networks the faster runtime's.
        runtime: By instruction set, what that time is of.
    """

    kind: str
    accuracy: float
    bytes: int
    row: dict[str, Any]
    ms: dict[str, float]
    runtime: dict[str, str]

    @property
    def label(self) -> str:
        """Name of the network, and of its method where it is binary."""
        recipe = self.row["recipe"]
        return f"{recipe['model']} {recipe['method']}" if self.kind == "binary" else str(recipe["model"])

    @property
    def teacher(self) -> str:
        """Name of the run that it was distilled from, or nothing."""
        return _run_name(self.row["recipe"]["teacher"])


def _run_name(folder: str | None) -> str:
    """Name of a run, or nothing for none."""
    return Path(folder or "").name


def read(kept: Path) -> tuple[list[Point], dict[str, dict[str, Any]]]:
    """The networks, and what was timed, by instruction set."""
    times = {isa: json.loads(path.read_text()) for isa in ISAS if (path := kept / f"times-{isa}.json").exists()}
    return [point for row in kept_rows(kept) for point in _points(row, times)], times


def kept_rows(kept: Path) -> list[dict[str, Any]]:
    """What is kept of each network."""
    return [json.loads(path.read_text()) for path in sorted(kept.glob("*.json")) if not path.stem.startswith("times-")]


def _points(row: dict[str, Any], times: dict[str, dict[str, Any]]) -> list[Point]:
    """A binary network is one point, a float one two: as it is, and in 8 bits."""
    deployed = [(row["kind"], row["accuracy"], row["bytes"])]
    if row["kind"] == "int8":
        deployed.append(("float", row["float_accuracy"], row["float_bytes"]))
    return [Point(kind, accuracy, size, row, *_times(row, kind, times)) for kind, accuracy, size in deployed]


def _times(row: dict[str, Any], kind: str, times: dict[str, dict[str, Any]]) -> tuple[dict[str, float], dict[str, str]]:
    """By instruction set, the least of the times of a network's runtimes and whose it is."""
    recipe = row["recipe"]
    model, binary = recipe["model"], {f"{recipe['model']} {recipe['method']}": "evenbit"}
    names = binary if kind == "binary" else {f"{model} {each}": each for each in RUNTIMES[kind]}
    ms, runtime = {}, {}
    for isa, timed in times.items():
        own = timed["ms"].get(recipe["data"], {})
        found = {name: own[name]["ms"] for name in names if name in own}
        if found:
            fastest = min(found, key=lambda name: found[name])
            ms[isa], runtime[isa] = found[fastest], names[fastest]
    return ms, runtime


def front(points: Sequence[Point], cost: str) -> list[Point]:
    """Those that no other beats: sorted by cost ("bytes" or an instruction set), each more accurate than all before."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (cost_of(point, cost), -point.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def cost_of(point: Point, cost: str) -> float:
    """Bytes, or milliseconds on an instruction set."""
    return point.bytes if cost == "bytes" else point.ms[cost]


def page(kept: Path, shapes: Path) -> str:
    """The page.

    Args:
        kept: Folder of the kept runs.
        shapes: What benchmarks/shapes.py kept.
    """
    points, times = read(kept)
    lines = [HEAD]
    for same in sorted({_group(point) for point in points}):
        group = [point for point in points if _group(point) == same]
        data, epochs, updated_by = same
        lines += [f"## {data}, {epochs} epochs, {updated_by}", ""]
        if times and same == _largest(points):
            lines += ["![Accuracy against time and bytes](front.svg)", ""]
        lines += _table(group, list(times))
        for isa in times:
            lines += ["", *_budgets(group, isa, times[isa]["ms"].get(data, {}))]
        lines += ["", *_bytes(group), "", *_origins(group), ""]
    lines += [*ADVICE, *_shapes(json.loads(shapes.read_text())), *_timed(times)]
    return "\n".join(lines) + "\n"


def draw(kept: Path, target: Path) -> None:
    """The picture of the largest group of networks."""
    points, times = read(kept)
    if points and times:
        group = [point for point in points if _group(point) == _largest(points)]
        costs = [*(isa for isa in ISAS if isa in times), "bytes"]
        plot_front(
            {
                cost: {
                    NAMES[kind]: (
                        [(cost_of(p, cost), p.accuracy, p.label) for p in group if p.kind == kind],
                        [(cost_of(p, cost), p.accuracy) for p in front(_of(group, kind), cost)],
                    )
                    for kind in NAMES
                }
                for cost in costs
            },
            target,
        )


def _of(points: Sequence[Point], kind: str) -> list[Point]:
    return [point for point in points if point.kind == kind]


def _group(point: Point) -> tuple[str, int, str]:
    """What networks have in common that are compared: data, epochs and optimizer."""
    recipe = point.row["recipe"]
    return recipe["data"], recipe["epochs"], optimizer(recipe)


def _largest(points: Sequence[Point]) -> tuple[str, int, str]:
    groups = [_group(point) for point in points]
    return max(sorted(set(groups)), key=groups.count)


def _table(points: Sequence[Point], isas: Sequence[str]) -> list[str]:
    head = ["network", "kind", "teacher", "seed", "deployed %", "before 8 bits %", "bytes"]
    rows = []
    for point in sorted(points, key=lambda point: -point.accuracy):
        row = point.row
        before = {"binary": row.get("float_layers_accuracy"), "int8": row.get("float_accuracy")}.get(point.kind)
        cells = [point.label, point.kind, point.teacher, str(row["recipe"]["seed"]), f"{point.accuracy:.2f}"]
        cells += [f"{before:.2f}" if before is not None else "", f"{point.bytes:,}"]
        cells += [f"{point.ms[isa]:.3f} ({point.runtime[isa]})" if isa in point.ms else "" for isa in isas]
        rows.append(cells)
    return _grid([*head, *(f"ms, {isa}" for isa in isas)], rows)


def _budgets(points: Sequence[Point], isa: str, ms: dict[str, dict[str, float]]) -> list[str]:
    """The best network of each kind under each budget, in words."""
    yard = [ms[name]["ms"] for name in ms if name.startswith(f"{YARDSTICK} ") and "int8" in name]
    points = [point for point in points if isa in point.ms]
    if not yard or {point.kind for point in points} != set(NAMES):
        return []
    lines = [f"With {isa}, where {YARDSTICK} in 8 bits takes {min(yard):.3f} ms:", ""]
    for name, part in BUDGETS.items():
        budget = part * min(yard)
        best = {kind: _best([p for p in _of(points, kind) if p.ms[isa] <= budget]) for kind in NAMES}
        lines.append(f"- under {budget:.3f} ms (as {name} ms where it takes 0.55): {_compared(best)}")
    return lines + _against_equals(points, isa, "time")


def _bytes(points: Sequence[Point]) -> list[str]:
    """What rivals of the same accuracy take in bytes."""
    if {point.kind for point in points} != set(NAMES):
        return []
    return ["By bytes:", "", *_against_equals(points, "bytes", "bytes")]


def _against_equals(points: Sequence[Point], cost: str, of: str) -> list[str]:
    """For each binary network on the front, how much more the cheapest rival takes that is as accurate."""
    lines = []
    for binary in front(_of(points, "binary"), cost):
        rivals = [point for point in points if point.kind in RUNTIMES and point.accuracy >= binary.accuracy]
        if rivals:
            least = min(rivals, key=lambda point: cost_of(point, cost))
            lines.append(
                f"- {binary.label} ({binary.accuracy:.2f} %): the cheapest rival that is as accurate is {least.label} "
                f"({least.kind}, {least.accuracy:.2f} %), which takes "
                f"{cost_of(least, cost) / cost_of(binary, cost):.2f} times the {of}"
            )
        else:
            lines.append(f"- {binary.label} ({binary.accuracy:.2f} %): no rival here is as accurate")
    return lines


def _best(points: Sequence[Point]) -> Point | None:
    return max(points, key=lambda point: point.accuracy, default=None)


def _compared(best: dict[str, Point | None]) -> str:
    told = [
        f"{kind} {point.label} {point.accuracy:.2f} %" if point else f"no {kind} network"
        for kind, point in best.items()
    ]
    ours = best["binary"]
    rivals = [point.accuracy for kind, point in best.items() if kind in RUNTIMES and point]
    if ours and rivals:
        told.append(f"{ours.accuracy - max(rivals):+.2f} points for binary")
    return "; ".join(told)


def _origins(points: Sequence[Point]) -> list[str]:
    return [
        f"- {point.label}: `{row['command']}`, commit {row['commit']}, torch {row['torch']}, {row['machine']}"
        for point in points
        for row in (point.row,)
        if point.kind != "float"  # said with its 8-bit form
    ]


def _shapes(kept: dict[str, dict[str, Any]]) -> list[str]:
    isas = sorted({isa for row in kept.values() for isa in row["ms"]})
    head = ["widths", "convolutions a stage", "teacher", "held-out %", "bytes", *(f"ms, {isa}" for isa in isas)]
    rows = []
    for row in sorted(kept.values(), key=lambda row: -row["validation_accuracy"]):
        widths, convs = row["shape"].replace(",", ", ").split("x")
        cells = [widths, convs, _run_name(row["teacher"])]
        cells += [f"{row['validation_accuracy']:.2f}", f"{row['bytes']:,}"]
        cells += [f"{row['ms'][isa]:.3f}" if isa in row["ms"] else "" for isa in isas]
        rows.append(cells)
    commands = dict.fromkeys(row["command"] for row in kept.values())
    told = [f"- `{command}`" for command in [*commands, "python benchmarks/shapes.py time"]]
    return [SHAPES_HEAD, *_grid(head, rows), "", *told, ""]


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: three columns of names, then numbers."""
    rule = "|" + "---|" * 3 + "--:|" * (len(head) - 3)
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(cells)} |" for cells in rows)]


def _timed(times: dict[str, dict[str, Any]]) -> list[str]:
    lines = ["## How it was timed", ""]
    lines += [
        "One image, one thread, all networks in turns, medians. The other runtimes are never told which instruction",
        "set to take: on a CPU with AVX-512, they use it in the column of avx2 too.",
        "",
    ]
    lines += [f"- {isa}: `{row['command']}`, commit {row['commit']}, {row['machine']}" for isa, row in times.items()]
    return lines
