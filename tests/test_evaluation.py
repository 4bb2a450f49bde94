from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console
from scipy.stats import binomtest

from evenbit.data import Split
from evenbit.evaluation import Evaluation, batch_for, evaluate, score
from evenbit.progress import tell
from evenbit.terminal import show, show_evaluation, show_mistakes


def test_score_by_hand() -> None:
    logits = np.array([[math.log(3), 0], [0, math.log(3)], [0, 0]], np.float32)
    result = score(logits, np.array([0, 0, 1]))
    # Of the equal logits in the last row the first counts, which is wrong.
    assert result.accuracy == pytest.approx(100 / 3)
    assert result.loss == pytest.approx((math.log(4 / 3) + math.log(4) + math.log(2)) / 3)
    np.testing.assert_array_equal(result.confusion, [[1, 1], [1, 0]])


def test_top5_counts_labels_among_the_five_largest_of_ten_or_more() -> None:
    for classes, share in ((9, None), (10, 50), (20, 25)):
        logits = np.tile(np.arange(classes, dtype=np.float32), (classes, 1))
        result = score(logits, np.arange(classes))
        assert result.top5 == share
        assert ("top5" in result.as_dict()) == (share is not None)


@pytest.fixture
def unequal() -> Evaluation:
    """15 cats and a dog, all named cat: the first seven cats with a certainty of 3/4, the rest and the dog of 9/10."""
    logits = np.zeros((16, 3), np.float32)
    logits[:7, 0] = math.log(3)
    logits[7:, 0] = math.log(9)
    logits[:, 2] = -100
    return score(logits, np.array([0] * 15 + [1]), classes=("cat", "dog", "cow"))


def test_unequal_classes_show(unequal: Evaluation) -> None:
    assert unequal.accuracy == 93.75
    assert unequal.constant == ("cat", 93.75, True)
    assert unequal.balanced_accuracy == 50  # a class without images has no accuracy
    np.testing.assert_array_equal(unequal.by_class, [100, 0, np.nan])
    assert unequal.taken_for(0) is unequal.taken_for(2) is None
    assert unequal.taken_for(1) == ("cat", 1)
    told = json.loads(json.dumps(unequal.as_dict()))
    assert told["classes"] == [
        {"class": "cat", "images": 15, "accuracy": 100},
        {"class": "dog", "images": 1, "accuracy": 0},
        {"class": "cow", "images": 0, "accuracy": None},
    ]
    assert told["constant"] == {"class": "cat", "accuracy": 93.75}
    assert told["confusion"] == [[15, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_a_constant_answer_that_is_far_worse_is_not_near() -> None:
    labels = np.array([0] * 6 + [1] * 4)
    assert score(np.eye(2, dtype=np.float32)[labels], labels).constant == ("0", 60, False)
    nearly = labels.copy()
    nearly[-3:] = 0
    assert score(np.eye(2, dtype=np.float32)[nearly], labels).constant == ("0", 60, True)


@pytest.mark.parametrize(("right", "count"), [(15, 16), (5, 5), (0, 5), (1, 3), (9876, 10_000)])
def test_the_interval_is_that_of_wilson(right: int, count: int) -> None:
    labels = np.zeros(count, np.int64)
    answers = np.arange(count) >= right
    expected = binomtest(right, count).proportion_ci(method="wilson")
    interval = score(np.eye(2, dtype=np.float32)[answers.astype(int)], labels).interval
    assert interval == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-4)


def test_the_surest_mistakes_come_first() -> None:
    logits = np.log(np.array([[3, 1], [9, 1], [1, 4], [1, 9]], np.float32))
    paths = tuple(Path(f"{index}.png") for index in range(4))
    result = score(logits, np.array([1, 1, 0, 1]), classes=("a", "b"), paths=paths)
    mistakes = result.mistakes()
    assert [item[:4] for item in mistakes] == [
        (1, paths[1], "b", "a"),
        (2, paths[2], "a", "b"),
        (0, paths[0], "b", "a"),
    ]
    assert [item.certainty for item in mistakes] == pytest.approx([0.9, 0.8, 0.75])
    assert [item.name for item in mistakes] == ["1.png", "2.png", "0.png"]
    assert score(logits, np.array([1, 1, 0, 1])).mistakes()[0].name == "image 1"


def test_a_table_by_class_says_what_always_one_answer_would_give(
    unequal: Evaluation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    show_evaluation(unequal)
    show_mistakes({"test": unequal})
    assert capsys.readouterr().out.splitlines() == [
        "test accuracy 93.75 % of 16 images (71.7 to 98.9 % with 95 % confidence)",
        "balanced accuracy 50.00 %, the mean over the classes",
        "always answering cat would give 93.75 %",
        "class  images  accuracy  most often taken for",
        "cat        15  100.00 %                      ",
        "dog         1    0.00 %  cat (1)             ",
        "",
        "classified wrong, the surest first; if the network is very sure, check whether the photo's class is right",
        "class  named  certainty  image   ",
        "dog    cat       90.0 %  image 15",
    ]


def test_of_many_classes_the_worst_are_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    logits = np.eye(50, dtype=np.float32)
    logits[30] = logits[31]
    show_evaluation(score(logits, np.arange(50)))
    lines = capsys.readouterr().out.splitlines()
    assert "the 20 worst of 50 classes; --json has all" in lines
    assert lines[-20].split() == ["30", "1", "0.00", "%", "31", "(1)"]


def test_what_is_long_is_not_broken_where_no_window_limits_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    show([{"file": "photos/" + 30 * "long/", "bytes": 3}], as_json=False)
    assert "photos/" + 30 * "long/" in capsys.readouterr().out


def test_in_a_window_sentences_break_between_words(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Console(width=24), "a sentence of [b]some[/b] words :smile: and /a/path")
    assert capsys.readouterr().out == "a sentence of \n[b]some[/b] words \n:smile: and /a/path\n"


def test_the_repr_is_short(unequal: Evaluation) -> None:
    assert repr(unequal) == (
        "<Evaluation: 93.75 % of 16 images right (95 % interval 71.7 to 98.9 %), balanced 50.00 %, 3 classes>"
    )


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
