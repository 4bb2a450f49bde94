"""Other runtimes, running the float twin of a packed network: the same architecture with real weights and ReLU."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from evenbit.errors import EvenbitError
from evenbit.plan import Plan

Images = npt.NDArray[np.float32]


def onnxruntime(plan: Plan, images: Images, threads: int) -> Callable[[], object]:
    """Microsoft's ONNX Runtime in float32 on the CPU, all graph optimizations on."""
    try:
        import onnxruntime as ort
    except ImportError:
        raise EvenbitError("the peer onnxruntime is not installed; pip install 'evenbit[bench]'") from None
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(_float_twin(plan, images), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: images})


def _float_twin(plan: Plan, images: Images) -> bytes:
    """The twin as ONNX, with fresh weights: what they are does not change the time."""
    try:
        import torch

        from evenbit.models import create_model
        from evenbit.nn import METHODS
    except ImportError:
        raise EvenbitError("peers run a float twin that torch makes; pip install 'evenbit[train,bench]'") from None
    if "model" not in plan.info:
        raise EvenbitError("the file does not say which model it is, so its float twin cannot be made")
    twin = create_model(
        plan.info["model"],
        method=METHODS["float"],
        channels=plan.channels,
        classes=len(plan.classes),
        height=plan.height,
        width=plan.width,
        mean=(0.5,) * plan.channels,
        std=(0.25,) * plan.channels,
    ).eval()
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)  # it warns that torchvision, which no network here needs, is not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(twin, (torch.from_numpy(images),), dynamo=True, verbose=False)
    finally:
        exporter.setLevel(level)
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


PEERS: dict[str, Callable[[Plan, Images, int], Callable[[], Any]]] = {"onnxruntime": onnxruntime}
