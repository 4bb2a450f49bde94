"""What becomes of a packed network in other forms: size, agreement with the engine, time in ONNX Runtime.

`python benchmarks/exports.py FILE.evb --data-root DIR` measures one and keeps it as results/exports-FILE.json, which
`make results` puts into docs/results.md. A network without a data set (`evenbit pack --untrained`) is only timed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import openvino
from onnx import numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.change_batchsize import ChangeBatchSize
from qonnx.transformation.infer_shapes import InferShapes

from evenbit import plan_file
from evenbit.bench import interleave
from evenbit.bits import unpack_bits
from evenbit.cpu import machine
from evenbit.data import load_dataset
from evenbit.evaluation import collect_logits
from evenbit.export import EXPORTERS
from evenbit.export.graph import Graph
from evenbit.export.onnx import StandardLowering
from evenbit.plan import Plan
from evenbit.runtime import reference
from evenbit.runtime.engine import Engine
from origin import commit

KEPT = Path(__file__).parent.parent / "results"
QONNX_IMAGES = 200

Floats = npt.NDArray[np.float32]
Runner = Callable[[Floats], Floats]


def in_onnxruntime(path: Path) -> Runner:
    """One thread, everything else as it is by default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def in_openvino(path: Path) -> Runner:
    """In float32, where the CPU would choose bfloat16 of its own accord."""
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled(images)[0]


def in_qonnx(path: Path) -> Runner:
    """The graph is for one image; its batch is set to that of the call."""

    def run(images: Floats) -> Floats:
        model = ModelWrapper(onnx.load(path)).transform(ChangeBatchSize(len(images))).transform(InferShapes())
        logits: Floats = execute_onnx(model, {"images": images})["logits"]
        return logits

    return run


RUNTIMES: dict[str, tuple[str, Callable[[Path], Runner]]] = {
    "onnxruntime": ("onnx", in_onnxruntime),
    "openvino": ("onnx", in_openvino),
    "qonnx": ("qonnx", in_qonnx),
}


def measure(path: Path, data_root: str | None, rounds: int) -> dict[str, Any]:
    """Sizes, agreement, and the least time of a call with one image on one thread."""
    plan = plan_file.load(path)
    engine = Engine(plan, threads=1)
    row: dict[str, Any] = {
        "name": path.stem,
        "info": dict(plan.info),
        "machine": machine(),
        "isa": engine.isa,
        "versions": {name: version(name) for name in ("onnx", *RUNTIMES)},
        "forms": {"evb": path.stat().st_size},  # bytes
    }
    with tempfile.TemporaryDirectory() as folder:
        files = {form: Path(folder) / f"{form}.onnx" for form in ("onnx", "qonnx")}
        for form, file in files.items():
            row["forms"][form] = EXPORTERS[form](plan, file)["bytes"]
        image = np.random.default_rng(0).random((1, plan.channels, plan.height, plan.width), np.float32)
        runner = in_onnxruntime(files["onnx"])
        times = interleave({"evenbit": lambda: engine(image), "onnxruntime": lambda: runner(image)}, rounds)
        row["ms"] = {name: 1000 * min(map(min, turns)) for name, turns in times.items()}
        if "data" in plan.info:
            images = load_dataset(plan.info["data"], root=data_root, size=plan.height).test.images
            row["agreement"] = {
                name: compare(engine, prepare(files[form]), images[: QONNX_IMAGES if name == "qonnx" else None])
                for name, (form, prepare) in RUNTIMES.items()
            }
            found = row["agreement"]["onnxruntime"]
            found["distances"] = [first_difference(plan, images[i : i + 1]) for i in found["differing"]]
    return row


def compare(engine: Engine, runner: Runner, images: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Which images get another top class than on the engine, and how many the same logits but for rounding."""
    ours = collect_logits(engine, images)
    theirs = collect_logits(lambda batch: runner(batch / np.float32(255)), images)
    return {
        "images": len(images),
        "differing": np.flatnonzero(ours.argmax(1) != theirs.argmax(1)).tolist(),
        "logits_equal_within_1e-3": int((np.abs(ours - theirs).max(1) < 1e-3).sum()),
    }


def first_difference(plan: Plan, image: npt.NDArray[np.uint8]) -> float:
    """Largest distance to the threshold among the values whose bits differ in the first map where any do.

    Both the values and the thresholds are those in ONNX Runtime; the bits are compared with the reference's.
    """
    graph = Graph("N")
    lowering = StandardLowering(plan, graph)
    model = graph.model(plan, lowering.run())
    known = {value.name: value for value in model.graph.value_info}
    producers = {node.output[0]: node for node in model.graph.node}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    shapes, expected = plan.shapes(), reference.values(plan, image)
    packed = [op.tail.bits.out for op in plan.ops if op.tail.bits]
    compares = {}
    for name in packed:  # a bit is the Cast of a GreaterOrEqual, with a Xor between where any channel is not flipped
        node = producers[lowering.values[name]]
        while node.op_type != "GreaterOrEqual":
            node = producers[node.input[0]]
        compares[name] = node.input
    wanted = {lowering.values[name] for name in packed} | {i for inputs in compares.values() for i in inputs}
    outputs = sorted(wanted & known.keys())
    model.graph.output.extend(known[name] for name in outputs)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = constants | dict(zip(outputs, session.run(outputs, {"images": image / np.float32(255)}), strict=True))
    for name in packed:
        bits = unpack_bits(expected[name], shapes[name].channels).transpose(0, 3, 1, 2)
        differs = bits == (found[lowering.values[name]] == 1)
        if differs.any():
            x, threshold = (found[i] for i in compares[name])
            return float(np.abs(x - threshold)[differs].max())
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data-root")
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    row = measure(arguments.file, arguments.data_root, arguments.rounds)
    root = " --data-root DIR" if arguments.data_root else ""
    row |= {"command": f"python benchmarks/exports.py {arguments.file.name}{root}", "commit": commit()}
    (KEPT / f"exports-{arguments.file.stem}.json").write_text(json.dumps(row, indent=1) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
