"""Other runtimes, running the twin of a packed network: the same architecture with float or 8-bit weights and ReLU.

Larq's twin is binary, as ours is. Each runtime is called in its fastest way: ONNX Runtime and OpenVINO get the images
once, bound to their input, since a copy in each call would take longer than some small networks do.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
import os
import platform
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evenbit.cpu import cpu_features, read_cpu
from evenbit.errors import EvenbitError
from evenbit.plan import Plan

if TYPE_CHECKING:
    from torch import nn

Images = npt.NDArray[np.float32]
Runner = Callable[[], object]


class Peer(NamedTuple):
    """A network in another runtime, ready to run.

    Attributes:
        run: Runs the images once.
        bytes: Size of the network's file; None if it is not known.
    """

    run: Runner
    bytes: int | None


LARQ_PYTHON = "EVENBIT_LARQ_PYTHON"
# Widths of the stages, convolutions of each, and whether the stem is that of large images; see evenbit.models.resnet.
RESIDUAL = {
    "resnet8": ((16, 32, 64), 2, False),
    "resnet18": ((64, 128, 256, 512), 4, False),
    "resnet18_imagenet": ((64, 128, 256, 512), 4, True),
    "resnet20": ((16, 32, 64), 6, False),
}


def onnxruntime(plan: Plan, images: Images, threads: int) -> Peer:
    """Microsoft's ONNX Runtime in float32 on the CPU, all graph optimizations on."""
    _need("onnxruntime")
    return onnxruntime_peer(float_twin(plan, images), images, threads)


def onnxruntime_int8(plan: Plan, images: Images, threads: int) -> Peer:
    """ONNX Runtime with 8-bit weights (signed, per channel) and activations (unsigned), in its QDQ form."""
    _need("onnxruntime")
    return onnxruntime_peer(int8_twin(plan, images), images, threads)


def openvino_int8(plan: Plan, images: Images, threads: int) -> Peer:
    """Intel's OpenVINO on the CPU, running the same 8-bit network."""
    _need("openvino")
    _need("onnxruntime")  # makes the 8-bit network
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    model = int8_twin(plan, images)
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(images, shared_memory=True))
    return Peer(lambda: request.infer(share_outputs=True)[0], len(model))


def larq(plan: Plan, images: Images, threads: int) -> Peer:
    """Larq Compute Engine running a binary twin, in the environment that the variable EVENBIT_LARQ_PYTHON names."""
    python = os.environ.get(LARQ_PYTHON)
    if not python:
        raise EvenbitError(
            f"this peer needs TensorFlow and so an environment of its own; set {LARQ_PYTHON} to a Python that has "
            "larq, larq-compute-engine, tensorflow and tf_keras"
        )
    model = plan.info.get("model", "")
    if model not in RESIDUAL:
        raise EvenbitError(f"there is no Larq twin of the model '{model}', only of {', '.join(RESIDUAL)}")
    widths, convs, large = RESIDUAL[model]
    shape = [len(images), plan.height, plan.width, plan.channels]
    request = {"widths": widths, "convs": convs, "large": large, "shape": shape, "classes": len(plan.classes)}
    command = [python, str(Path(__file__).with_name("larq_worker.py"))]
    try:
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    except OSError as error:
        raise EvenbitError(f"{LARQ_PYTHON}: cannot run {python}: {error.strerror}") from None
    assert worker.stdin is not None
    assert worker.stdout is not None
    to, answers = worker.stdin, worker.stdout

    def ask(line: str) -> str:
        try:
            print(line, file=to, flush=True)
        except BrokenPipeError:
            return ""
        return answers.readline()

    def run() -> None:
        if not ask(""):
            raise EvenbitError("the Larq process has ended")

    if ask(json.dumps({**request, "threads": threads})) != "ready\n":
        raise EvenbitError(f"{python} cannot build the Larq twin; does it have larq-compute-engine and tensorflow?")
    return Peer(run, None)


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise EvenbitError(f"this peer needs the package {package}; pip install 'evenbit[bench]'")


