"""The training loop: plain torch on Hugging Face accelerate.

What an epoch does depends only on the recipe's seed, the epoch's number and the state at its start: the order of
the images and their augmentation come from a generator seeded with both. So a run that is resumed after any epoch
ends with the same weights as one that was never stopped, on the same machine and number of threads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from rich.console import Console
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from evenbit.data import READERS, Dataset, hold_out, load_dataset
from evenbit.data.augment import Share, mix
from evenbit.data.balance import describe_classes
from evenbit.data.copies import describe_copies
from evenbit.data.cropping import describe_cropping
from evenbit.data.own import checked
from evenbit.errors import CheckpointError, DataError, RecipeError, TrainingError
from evenbit.evaluation import Evaluation, batch_for, evaluate
from evenbit.files import append_line, write_atomically
from evenbit.images import describe_passed_over
from evenbit.nn import (
    excitations,
    freeze_excitation,
    set_progress,
)
from evenbit.nn._training import keep_freed_memory
from evenbit.nn.excitation import FREEZING_IMAGES
from evenbit.nn.synchronized import synchronize
from evenbit.printable import is_text
from evenbit.progress import Report, tell
from evenbit.train.augmented import describe_augmentation, make_augmentation
from evenbit.train.checkpoint import (
    Checkpoint,
    Task,
    build_model,
    check_new,
    read_checkpoint,
    to_float,
    torch_predict,
    write_checkpoint,
)
from evenbit.train.compilation import compile_network, compiler_found
from evenbit.train.converted import begin
from evenbit.train.early import check_before_reading
from evenbit.train.loader import Loader
from evenbit.train.lock import locked
from evenbit.train.metrics import METRICS, check_metrics, read_metrics
from evenbit.train.network import SELF, Source, is_converted, is_run
from evenbit.train.objective import Objective
from evenbit.train.optimizer import make_optimizer
from evenbit.train.origin import Origin, find_data, find_path
from evenbit.train.placement import batches, place
from evenbit.train.precision import exact_float32
from evenbit.train.probes import ActivationProbe, WeightProbe, means, probe_activations
from evenbit.train.recipe import Recipe
from evenbit.train.sides import judge_mirroring
from evenbit.train.start import suggest_bundled, take_over
from evenbit.train.step import Batch, CapturedStep, CudaGraph, Step

PROBE_IMAGES = 1000  # of the measured images, the first ones
LEAST_BATCH = 2  # images, since batch normalization has no statistics of a single one
FINITE_CHECK_STEPS = 20  # steps between reads of the loss; each read waits for the device


@dataclass(frozen=True)
class Result:
    """The outcome of a finished run, after its last epoch.

    Attributes:
        folder: Its folder.
        accuracy: On the test images, or on those held out for validation, in percent.
        metrics: The last line of `metrics.jsonl`.
        evaluation: The network's answers to the images that it was measured on.
        network: The trained network, in eval mode.
    """

    folder: Path
    accuracy: float
    metrics: dict[str, Any]
    evaluation: Evaluation
    network: nn.Module = field(compare=False, repr=False)


@dataclass(frozen=True)
class Given:
    """Objects that are passed in a call; in the recipe, a name that begins with a colon stands for each.

    Attributes:
        network: The real network, with its weights.
        teacher: A real network to distil from.
        dataset: The data.
        loader: Batches to train on; the training images of `dataset` are then only the first ones of the loader.
    """

    network: nn.Module | None = None
    teacher: nn.Module | None = None
    dataset: Dataset | None = None
    loader: Loader | None = None


def train(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    data_root: str | None = None,
    resume: bool = False,
    console: Console | None = None,
    progress: Report | None = None,
    given: Given = Given(),
) -> Result:
    """Trains a network and saves it in a folder.

    Args:
        recipe: The settings.
        out: Folder of the run; must not exist, or be empty, unless the run is resumed.
        data_root: Where the data set's files are.
        resume: Continue after the last finished epoch of the run in `out`. The recipe may have more epochs than the run
            had; the learning rate then continues as if the longer schedule had been used from the start.
        console: Where each epoch's line is printed.
        progress: Called now and then with the number of steps done and their total.
        given: Objects that only the caller has.

    Raises:
        CheckpointError: If `out` is not empty, has nothing to resume or another recipe's run, lies in the folder of
            images, or another process is training in it; or if the code or weights of its network have changed.
        TrainingError: If the loss is not finite; the last good checkpoint stays.
        DataError, RecipeError: If the data or the recipe cannot be used.
    """
    out = Path(out)
    if not is_text(str(out)):
        raise CheckpointError(f"the name of the folder {out} is not UTF-8; choose another with --out")
    if out.exists() and not out.is_dir():
        raise CheckpointError(f"{out} is not a folder; choose another with --out")
    if recipe.data not in READERS and Path(recipe.data).resolve() in (out.resolve(), *out.resolve().parents):
        raise CheckpointError(f"{out} lies in the folder of images {recipe.data}; choose another folder with --out")
    # Only `Step` enters autocast: accelerate's own would apply in evaluation too, but results are reported for the
    # float32 network, which is deployed.
    accelerator = Accelerator(mixed_precision="no")
    with locked(out) if accelerator.is_main_process else contextlib.nullcontext():
        if not accelerator.is_main_process:  # only the main process prints
            console, progress = Console(quiet=True), None
        return _Training(recipe, out, data_root, resume, console or Console(), progress, accelerator, given).run()


class _Training:
    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        data_root: str | None,
        resume: bool,
        console: Console,
        progress: Report | None,
        accelerator: Accelerator,
        given: Given,
    ) -> None:
        self.out, self.console, self.accelerator, self.progress = out, console, accelerator, progress
        if accelerator.device.type == "cpu":
            keep_freed_memory()
        checkpoint = read_checkpoint(out) if resume else None
        if checkpoint:
            recipe = recipe.decided_as(checkpoint.recipe)
        if accelerator.is_main_process:  # the other processes may already see files of this one
            _check_folder(recipe, out, checkpoint)
        started = checkpoint.origin if checkpoint else None
        paths = {"weights": recipe.weights, "teacher": recipe.teacher if is_run(recipe.teacher) else None}
        places = {key: find_path(path, started) for key, path in paths.items() if path is not None}
        found = recipe.model_copy(update=places)
        check_before_reading(found, checkpoint.source if checkpoint else None)
        if given.dataset is None:
            data = find_data(recipe.data, started)
            dataset = load_dataset(data, root=data_root, size=recipe.image_size)
        else:
            dataset = checked(given.dataset, measured=not recipe.validation)
        if recipe.validation:
            dataset = hold_out(dataset, recipe.validation)
        self.measured = "validation" if recipe.validation else "test"
        self.task = Task.of(dataset)
        if checkpoint and checkpoint.task != self.task:
            raise CheckpointError(f"{recipe.data} has changed since {out} was trained on it")
        if len(dataset.train) < LEAST_BATCH:
            raise DataError(
                f"{recipe.data} has {len(dataset.train)} image to train on; training needs at least {LEAST_BATCH}"
            )
        self.batch = min(recipe.batch_size, len(dataset.train))
        if self.batch % self.accelerator.num_processes:
            raise RecipeError(f"{accelerator.num_processes} processes cannot evenly share a batch of {self.batch}")
        if recipe.mixup and self.accelerator.num_processes > 1 and self.batch // self.accelerator.num_processes % 2:
            raise RecipeError("mixup needs an even number of images per step in each process")
        self.dataset = dataset
        self.loader = given.loader
        self.source: Source | None = None
        real: nn.Module | None = None
        if is_converted(recipe):
            known = checkpoint.source if checkpoint else None
            start = begin(found, self.task, dataset.train, given.network, known, self._tell)
            network, real, self.source = start
        else:
            network = build_model(recipe, self.task)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.start is not None and checkpoint is None:
            self._tell(take_over(self.network, recipe, self.task))
        if recipe.flip is None:
            flip = given.loader is None and self._may_be_mirrored(dataset, recipe.seed)
            recipe = recipe.model_copy(update={"flip": flip})
        self.recipe = recipe
        if self.accelerator.num_processes > 1:
            synchronize(self.network)
        called: Callable[[Tensor], Tensor] = self.network
        if recipe.compile and compiler_found():
            called = compile_network(self.network)
        elif recipe.compile:
            console.print("no C++ compiler was found, so the network is trained without being compiled")
        self.model, self.optimizer = self.accelerator.prepare(called, make_optimizer(recipe, self.network))
        self.first_epoch = checkpoint.epoch if checkpoint else 0
        self.extended = checkpoint is not None and checkpoint.recipe.epochs < recipe.epochs
        self.evaluation: Evaluation | None = None
        here = Origin.here(self.accelerator.device)
        self.origin: Origin | None = here
        if checkpoint:
            self.origin = checkpoint.origin and checkpoint.origin.resumed(here, checkpoint.epoch + 1)
        if checkpoint:
            checkpoint.load_model(self.network)
        self.weights = WeightProbe(self.network)
        if checkpoint and checkpoint.epoch:
            checkpoint.load_optimizer(self.optimizer.optimizer, self.network)
        self.images = place(dataset.train.images, self.accelerator.device)
        self.labels = torch.from_numpy(dataset.train.labels).to(self.accelerator.device)
        teacher = real if recipe.teacher == SELF else given.teacher
        self.objective = Objective(found, self.task, self.network, self.labels, teacher)
        if self.objective.teacher:
            if checkpoint and checkpoint.source.teacher not in ("", self.objective.teacher):
                told = str(recipe.teacher).lstrip(":")
                raise CheckpointError(f"the teacher {told} no longer has the weights that {out} learned from")
            self.source = dataclasses.replace(self.source or Source(), teacher=self.objective.teacher)
        self.augmentation = make_augmentation(recipe)
        self.steps = len(dataset.train) // self.batch if self.loader is None else len(self.loader)
        size, index = self.batch // self.accelerator.num_processes, self.accelerator.process_index
        self.share = Share(self.batch, slice(index * size, (index + 1) * size))
        self.step: Callable[[Batch, float], tuple[Tensor, Tensor]] | None = None  # made from the first batch

    def _may_be_mirrored(self, dataset: Dataset, seed: int) -> bool:
        """Examines the training images and prints what was found; one process decides for all."""
        found: list[Any] = [None]
        if self.accelerator.is_main_process:
            mirroring = judge_mirroring(dataset, seed)
            self._tell(str(mirroring))
            found[0] = mirroring.allowed
        return bool(broadcast_object_list(found)[0])

    def run(self) -> Result:
        """Trains all remaining epochs."""
        out, main = self.out, self.accelerator.is_main_process
        lines = _kept_metrics(out, self.first_epoch)
        if main:
            out.mkdir(parents=True, exist_ok=True)
            if self.first_epoch == 0 or self.extended:
                # Saved before training: so a new run can always be resumed, and an extended one has its new epochs.
                self._save(self.first_epoch)
            write_atomically(out / METRICS, "".join(lines).encode())
        writer = SummaryWriter(str(out / "tensorboard"), purge_step=self.first_epoch + 1) if main else None
        metrics = read_metrics(out, self.first_epoch)[-1] if lines else {}
        if main and self.recipe.data not in READERS and self.loader is None:
            self._describe_images()
        start = {}
        if self.first_epoch == 0 and self.source is not None and self.source.weights:
            start = {f"{self.measured}_accuracy_at_start": self._evaluate()[0].accuracy}
            self._tell(f"start: {self.measured} {next(iter(start.values())):.2f} %")
        if self.extended and self.first_epoch:
            rate = self._learning_rate(self.first_epoch * self.steps)
            self._tell(
                f"the learning rate continues at {rate:.1e}, its value after {self.first_epoch} epochs in a run of "
                f"{self.recipe.epochs}; the accuracy may fall before it rises"
            )
        if self.first_epoch == self.recipe.epochs:
            self._tell(f"all epochs ({self.first_epoch}) are done; to continue, give a larger number with --epochs")
        elif self.recipe.resolved_method().binary:
            self._tell("entropy: how much a bit of the binary layers says, from 0 (always the same) to 1 (half are +1)")
        for epoch in range(self.first_epoch, self.recipe.epochs):
            metrics = {**self._epoch(epoch), **(start if epoch == 0 else {})}
            if main and writer is not None:
                # The line comes first: resuming drops a line without a checkpoint, but cannot restore a missing one.
                append_line(out / METRICS, json.dumps(metrics))
                self._save(epoch + 1)
                for key, value in metrics.items():
                    if isinstance(value, float):
                        writer.add_scalar(key, value, epoch + 1)
                writer.flush()
            self.console.print(_line(metrics, self.recipe.epochs), highlight=False)
            self.accelerator.wait_for_everyone()
        if writer is not None:
            writer.close()
        evaluation = self.evaluation or self._evaluate()[0]
        accuracy = float(metrics[f"{self.measured}_accuracy"])
        return Result(out, accuracy, metrics, evaluation, self.network.eval())

    def _describe_images(self) -> None:
        """Prints what to know of a folder of images before it is trained on."""
        texts = [describe_classes(self.dataset), describe_passed_over(self.dataset.passed_over)]
        if not self.first_epoch:
            texts += [*describe_copies(self.dataset), describe_cropping(self.dataset.train.paths or ())]
        for text in filter(None, texts):
            self._tell(f"{self.recipe.data.lstrip(':')}: {text}")
        self._tell(describe_augmentation(self.recipe))
        if not self.first_epoch and (told := suggest_bundled(self.recipe, self.task, len(self.dataset.train))):
            self._tell(told)

    def _tell(self, text: str) -> None:
        tell(self.console, text)

    def _save(self, epoch: int) -> None:
        optimizer = self.optimizer.optimizer
        write_checkpoint(
            self.out, self.recipe, self.task, epoch, self.network, optimizer, origin=self.origin, source=self.source
        )

    def _epoch(self, epoch: int) -> dict[str, Any]:
        """Trains on all images once, then evaluates."""
        recipe, device = self.recipe, self.accelerator.device
        start = time.perf_counter()
        generator = torch.Generator(device).manual_seed(recipe.seed * 1_000_003 + epoch)
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)
        set_progress(self.network, epoch / recipe.epochs)
        self.model.train()
        losses, correct = torch.zeros(self.steps, device=device), torch.zeros((), device=device)
        count = done = 0
        for step, batch in enumerate(self._batches(epoch, generator)):
            if self.step is None:
                self.step = self._make_step(batch)
            loss, hits = self.step(batch, self._learning_rate(epoch * self.steps + step))
            losses[step] = loss
            correct += hits
            count += len(batch.labels) * self.accelerator.num_processes
            done = step + 1
            if done % FINITE_CHECK_STEPS == 0 and done < self.steps:
                self._look(losses, epoch, done)
        if not done:
            told = f"no batch of the DataLoader has {LEAST_BATCH} images or more; give it a batch_size"
            raise DataError(f"{told}; {self._kept(epoch)}")
        self._look(losses, epoch, self.steps)
        seconds = time.perf_counter() - start
        evaluation, activations = self._evaluate()
        self.evaluation = evaluation
        frozen = self._evaluate_frozen() if epoch + 1 == recipe.epochs else {}
        if not math.isfinite(evaluation.loss):
            raise TrainingError(f"the {self.measured} loss is not finite after epoch {epoch + 1}; {self._kept(epoch)}")
        return {
            "epoch": epoch + 1,
            "learning_rate": self._learning_rate(epoch * self.steps + self.steps - 1),
            "train_loss": self._mean(losses[:done].mean()),
            "train_accuracy": 100 * self._mean(correct) * self.accelerator.num_processes / count,
            f"{self.measured}_loss": evaluation.loss,
            f"{self.measured}_accuracy": evaluation.accuracy,
            "seconds": seconds,
            "images_per_second": count / seconds,
            **frozen,
            **_summary(activations, self.weights.look()),
        }

    def _batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """This process's share of an epoch's batches, ready to train on."""
        if self.loader is not None:
            try:
                for images, labels in self.loader.read(self.recipe.seed * 1_000_003 + epoch):
                    if len(images) >= LEAST_BATCH:
                        yield Batch(images.to(generator.device), labels.to(generator.device))
            except DataError as error:
                raise DataError(f"{error}; {self._kept(epoch)}") from None
            return
        order = torch.randperm(len(self.images), generator=generator, device=generator.device)
        shares = [batch[self.share.part] for batch in torch.split(order, self.batch)[: self.steps]]
        for images, share in zip(batches(self.images, shares), shares, strict=True):
            images = self.augmentation(images, generator, self.share)
            if self.recipe.mixup:
                images, mixed = mix(images, self.recipe.mixup, generator, self.share)
                yield Batch(images, self.labels[share], mixed)
            else:
                yield Batch(images, self.labels[share])

    def _make_step(self, batch: Batch) -> Callable[[Batch, float], tuple[Tensor, Tensor]]:
        """One update of the network; on a single GPU as a graph, if it can be recorded."""
        bf16 = self.recipe.precision == "bf16"
        if self._has_graphs():
            step = Step(self.model, self.network, self.objective, self.optimizer.optimizer, bf16=bf16)
            try:
                return CapturedStep(step, batch, CudaGraph())
            except RuntimeError as error:
                self._tell(f"steps are not run as one CUDA graph: {str(error).splitlines()[0]}")
        backward = self.accelerator.backward
        return Step(self.model, self.network, self.objective, self.optimizer, backward=backward, bf16=bf16)

    def _has_graphs(self) -> bool:
        """Whether steps may run as graphs: the batches of a loader may differ in size, but a graph needs one size."""
        one_gpu = self.accelerator.device.type == "cuda" and self.accelerator.num_processes == 1
        return one_gpu and self.loader is None

    def _learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine to 0."""
        warmup = self.recipe.warmup_epochs * self.steps
        total = self.recipe.epochs * self.steps
        if step < warmup:
            return self.recipe.learning_rate * (step + 1) / (warmup + 1)
        return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    def _look(self, losses: Tensor, epoch: int, step: int) -> None:
        """Checks the losses so far, and says how far the training is."""
        self._check_finite(losses, epoch)
        if self.progress is not None:
            self.progress(epoch * self.steps + step, self.recipe.epochs * self.steps)

    def _check_finite(self, losses: Tensor, epoch: int) -> None:
        """Raises TrainingError that names the first step whose loss is not finite."""
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            raise TrainingError(
                f"the loss is not finite at epoch {epoch + 1}, step {int(bad[0]) + 1}; {self._kept(epoch)}"
            )

    def _kept(self, epoch: int) -> str:
        """What is left to resume from after `epoch` finished epochs, for errors."""
        return f"the checkpoint of epoch {epoch} is kept in {self.out}" if epoch else "no epoch was finished"

    def _evaluate(self) -> tuple[Evaluation, dict[str, ActivationProbe]]:
        """The evaluation on all measured images, and probes of the binary activations on the first of them."""
        self.network.eval()
        device = self.accelerator.device
        evaluation = evaluate(torch_predict(self.network), self.dataset.test, classes=self.dataset.classes)
        probed = torch.from_numpy(self.dataset.test.images[:PROBE_IMAGES]).to(device)
        return evaluation, probe_activations(self.network, probed, batch_for(self.dataset.test.images))

    def _evaluate_frozen(self) -> dict[str, float]:
        """Accuracy with every excitation frozen to its mean over some training images, if the network has any."""
        if not excitations(self.network):
            return {}
        first = torch.arange(min(FREEZING_IMAGES, len(self.images)), device=self.accelerator.device)
        images = batches(self.images, torch.split(first, batch_for(self.dataset.train.images)))
        with exact_float32():
            network = freeze_excitation(self.network, map(to_float, images))
        accuracy = evaluate(torch_predict(network), self.dataset.test).accuracy
        return {f"{self.measured}_accuracy_frozen": accuracy}

    def _mean(self, value: Tensor) -> float:
        """The mean over the processes."""
        return float(self.accelerator.reduce(value, "mean"))


