"""How sure a network may be: each part against numbers worked out by hand or by another way."""

from __future__ import annotations

import numpy as np
import pytest

from evenbit.confidence import Confidence, calibrated, measure, statistics, with_confidence
from evenbit.data import Dataset, Split
from evenbit.evaluation import score
from evenbit.plan_file import load
from evenbit.pretrained import NETWORK


def test_statistics_by_hand() -> None:
    striped = np.zeros((3, 4, 4), np.uint8)
    striped[:, :, ::2] = 200  # columns of 200 and 0: deviation 100, neighbours differ by 200 across and 0 down
    red = np.zeros((3, 4, 4), np.uint8)
    red[0] = 90  # grey 30; the channels lie 60, -30 and -30 from it
    found = statistics(np.stack([striped, red]))
    assert found[0] == pytest.approx([100, np.sqrt(200**2 / 2) / 100, 0])
    assert found[1] == pytest.approx([0, 0, np.sqrt((60**2 + 2 * 30**2) / 3)])


def test_the_temperature_undoes_logits_that_are_too_large() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 5)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(5, p=row / row.sum()) for row in shares.astype(np.float64)])
    images = rng.integers(0, 256, (4000, 3, 4, 4), dtype=np.uint8)
    for factor in (1, 3):
        found = measure(factor * logits, labels, images)
        assert found.temperature == pytest.approx(factor, rel=0.06)
        assert (
            score(factor * logits / np.float32(found.temperature), labels).loss <= score(factor * logits, labels).loss
        )


def test_one_in_twenty_is_below_the_certainty_and_one_in_fifty_outside_a_range() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (1000, 4)).astype(np.float32)
    levels = rng.integers(0, 256, (1000, 3, 1, 1)) / 2 + rng.integers(0, 128, (1000, 3, 6, 6))
    images = levels.astype(np.uint8)
    found = measure(logits, logits.argmax(1), images[:400], images[400:])
    doubts = found.doubts(images, logits)
    assert sum("certainty" in one for one in doubts) == 50
    for name in ("contrast", "detail", "colour"):
        assert sum(name in one for one in doubts) == 20


def test_it_goes_into_the_info_and_back() -> None:
    found = Confidence(1.25, 0.5, {"contrast": (1, 2), "detail": (0.25, 0.75), "colour": (0, 30)})
    info = found.as_info()
    assert info["detail"] == "0.25 to 0.75"
    assert Confidence.of_info({"model": "resnet8", **info}) == found
    assert Confidence.of_info({"model": "resnet8"}) is None


def test_a_network_that_is_always_certain_is_sure() -> None:
    labels = np.arange(40) % 2
    logits = 20 * np.eye(2, dtype=np.float32)[labels]
    images = np.random.default_rng(3).integers(0, 256, (40, 3, 4, 4), dtype=np.uint8)
    found = Confidence.of_info(measure(logits, labels, images).as_info())
    assert found is not None
    assert found.certainty == 0.9999
    assert not any("certainty" in doubts for doubts in found.doubts(images, logits))
    written_before = Confidence.of_info({**found.as_info(), "certainty": "1"})
    assert written_before is not None
    assert not any("certainty" in doubts for doubts in written_before.doubts(images, logits))


def test_limits_are_rounded_outwards() -> None:
    info = Confidence(1, 0.123456, {"contrast": (123.456, 123.454), "detail": (0, 0.1), "colour": (0, 1e-9)}).as_info()
    assert (info["certainty"], info["contrast"]) == ("0.1234", "123.4 to 123.5")
    assert (info["detail"], info["colour"]) == ("0 to 0.1", "0 to 1e-09")


def test_statistics_of_many_images_are_those_of_each() -> None:
    images = np.random.default_rng(4).integers(0, 256, (1203, 3, 32, 32), dtype=np.uint8)
    assert np.array_equal(statistics(images)[1100:], statistics(images[1100:]))


def test_few_images_say_nothing() -> None:
    plan = load(NETWORK)
    few = Split(np.zeros((19, 3, 32, 32), np.uint8), np.zeros(19, np.int64))
    dataset = Dataset("few", plan.classes, few, few)
    assert with_confidence(plan, lambda images: np.zeros((len(images), 10), np.float32), dataset) is plan
    result = score(np.eye(19, dtype=np.float32), np.arange(19))
    assert calibrated(result) is result


def test_what_is_usual_is_measured_on_the_training_images_too() -> None:
    plan, rng = load(NETWORK), np.random.default_rng(2)
    grey = np.repeat(rng.integers(0, 256, (100, 1, 32, 32), dtype=np.uint8), 3, 1)
    red = grey * np.array([1, 0, 0], np.uint8).reshape(3, 1, 1)
    labels = np.arange(100) % 10
    dataset = Dataset("x", plan.classes, Split(red, labels), Split(grey, labels))
    found = Confidence.of_info(with_confidence(plan, lambda images: np.eye(10, dtype=np.float32)[labels], dataset).info)
    assert found is not None
    assert found.usual["colour"][0] == 0
    assert found.usual["colour"][1] > 40


def test_probabilities_are_at_the_temperature_that_suits() -> None:
    logits = np.tile(np.array([[3, 0], [0, 3]], np.float32), (20, 1))
    labels = np.tile([0, 1, 0, 0], 10)  # three of four are right
    result = calibrated(score(logits, labels))
    assert result.probabilities.max(1) == pytest.approx(0.75, abs=0.005)
    assert {round(item.certainty, 2) for item in result.mistakes()} == {0.75}
    assert result.loss == score(logits, labels).loss
