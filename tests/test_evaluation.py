from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from evenbit.data import Split
from evenbit.evaluation import batch_for, evaluate, score


def test_score_by_hand() -> None:
    logits = np.array([[math.log(3), 0], [0, math.log(3)], [0, 0]], np.float32)
    result = score(logits, np.array([0, 0, 1]))
    # Of the equal logits in the last row the first counts, which is wrong.
    assert result.accuracy == pytest.approx(100 / 3)
    assert result.top5 == 100
    assert result.loss == pytest.approx((math.log(4 / 3) + math.log(4) + math.log(2)) / 3)
    np.testing.assert_array_equal(result.confusion, [[1, 1], [1, 0]])


def test_top5_counts_labels_among_the_five_largest() -> None:
    logits = np.tile(np.arange(7, dtype=np.float32), (7, 1))
    assert score(logits, np.arange(7)).top5 == pytest.approx(100 * 5 / 7)


def test_large_logits_do_not_overflow() -> None:
    assert score(np.array([[1e30, 0]], np.float32), np.array([0])).loss == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_logit_that_is_not_finite_gives_a_loss_that_is_not(bad: float) -> None:
    assert not math.isfinite(score(np.array([[bad, 0], [0, 1]], np.float32), np.array([0, 1])).loss)


def test_large_images_are_run_in_smaller_batches() -> None:
    assert [batch_for(np.empty((0, 3, side, side), np.uint8)) for side in (8, 32, 64, 224, 1024)] == [
        500,
        500,
        125,
        10,
        1,
    ]
    sizes = []

    def predict(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return np.zeros((len(images), 2), np.float32)

    evaluate(predict, Split(np.zeros((13, 1, 224, 224), np.uint8), np.zeros(13, np.int64)))
    assert sizes == [10, 3]


def test_every_image_is_seen_once_in_order_whatever_the_batch_size() -> None:
    images = np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1)
    split = Split(images, np.arange(7) % 3)
    calls: list[int] = []

    def predict(batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        calls.append(len(batch))
        return np.eye(3, dtype=np.float32)[batch.reshape(-1) % 3]

    seen: list[tuple[float, float]] = []
    assert evaluate(predict, split, batch_size=3, progress=lambda *told: seen.append(told)).accuracy == 100
    assert calls == [3, 3, 1]
    assert seen == [(3, 7), (6, 7), (7, 7)]
