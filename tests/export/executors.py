"""Running what is exported, in ONNX Runtime and in qonnx, and Plans of which a result is known exactly."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx.utils import Extractor
from plans import PlanMaker

from evenbit.export import EXPORTERS
from evenbit.export.graph import Graph
from evenbit.export.onnx import StandardLowering
from evenbit.export.qonnx import DOMAIN, BipolarLowering
from evenbit.ops import Elementwise, Op, Tail
from evenbit.plan import Plan

FORMS = ("onnx", "qonnx")
Floats = npt.NDArray[np.float32]
Values = dict[str, npt.NDArray[Any]]


def exported(plan: Plan, form: str) -> onnx.ModelProto:
    """The model as it stands in the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        EXPORTERS[form](plan, path)
        return onnx.load(path)


def in_onnxruntime(model: onnx.ModelProto, inputs: Values) -> Values:
    """All outputs, with every optimization that is on by default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def in_qonnx(model: onnx.ModelProto, inputs: Values) -> Values:
    """All outputs, node by node in qonnx."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    outputs: Values = execute_onnx(ModelWrapper(model), inputs)
    return outputs


def logits(model: onnx.ModelProto, form: str, images: Floats) -> Floats:
    """Logits of a batch."""
    if form == "qonnx":
        return in_qonnx(with_batch(model, len(images)), {"images": images})["logits"]
    return in_onnxruntime(model, {"images": images})["logits"]


def with_batch(model: onnx.ModelProto, images: int) -> onnx.ModelProto:
    """A QONNX model, which is for one image, for several."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.change_batchsize import ChangeBatchSize
    from qonnx.transformation.infer_shapes import InferShapes

    changed: onnx.ModelProto = (
        ModelWrapper(model, make_deepcopy=True).transform(ChangeBatchSize(images)).transform(InferShapes()).model
    )
    return changed


class Fragments:
    """Parts of an exported Plan, run on any values of the Plan that they need."""

    def __init__(self, plan: Plan, form: str) -> None:
        self.form = form
        graph = Graph("N" if form == "onnx" else 1)
        lowering = (StandardLowering if form == "onnx" else BipolarLowering)(plan, graph)
        self.extractor = Extractor(graph.model(plan, lowering.run(), [] if form == "onnx" else [DOMAIN]))
        self.names = lowering.values

    def __call__(self, inputs: Values, outputs: list[str]) -> Values:
        """Those of the outputs that nodes compute from the inputs; an empty Tail has no nodes."""
        given = {self.names[name]: value for name, value in inputs.items()}
        wanted = {name: self.names[name] for name in outputs if self.names[name] not in given}
        if not wanted:
            return {}
        part = self.extractor.extract_model(sorted(given), sorted(set(wanted.values())))
        inner = [value for value in part.graph.value_info if value.name not in {*given, *wanted.values()}]
        del part.graph.value_info[:]
        part.graph.value_info.extend(inner)
        found = (in_onnxruntime if self.form == "onnx" else in_qonnx)(part, given)
        return {name: found[inside] for name, inside in wanted.items()}


def unfused(plan: Plan) -> Plan:
    """The same network with each Tail as an op of its own, so that either is compared alone, and with all maps kept."""
    ops: list[Op] = []
    for index, op in enumerate(plan.ops):
        accumulator = f"accumulator{index}"
        ops.append(dataclasses.replace(op, out=accumulator, tail=Tail()))
        ops.append(Elementwise(op.name, accumulator, op.out or f"kept{index}", op.tail))
    return dataclasses.replace(plan, ops=tuple(ops))


def without_float_sums(seed: int, channels: int) -> Plan:
    """Every op that sums no floats, with all parts of a Tail, static and per-instance thresholds.

    So whoever runs it must give the reference's logits bit for bit.
    """
    make = PlanMaker(seed, 24, 9, 7)
    x = make.binary_conv(make.signs(make.normalize()), channels, (3, 3), (1, 1), (1, 1), "scale", "bias", "prelu")
    vector = make.binary_conv(make.signs(x, "scale"), channels, (9, 7), (1, 1), (0, 0), "scale", "bias", "softsign")
    signs = make.signs(x, vector=vector)
    del make.sizes[make.ops[-2].out or ""]  # the threshold, some of it infinite: as a residual it would make NaN
    y = make.binary_conv(signs, channels, (3, 3), (1, 1), (1, 1), "scale", "residual", "shift")
    y = make.pool(y, True, (3, 3), (2, 2), (1, 1), "residual", "prelu")
    y = make.binary_conv(make.signs(y), channels, (3, 1), (1, 2), (1, 0), "bias", "residual", "softsign")
    y = make.int8_conv(make.concat(y, (make.multiply(y, y, "clamp"),)), channels, (3, 3), (1, 1), (1, 1), 20.0, "scale")
    y = make.multiply(make.cube(y), make.elementwise(y, "scale", "sigmoid"), "bias", "clamp")
    grouped = make.binary_conv(make.signs(y), channels, (3, 3), (1, 1), (1, 1), "scale", "sigmoid", groups=channels)
    y = make.elementwise(make.concat(make.shuffle(y), (grouped, make.gather(y, make.sizes[y]))), "scale", "prelu")
    flat = make.binary_conv(make.signs(make.flatten(y)), 30, (1, 1), (1, 1), (0, 0), "scale", groups=2)
    flat = make.binary_conv(make.signs(make.flatten(flat)), 3 * channels, (1, 1), (1, 1), (0, 0), "scale", "bias")
    y = make.multiply(y, flat)
    y = make.add_map(make.add_map(y, cells=(2, 1)), "normal_cdf")
    height, width, _ = make.sizes[y]
    z = make.binary_conv(make.signs(y, "residual"), 5, (height, width), (1, 1), (0, 0), "scale", "bias")
    plan = Plan(24, 9, 7, tuple("abcde"), tuple(make.ops), z, make.tensors)
    plan.shapes()
    return plan