def onnxruntime_peer(model: bytes, images: Images, threads: int) -> Peer:
    """An ONNX network in ONNX Runtime, all graph optimizations on."""
    session = _session(model, threads)
    binding = session.io_binding()
    binding.bind_cpu_input(session.get_inputs()[0].name, images)
    output = session.get_outputs()[0]
    logits = np.empty(output.shape, np.float32)
    binding.bind_output(output.name, "cpu", 0, logits.dtype, logits.shape, logits.ctypes.data)

    def run() -> Images:
        session.run_with_iobinding(binding)
        return logits

    return Peer(run, len(model))


def onnxruntime_predict(model: bytes, threads: int) -> Callable[[Images], Images]:
    """A function from images to the logits that ONNX Runtime computes, all graph optimizations on."""
    session = _session(model, threads)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _session(model: bytes, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class _Calibration:
    """Hands the batches to the quantizer, one after the other."""

    def __init__(self, name: str, batches: Sequence[Images]) -> None:
        self._batches = iter([{name: images} for images in batches])

    def get_next(self) -> dict[str, Images] | None:
        return next(self._batches, None)


def int8_twin(plan: Plan, images: Images) -> bytes:
    """The float twin, quantized by ONNX Runtime; the ranges that the images give do not change the time."""
    return quantize(float_twin(plan, images), [images])


def quantize(model: bytes, batches: Sequence[Images]) -> bytes:
    """An ONNX network with 8-bit weights (signed, per channel) and activations (unsigned), by ONNX Runtime.

    On x86 without VNNI, both runtimes add pairs of products in 16 bits, which saturate; there weights have 7 bits.

    Args:
        model: The network in float32.
        batches: Images of the shape that it takes, whose values give the ranges of its activations.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    network = onnx.load_from_string(model)
    with tempfile.TemporaryDirectory() as folder, _quiet("root"):
        prepared, quantized = f"{folder}/float.onnx", f"{folder}/int8.onnx"
        quant_pre_process(network, prepared)
        quantize_static(
            prepared,
            quantized,
            _Calibration(network.graph.input[0].name, batches),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=_saturates(),
        )
        return Path(quantized).read_bytes()


def _saturates() -> bool:
    """Whether 8-bit products are added without VNNI on this machine."""
    found = cpu_features(read_cpu())
    return platform.machine() in ("x86_64", "AMD64") and bool(found) and not any("_vnni" in name for name in found)


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Silences the warnings of exporters and quantizers about packages and steps that no network here needs."""
    log = logging.getLogger(None if logger == "root" else logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def float_twin(plan: Plan, images: Images) -> bytes:
    """The twin as ONNX, with random weights: their values do not change the time."""
    if importlib.util.find_spec("torch") is None:
        raise EvenbitError("peers run a float twin that torch makes; pip install 'evenbit[train,bench]'")
    _need("onnxscript")
    if "model" not in plan.info:
        raise EvenbitError("the file does not say which model it is, so its float twin cannot be made")
    return _exported_twin(plan.info["model"], len(plan.classes), images.shape)


@functools.lru_cache(maxsize=1)  # several peers run one twin, and its export takes seconds
def _exported_twin(model: str, classes: int, shape: tuple[int, ...]) -> bytes:
    from evenbit.models import create_model
    from evenbit.nn import METHODS

    _, channels, height, width = shape
    twin = create_model(
        model,
        method=METHODS["float"],
        channels=channels,
        classes=classes,
        height=height,
        width=width,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    ).eval()
    return to_onnx(twin, np.zeros(shape, np.float32))


def to_onnx(network: nn.Module, images: Images) -> bytes:
    """A torch network as ONNX, for images of that shape only."""
    import torch

    with _quiet("torch.onnx"):
        program = torch.onnx.export(network, (torch.from_numpy(images),), dynamo=True, verbose=False)
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


PEERS: dict[str, Callable[[Plan, Images, int], Peer]] = {
    "onnxruntime": onnxruntime,
    "onnxruntime-int8": onnxruntime_int8,
    "openvino-int8": openvino_int8,
    "larq": larq,
}
