"""Run in the copy: a network that negates a map, by the reference, the C++ engine, ONNX Runtime and exported C."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from evenbit import plan_file
from evenbit.deploy import pack
from evenbit.export import c, onnx
from evenbit.runtime import reference


class Negating(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 20, 3, padding=1)
        self.last = nn.Linear(20, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(-torch.relu(self.first(x)) + 0.5).mean((2, 3)))


def run_library(library: Path, file: bytes, images: np.ndarray, classes: int) -> np.ndarray:
    engine = ctypes.CDLL(str(library))
    engine.evenbit_load.restype = ctypes.c_void_p
    error = ctypes.create_string_buffer(200)
    network = engine.evenbit_load(file, ctypes.c_size_t(len(file)), 1, None, error, ctypes.c_size_t(200))
    assert network, error.value
    logits = np.empty((len(images), classes), np.float32)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (images, logits)]
    count = ctypes.c_size_t(len(images))
    assert engine.evenbit_run_float(ctypes.c_void_p(network), pointers[0], count, pointers[1]) == 0
    engine.evenbit_free(ctypes.c_void_p(network))
    return logits


def main() -> None:
    torch.manual_seed(0)
    network = Negating().eval()
    images = np.random.default_rng(0).random((3, 3, 6, 5), np.float32)
    plan = pack(network, torch.zeros(1, 3, 6, 5))
    assert [op.kind for op in plan.ops].count("negate") == 1
    expected = reference.run(plan, images)
    np.testing.assert_allclose(expected, network(torch.from_numpy(images)).detach(), rtol=1e-4, atol=1e-5)

    assert run_library(Path(sys.argv[1]), plan_file.to_bytes(plan), images, 4).tobytes() == expected.tobytes()

    onnx.export(plan, Path("net.onnx"))
    (found,) = onnxruntime.InferenceSession("net.onnx").run(["logits"], {"images": images})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    c.export(plan, Path("exported"))
    print(subprocess.run(["make", "-s", "test"], cwd="exported", check=True, capture_output=True, text=True).stdout)


main()
