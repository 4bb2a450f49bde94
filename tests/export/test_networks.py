"""Real networks on real images: a trained one on the digits, and what stands in its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from executors import exported, in_onnxruntime, logits
from rich.console import Console

from evenbit.data import load_dataset
from evenbit.deploy import pack_run
from evenbit.ops import BinaryConv, Elementwise, Flatten, Multiply, Normalize, Tail
from evenbit.plan import Plan
from evenbit.plan_file import to_bytes
from evenbit.runtime.engine import Engine
from evenbit.summary import summarize, total
from evenbit.train import load_recipe, train


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """ResNet-8 with every part of the method, after three epochs."""
    folder = tmp_path_factory.mktemp("digits")
    train(load_recipe("digits-resnet8-fd", {"epochs": 3, "teacher": None}), folder, console=Console(quiet=True))
    return pack_run(folder)


def test_onnxruntime_names_the_same_digits(digits: Plan) -> None:
    images = load_dataset("digits").test.images
    on_engine = Engine(digits)(images)
    found = logits(exported(digits, "onnx"), "onnx", images / np.float32(255))
    # A float sum that is rounded in another order may turn a bit whose value lies at its threshold.
    assert (found.argmax(1) != on_engine.argmax(1)).sum() <= 1
    assert (np.abs(found - on_engine).max(1) < 1e-4).mean() > 0.97


def test_qonnx_names_the_same_digits(digits: Plan) -> None:
    images = load_dataset("digits").test.images[:40]
    on_engine = Engine(digits)(images)
    found = logits(exported(digits, "qonnx"), "qonnx", images / np.float32(255))
    assert (found.argmax(1) != on_engine.argmax(1)).sum() <= 1
    assert (np.abs(found - on_engine).max(1) < 1e-4).mean() > 0.9


def test_any_number_of_images(digits: Plan) -> None:
    model = exported(digits, "onnx")
    images = load_dataset("digits").test.images[:5] / np.float32(255)
    together = in_onnxruntime(model, {"images": images})["logits"]
    alone = [in_onnxruntime(model, {"images": images[i : i + 1]})["logits"] for i in range(5)]
    assert together.shape == (5, 10)
    assert np.allclose(together, np.concatenate(alone), atol=1e-4)


def test_openvino_reads_it(digits: Plan, tmp_path: Path) -> None:
    import openvino

    path = tmp_path / "model.onnx"
    onnx.save(exported(digits, "onnx"), path)
    images = load_dataset("digits").test.images[:100]
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(images / np.float32(255))[0]
    assert (found.argmax(1) != Engine(digits)(images).argmax(1)).sum() <= 1


def test_standard_operators_only_and_one_bit_a_weight(digits: Plan) -> None:
    model = exported(digits, "onnx")
    onnx.checker.check_model(model, full_check=True)  # infers all shapes and compares them with those that are stored
    assert {node.domain for node in model.graph.node} == {""}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 13)]
    octets = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.UINT8]
    convs = [op for op in digits.ops if isinstance(op, BinaryConv)]
    assert len(octets) == len(convs) > 0
    for tensor, op in zip(octets, convs, strict=True):
        outputs, height, width, _ = digits.tensors[op.weight].shape
        channels = digits.shapes()[op.input].channels
        assert len(tensor.raw_data) == outputs * height * width * channels // 8
    assert model.ByteSize() < 2.5 * len(to_bytes(digits))


def test_the_file_says_what_it_takes_and_gives(digits: Plan) -> None:
    for form, batch in (("onnx", "N"), ("qonnx", 1)):
        model = exported(digits, form)
        (images,), (scores,) = model.graph.input, model.graph.output
        for value, name, sizes in ((images, "images", [1, 8, 8]), (scores, "logits", [10])):
            first, *rest = value.type.tensor_type.shape.dim
            assert value.name == name
            assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
            assert (first.dim_param or first.dim_value) == batch
            assert [dim.dim_value for dim in rest] == sizes
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(metadata["classes"]) == list(digits.classes)
        assert metadata["method"] == "fd"
        assert model.producer_name == "evenbit"


def test_qonnx_finds_what_is_binary(digits: Plan) -> None:
    from qonnx.analysis.inference_cost import inference_cost
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_datatypes import InferDataTypes
    from qonnx.util.cleanup import cleanup_model

    model = exported(digits, "qonnx")
    image = load_dataset("digits").test.images[:1] / np.float32(255)
    expected = logits(model, "qonnx", image)
    # What FPGA tools do first: name, fold and derive the type of each tensor.
    cleaned = cleanup_model(ModelWrapper(model)).transform(InferDataTypes())
    (found,) = execute_onnx(cleaned, {cleaned.graph.input[0].name: image}).values()
    assert np.array_equal(found, expected)
    cost = inference_cost(cleaned, discount_sparsity=False)["total_cost"]
    assert cost["op_mac_BIPOLAR_BIPOLAR"] == total(summarize(digits))["binary_macs"]


def test_qonnx_may_clean_up_what_is_read_twice() -> None:
    """A sigmoid reads its square twice over, `x * x` and `x + x` their map."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.util.cleanup import cleanup_model

    ops = (
        Normalize("x", "images", "x"),
        Elementwise("sigmoid", "x", "s", Tail(activation="sigmoid")),
        Multiply("square", "s", "q", Tail(), factor="s"),
        Elementwise("twice", "q", "t", Tail(residual="q")),
        Flatten("flat", "t", "logits"),
    )
    plan = Plan(3, 1, 1, tuple("abc"), ops, "logits", {})
    image = np.array([0.25, 0.5, 1], np.float32).reshape(1, 3, 1, 1)
    model = exported(plan, "qonnx")
    cleaned = cleanup_model(ModelWrapper(model))
    (found,) = execute_onnx(cleaned, {cleaned.graph.input[0].name: image}).values()
    assert np.array_equal(found, logits(model, "qonnx", image))
    assert np.allclose(found, 2 / (1 + np.exp(-image.reshape(1, 3))) ** 2, atol=1e-6)
