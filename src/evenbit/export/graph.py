"""An ONNX graph under construction: unique names, nodes with the shapes of their results, constants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from evenbit.errors import ExportError
from evenbit.files import write_atomically
from evenbit.plan import Plan

OPSET = 13  # of 2020; it has every operator that is used, and today's programs read it
MAX_BYTES = 2**31 - 1  # largest size of a protobuf message

Dims = tuple[int | str, ...]  # a name is a size that is not fixed


class Graph:
    """Nodes in execution order, with the shape and type of everything they compute.

    Attributes:
        batch: Number of images per call, or the name of a dimension that is not fixed.
    """

    def __init__(self, batch: int | str) -> None:
        self.batch = batch
        self._names = {"images", "logits"}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._values: dict[str, onnx.ValueInfoProto] = {}

    def name(self, wanted: str) -> str:
        """`wanted`, or if that name is taken, the same with a number."""
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}.{count}"
        self._names.add(name)
        return name

    def constant(self, wanted: str, array: npt.NDArray[Any]) -> str:
        """Stores a constant; returns its name."""
        name = self.name(wanted)
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        dims: Dims,
        wanted: str,
        kind: int = TensorProto.FLOAT,
        domain: str | None = None,
        **attributes: Any,
    ) -> str:
        """Adds a node with one result.

        If the node would read a tensor twice, it reads a copy the second time: qonnx's clean-up, which gives the
        tensors other names, renames only one of the inputs.

        Args:
            operator: Its ONNX name.
            inputs: Names of its inputs.
            dims: Shape of its result.
            wanted: Name of its result, and of the node, unless it is taken.
            kind: Element type of its result.
            domain: Domain of the operator, if it is not one of ONNX's own.
            **attributes: Attributes of the operator.

        Returns:
            The name of its result.
        """
        read = [self._copy(name) if name in inputs[:place] else name for place, name in enumerate(inputs)]
        out = self.name(wanted)
        self._nodes.append(helper.make_node(operator, read, [out], name=out, domain=domain, **attributes))
        self._values[out] = helper.make_tensor_value_info(out, kind, dims)
        return out

    def _copy(self, name: str) -> str:
        """A copy of what a node has computed."""
        copy = self.name(name)
        self._nodes.append(helper.make_node("Identity", [name], [copy], name=copy))
        self._values[copy] = helper.make_value_info(copy, self._values[name].type)
        return copy

    def model(self, plan: Plan, logits: str, domains: Sequence[str] = ()) -> onnx.ModelProto:
        """The finished model, from float32 `images` `[N, C, H, W]` to `logits` `[N, classes]` or a map of them.

        Args:
            plan: The Plan whose class names and origin become metadata.
            logits: Name of the map `[N, classes, H', W']`.
            domains: Operator sets used besides ONNX's own, each in version 1.
        """
        _, height, width, classes = plan.shapes()[plan.output]
        dims = (self.batch, classes, height, width) if plan.gives_map else (self.batch, classes)
        last = "Identity" if plan.gives_map else "Flatten"
        self._nodes.append(helper.make_node(last, [logits], ["logits"], name="logits"))
        images = (self.batch, plan.channels, plan.height, plan.width)
        graph = helper.make_graph(
            self._nodes,
            plan.info.get("model") or "evenbit",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, images)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, dims)],
            self._constants,
            value_info=list(self._values.values()),
        )
        opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets[:1]),
            producer_name="evenbit",
            producer_version=version("evenbit"),
            doc_string="images: float32 in [0, 1], NCHW; bytes are divided by 255 before",
        )
        helper.set_model_props(model, {**plan.info, "classes": json.dumps(plan.classes)})
        return model


def save(model: onnx.ModelProto, path: Path) -> dict[str, Any]:
    """Checks the model and writes it; returns the file, its size and the number of its nodes.

    Raises:
        ExportError: If it is larger than an ONNX file can be.
    """
    if model.ByteSize() > MAX_BYTES:
        raise ExportError(f"the network takes {model.ByteSize():,} bytes as ONNX, which allows at most {MAX_BYTES:,}")
    onnx.checker.check_model(model)
    data = model.SerializeToString(deterministic=True)
    write_atomically(path, data)
    return {"file": str(path), "bytes": len(data), "nodes": len(model.graph.node)}


def window(
    kernel: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, int], overhang: tuple[int, int] = (0, 0)
) -> dict[str, Any]:
    """Attributes of an operator that slides over a map."""
    after = (pad + over for pad, over in zip(padding, overhang, strict=True))
    return {"kernel_shape": list(kernel), "strides": list(stride), "pads": [*padding, *after]}


def convolution(
    kernel: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, int], groups: int = 1
) -> dict[str, Any]:
    """Attributes of a convolution, including those that have a default, since some programs require them."""
    return {**window(kernel, stride, padding), "dilations": [1, 1], "group": groups}
