from __future__ import annotations

import math

import pytest
import torch

from evenbit.data.augment import Mixed
from evenbit.train import load_recipe
from evenbit.train.checkpoint import Task
from evenbit.train.losses import attention_loss, balance_loss, distillation_loss, label_loss
from evenbit.train.objective import Objective


def test_smoothed_cross_entropy_by_hand() -> None:
    # Softmax of (ln 3, 0) is (3/4, 1/4); smoothing by 0.2 over two classes leaves the label 0.9.
    logits = torch.tensor([[math.log(3), 0.0]])
    expected = -(0.9 * math.log(3 / 4) + 0.1 * math.log(1 / 4))
    assert label_loss(logits, torch.tensor([0]), 0.2).item() == pytest.approx(expected, abs=1e-6)


def test_distillation_by_hand() -> None:
    # At T = 2 the teacher's (2 ln 3, 0) softens to (3/4, 1/4) and the student's zeros to (1/2, 1/2).
    teacher = torch.tensor([[2 * math.log(3), 0.0]])
    divergence = 3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)
    assert distillation_loss(torch.zeros(1, 2), teacher, 2.0).item() == pytest.approx(4 * divergence, abs=1e-6)


def test_distillation_is_a_mean_over_the_batch_and_zero_for_equal_logits() -> None:
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 5, generator=draw)
    each = [distillation_loss(student[i : i + 1], teacher[i : i + 1], 3.0) for i in range(6)]
    torch.testing.assert_close(distillation_loss(student, teacher, 3.0), torch.stack(each).mean())
    assert distillation_loss(student, student, 3.0).item() == pytest.approx(0, abs=1e-6)


def test_attention_by_hand() -> None:
    # Maps (3, 4) and (4, 3) of one channel have the attentions (9, 16) / r and (16, 9) / r with r² = 9² + 16².
    a, b = torch.tensor([[[[3.0, 4.0]]]]), torch.tensor([[[[4.0, 3.0]]]])
    assert attention_loss([a], [b]).item() == pytest.approx(2 * 49 / (81 + 256), rel=1e-5)
    assert attention_loss([a, a], [a, b]).item() == pytest.approx(49 / (81 + 256), rel=1e-5)


def test_balance_by_hand() -> None:
    shares = [torch.tensor([0.5, 1.0]), torch.tensor([0.25])]
    assert balance_loss(shares, 0.5).item() == pytest.approx((0.125 + 0.0625) / 2)
    assert balance_loss(shares, 0.25).item() == pytest.approx((0.625 / 2 + 0) / 2)


def test_weights_of_classes_give_each_the_same_share_of_the_loss() -> None:
    labels = torch.tensor([0] * 6 + [1] * 2)
    logits = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    recipe = load_recipe(None, {"method": "float", "class_weights": True})
    task = Task(("many", "few"), 1, 8, 8, (0.5,), (0.5,))
    loss = Objective(recipe, task, torch.nn.Identity(), labels)(logits, logits, labels)
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    assert loss.item() == pytest.approx((each[:6].mean() + each[6:].mean()).item() / 2)


def test_the_loss_of_mixed_images_is_that_with_both_labels() -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    share = torch.tensor([0.75, 0.75])
    found = label_loss(logits, labels, 0.0, mixed=Mixed(share, torch.tensor([1, 0])))
    soft = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    assert found.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, soft).item())
