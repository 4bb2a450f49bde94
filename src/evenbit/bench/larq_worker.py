"""The twin of a residual network in Larq Compute Engine, in a process of its own.

Larq needs TensorFlow, so this file is run by the interpreter of another environment and imports nothing of evenbit.
Its first line of input is JSON: `widths`, `convs` (per stage), `large` (whether the stem is ImageNet's), `shape`
(number, height, width and channels of the images), `classes` and `threads`. It answers `ready`; then each line of input
runs the network once, in the fastest of the engine's settings, and is answered by an empty line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np

WARMUP_CALLS = 5
SETTINGS = [(indirect, xnnpack) for indirect in (False, True) for xnnpack in (False, True)]


def build(request: dict[str, Any]) -> Any:
    """The network, with a shortcut for each convolution as in `evenbit.models.resnet`."""
    import larq
    import tensorflow as tf

    layers = tf.keras.layers
    image = layers.Input(request["shape"][1:], batch_size=1)  # its interpreter takes images one by one
    kernel, stride = (7, 2) if request["large"] else (3, 1)
    x = layers.Conv2D(request["widths"][0], kernel, stride, padding="same", use_bias=False)(image)
    x = layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization()(x))
    if request["large"]:
        x = layers.MaxPool2D(3, 2, padding="same")(x)
    for stage, filters in enumerate(request["widths"]):
        for index in range(request["convs"]):
            shortcut, step = x, 1
            if stage > 0 and index == 0:
                shortcut, step = layers.Conv2D(filters, 1, use_bias=False)(layers.AvgPool2D(2)(x)), 2
                shortcut = layers.BatchNormalization()(shortcut)
            signs = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
            x = larq.layers.QuantConv2D(filters, 3, step, "same", pad_values=1.0, use_bias=False, **signs)(x)
            x = layers.Add()([layers.BatchNormalization()(x), shortcut])
            x = layers.PReLU(shared_axes=[1, 2])(x)
    return tf.keras.Model(image, layers.Dense(request["classes"])(layers.GlobalAvgPool2D()(x)))


def fastest(model: Any, images: np.ndarray[Any, Any], threads: int) -> Any:
    """An interpreter of the network in the setting whose shortest time is least."""
    import larq_compute_engine
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    data = larq_compute_engine.convert_keras_model(model)
    timed = []
    for number, (indirect, xnnpack) in enumerate(SETTINGS):
        interpreter = Interpreter(data, threads, use_indirect_bgemm=indirect, use_xnnpack=xnnpack)
        times = []
        for _ in range(WARMUP_CALLS):
            start = time.perf_counter()
            interpreter.predict(images[:1])
            times.append(time.perf_counter() - start)
        timed.append((min(times), number, interpreter))
    return min(timed)[2]


def main() -> None:
    """Serves requests until the input ends."""
    request = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what TensorFlow prints is no answer
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # before TensorFlow is imported
    images = np.random.default_rng(0).random(request["shape"], np.float32)
    interpreter = fastest(build(request), images, request["threads"])
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        interpreter.predict(images)
        print(file=answers, flush=True)


if __name__ == "__main__":
    main()