def _check_folder(recipe: Recipe, out: Path, checkpoint: Checkpoint | None) -> None:
    if checkpoint is None:
        check_new(out)
        return
    for key in Recipe.model_fields:
        there, here = getattr(checkpoint.recipe, key), getattr(recipe, key)
        if key == "epochs" and there < here:
            continue  # more of them: see `train`
        if there != here:
            raise CheckpointError(f"{out} was trained with another recipe: {key} is {there!r} there, but {here!r} here")


def _kept_metrics(out: Path, epochs: int) -> list[str]:
    """The lines of the first `epochs` epochs; lines that a stopped run wrote after its last checkpoint are dropped."""
    if epochs == 0:
        return []
    path = out / METRICS
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:epochs] if path.exists() else []
    check_metrics(out, lines, epochs)
    return lines


def _summary(activations: dict[str, ActivationProbe], weights: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The probes of all layers, and the means over them, for `metrics.jsonl`."""
    if not activations:
        return {}
    layers = {name: probe.scalars() for name, probe in activations.items()}
    over_weights = {f"weight_{key}": value for key, value in means(weights).items()}
    return {**means(layers), **over_weights, "layers": layers, "weights": weights}


def _line(metrics: Mapping[str, Any], epochs: int) -> str:
    """The line that is printed after an epoch."""
    measured = "validation" if "validation_accuracy" in metrics else "test"
    entropy = f"  entropy {metrics['entropy']:.2f}" if "entropy" in metrics else ""
    accuracy = f"{'val' if measured == 'validation' else measured} {metrics[f'{measured}_accuracy']:.2f} %"
    return (
        f"epoch {metrics['epoch']:>{len(str(epochs))}}/{epochs}  loss {metrics['train_loss']:.3f}  "
        f"train {metrics['train_accuracy']:.1f} %  {accuracy}{entropy}  "
        f"{metrics['images_per_second']:.0f} img/s"
    )
