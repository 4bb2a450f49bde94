from __future__ import annotations

import numpy as np

from evenbit.bench.peers import int8_twin, onnxruntime_int8, onnxruntime_predict, openvino_int8
from evenbit.deploy import pack_untrained


def test_peers_compute_the_logits_of_the_images_that_they_got() -> None:
    plan = pack_untrained("resnet8")
    images = np.random.default_rng(0).random((2, 3, 32, 32), dtype=np.float32)
    expected = onnxruntime_predict(int8_twin(plan, images), 1)(images)
    assert np.array_equal(onnxruntime_int8(plan, images, 1).run(), expected)  # type: ignore[arg-type]
    distance = np.abs(openvino_int8(plan, images, 1).run() - expected).max()  # type: ignore[operator]
    assert distance < 0.05 * np.abs(expected).max()
