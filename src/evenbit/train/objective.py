"""What training minimizes: the recipe's sum of the losses in `evenbit.train.losses`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from evenbit.data.augment import Mixed
from evenbit.errors import RecipeError
from evenbit.nn import BinaryActivation
from evenbit.train.checkpoint import Task, load_run
from evenbit.train.losses import attention_loss, balance_loss, distillation_loss, label_loss
from evenbit.train.network import SELF, is_run, with_plain_logits
from evenbit.train.recipe import Recipe
from evenbit.train.weights import digest


class Objective:
    """The loss of a network on a batch.

    Args:
        recipe: Names the losses and their weights.
        task: What is classified; a teacher must have been trained on the same.
        network: The network; some losses read its layers.
        labels: `[N]`, of the training images; they give the sizes of the classes. A teacher is moved to their device.
        real: The teacher, if the recipe names "self" or a network that is passed in a call.

    Attributes:
        teacher: Digest of the weights of a teacher that is not "self"; else "".

    Raises:
        RecipeError: If the teacher or the network does not fit the recipe.
        CheckpointError: If the teacher's run cannot be read.
    """

    def __init__(
        self, recipe: Recipe, task: Task, network: nn.Module, labels: Tensor, real: nn.Module | None = None
    ) -> None:
        device = labels.device
        self._recipe = recipe
        self._teacher = _load_teacher(recipe, task, device, real)
        self.teacher = "" if self._teacher is None or recipe.teacher == SELF else digest(self._teacher)
        self._class_weights = None
        if recipe.class_weights:
            counts = torch.bincount(labels.cpu(), minlength=len(task.classes)).to(device)
            self._class_weights = len(labels) / (len(counts) * counts.clamp(min=1))
        self._binary = [module for module in network.modules() if isinstance(module, BinaryActivation)]
        self._stages = [name for name, _ in network.named_children() if name.startswith("stage")]
        self._maps: dict[str, list[Tensor]] = {"network": [], "teacher": []}
        if recipe.balance:
            if not self._binary:
                raise RecipeError("the balance loss needs a binary method")
            for module in self._binary:
                module.guided = True
        if recipe.attention:
            if self._teacher is None:
                raise RecipeError("the attention loss needs a teacher")
            if not self._stages or self._stages != [n for n, _ in self._teacher.named_children() if "stage" in n]:
                raise RecipeError("the attention loss needs a network and a teacher with the same stages")

    @contextmanager
    def watching(self, network: nn.Module) -> Iterator[None]:
        """Records the maps that losses need while the network runs."""
        with self._recording(network, "network"):
            yield

    def __call__(self, inputs: Tensor, logits: Tensor, labels: Tensor, mixed: Mixed | None = None) -> Tensor:
        """Mean loss of the batch that the network has just seen.

        Args:
            inputs: Images `[N, C, H, W]` in [0, 1].
            logits: The network's, `[N, K]`.
            labels: `[N]`.
            mixed: Which other images the inputs are mixed with; None if they are not mixed.
        """
        recipe = self._recipe
        loss = label_loss(logits, labels, recipe.label_smoothing, self._class_weights, mixed)
        if self._teacher is not None:
            autocast = torch.autocast(inputs.device.type, torch.bfloat16, enabled=recipe.precision == "bf16")
            with torch.inference_mode(), autocast, self._recording(self._teacher, "teacher"):
                target = self._teacher(inputs).float()
            distilled = distillation_loss(logits, target.clone(), recipe.temperature)
            loss = (1 - recipe.distillation) * loss + recipe.distillation * distilled
        if recipe.attention:
            loss = loss + recipe.attention * attention_loss(
                self._maps["network"], [a.clone() for a in self._maps["teacher"]]
            )
        if recipe.balance:
            shares = [module.take_share() for module in self._binary]
            loss = loss + recipe.balance * balance_loss(shares, recipe.balance_target)
        return loss

    @contextmanager
    def _recording(self, network: nn.Module, key: str) -> Iterator[None]:
        """Records the output of each stage of `network` inside the context."""
        maps = self._maps[key]
        maps.clear()
        if not self._recipe.attention:
            yield
            return
        handles = [
            network.get_submodule(name).register_forward_hook(lambda module, inputs, output: maps.append(output))
            for name in self._stages
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _load_teacher(recipe: Recipe, task: Task, device: torch.device, real: nn.Module | None) -> nn.Module | None:
    if recipe.teacher is None:
        return None
    if not is_run(recipe.teacher):
        if real is None:
            raise RecipeError(f"the teacher {recipe.teacher[1:]} was passed in a call; pass it again")
        name = recipe.model if recipe.teacher == SELF else recipe.teacher
        return with_plain_logits(real, task, f"the teacher {name}").eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
    run = load_run(recipe.teacher)
    method = run.recipe.resolved_method()
    if method.binary and method.binary_weights:
        raise RecipeError(
            f"teacher {recipe.teacher} is a binary network ({method.name}), but a teacher should be a float one; "
            "train one with --method float and give its folder"
        )
    if run.task.input != task.input:
        raise RecipeError(
            f"teacher {recipe.teacher} takes {run.task.input} images, but those of {recipe.data} are {task.input}"
        )
    if run.task.classes != task.classes:
        raise RecipeError(f"teacher {recipe.teacher} was trained on other classes than those of {recipe.data}")
    return run.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
