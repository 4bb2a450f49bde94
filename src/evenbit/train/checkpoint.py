"""Checkpoints: one safetensors file that holds all of a run, so that no two files can disagree.

    model.<name>                   the network's state
    optimizer.<parameter>.<name>   the optimizer's state of each parameter
    metadata: format, version, epoch, recipe, method, task, origin and network (JSON), sha256 over the rest; method and
              origin may be missing; network is only there for networks made from a real one or taught by another

The method is written out with all its knobs, since the meaning of its name may change between versions of evenbit, but
a run must not. A recipe that is read again has the knobs in which its method differs from the present meaning.

Learning rate, order of the images and augmentation follow from recipe and epoch, so nothing else is needed to resume.
Nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from evenbit.data.dataset import Dataset, Images, channel_statistics
from evenbit.errors import CheckpointError, RecipeError
from evenbit.files import CHECKPOINT, is_part, resume_command, write_atomically
from evenbit.models import create_model
from evenbit.nn import Method, set_progress
from evenbit.ops import MAX_ELEMENTS
from evenbit.train.lock import LOCK
from evenbit.train.network import Source, binary_network, find_source, is_converted, is_own, real_network
from evenbit.train.optimizer import Optimizer
from evenbit.train.origin import Origin, find_data
from evenbit.train.precision import exact_float32
from evenbit.train.recipe import EARLIER, Recipe, make_recipe

FORMAT = "evenbit-checkpoint"
VERSION = 1
# The knobs of methods at the time when checkpoints did not hold them yet.
BEFORE: dict[str, dict[str, bool | int | str]] = {
    "fd": {"estimator": "clip", "third_moment": False, "weight_standardized": True, "weight_estimator": "identity"}
}


@dataclass(frozen=True)
class Task:
    """What a network classifies: all that is needed of the data set to build and to use the network.

    Attributes:
        classes: Class names in the order of the logits.
        channels: Channels of an image.
        height: Height of an image.
        width: Width of an image.
        mean: Mean of the training images for each channel, in units of [0, 1].
        std: Their standard deviation for each channel; at least 1/255, since a constant channel has 0.
    """

    classes: tuple[str, ...]
    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, dataset: Dataset) -> Task:
        """The task that a data set poses."""
        mean, std = channel_statistics(dataset.train.images)
        return cls(dataset.classes, *dataset.shape, mean, tuple(max(value, 1 / 255) for value in std))

    @property
    def input(self) -> str:
        """Size of the images, for messages."""
        return f"{self.channels}x{self.height}x{self.width}"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read: checked for damage, but not yet against a network.

    Attributes:
        path: The file.
        recipe: How the network is trained.
        task: What it classifies.
        epoch: Epochs done.
        origin: What the run was made with; None if it was not recorded.
        source: What the network is made from.
        tensors: All tensors by name.
    """

    path: Path
    recipe: Recipe
    task: Task
    epoch: int
    origin: Origin | None
    source: Source
    tensors: Mapping[str, Tensor]

    def build_model(self, given: nn.Module | None = None) -> nn.Module:
        """The network with its state.

        Args:
            given: The real network that it was made from, if that was passed in a call.

        Raises:
            CheckpointError: If the tensors are not those of the network that recipe and task describe, or the file that
                makes the user's own network has changed.
            RecipeError: If recipe and task do not fit together, or the code of the user's own network raises.
        """
        if is_converted(self.recipe):  # by code that reads values, which tensors on the device "meta" do not have
            if not is_own(self.recipe.model):
                with torch.device("meta"):
                    least = sum(p.numel() for p in real_network(self.recipe, self.task, Source()).parameters())
                if least > sum(tensor.numel() for tensor in self.tensors.values()):
                    raise CheckpointError(f"{self.path} belongs to another model: it holds too few weights")
            source = find_source(self.recipe.model, self.source)
            real = real_network(self.recipe, self.task, source, given)
            model = binary_network(self.recipe, self.task, real)
            self.load_model(model)
            return model
        with torch.device("meta"):  # so that no memory is allocated for what the file claims but does not hold
            expected = build_model(self.recipe, self.task).state_dict()
        self._check(expected, self._part("model."))
        model = build_model(self.recipe, self.task)
        self.load_model(model)
        return model

    def load_model(self, model: nn.Module) -> None:
        """Sets the state of `model`; what depends on the progress of training is as it was in the last epoch.

        Raises:
            CheckpointError: If tensors are missing, unexpected, or of another shape or type; nothing is changed then.
        """
        state = model.state_dict()
        saved = self._part("model.")
        self._check(state, saved)
        set_progress(model, max(0, self.epoch - 1) / self.recipe.epochs)
        model.load_state_dict(saved)

    def load_optimizer(self, optimizer: Optimizer, model: nn.Module) -> None:
        """Sets the state of an optimizer of `model`'s parameters; see `load_model`.

        A parameter that never had a gradient, such as a frozen one, has no state.
        """
        saved = self._part("optimizer.")
        parameters = dict(model.named_parameters())
        remembered = {name.rpartition(".")[0] for name in saved}
        names = {
            f"{name}.{key}": key
            for name, parameter in parameters.items()
            for key in optimizer.state_names(parameter)
            if name in remembered
        }
        expected = {}
        for name, key in names.items():
            parameter = parameters[name.removesuffix(f".{key}")]
            # A fused optimizer keeps its count of steps on the parameter's device.
            expected[name] = torch.zeros((), device=parameter.device) if key == "step" else parameter
        self._check(expected, saved)
        for name, key in names.items():
            # A copy with the parameter's own strides: the order of sums could depend on them.
            like = expected[name].detach()
            optimizer.state[parameters[name.removesuffix(f".{key}")]][key] = torch.empty_like(like).copy_(saved[name])

    def _part(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}

    def _check(self, expected: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
        def describe(tensor: Tensor) -> str:
            return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"

        wrong = [f"{name} is missing" for name in expected if name not in saved]
        wrong += [f"{name} is not expected" for name in saved if name not in expected]
        wrong += [
            f"{name} should be {describe(expected[name])}, but is {describe(saved[name])}"
            for name in expected
            if name in saved and describe(expected[name]) != describe(saved[name])
        ]
        if wrong:
            more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise CheckpointError(f"{self.path} belongs to another model: {'; '.join(wrong[:3])}{more}")


@dataclass(frozen=True)
class Run:
    """A trained network and where it comes from; needs no data set.

    Attributes:
        recipe: How it was trained.
        task: What it classifies.
        epoch: Epochs done, of `recipe.epochs`.
        model: The network in eval mode, on the CPU.
        origin: What the run was made with; None if it was not recorded.
    """

    recipe: Recipe
    task: Task
    epoch: int
    model: nn.Module
    origin: Origin | None

    @property
    def data(self) -> str:
        """Name of the data set, or path of the folder of images as seen from here."""
        return find_data(self.recipe.data, self.origin)

    def unfinished(self, folder: Path, data_root: str | None) -> str:
        """A line that says how many epochs of the run are done, and how to continue; empty if all are done."""
        if self.epoch == self.recipe.epochs:
            return ""
        done = f"{folder} has done {self.epoch} of its {self.recipe.epochs} epochs"
        return f"{done}; go on with: {resume_command(folder, data_root)}"


def build_model(recipe: Recipe, task: Task) -> nn.Module:
    """The recipe's network, with random weights from the recipe's seed.

    Raises:
        RecipeError: If model and method do not fit together, or the images are too small.
    """
    if is_converted(recipe):
        return binary_network(recipe, task, real_network(recipe, task, find_source(recipe.model)))
    torch.manual_seed(recipe.seed)
    fields = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    fields["classes"] = len(task.classes)
    return create_model(recipe.model, method=recipe.resolved_method(), **fields)


def load_run(folder: str | Path, *, network: nn.Module | None = None) -> Run:
    """Reads the network of a run folder.

    The user's own network is made by the function that the run names; its file must be unchanged.

    Args:
        folder: Folder of the run.
        network: The real network, if it was passed in a call of `evenbit.finetune`.

    Raises:
        CheckpointError: If the folder holds no checkpoint, or one that has no finished epoch, is damaged, or belongs to
            another model.
    """
    checkpoint = read_checkpoint(folder)
    model = checkpoint.build_model(network)
    if checkpoint.epoch == 0:
        raise CheckpointError(f"{folder} holds a run that has not finished its first epoch")
    return Run(checkpoint.recipe, checkpoint.task, checkpoint.epoch, model.eval(), checkpoint.origin)


def check_new(folder: Path) -> None:
    """Raises CheckpointError if a new run cannot be saved in a folder, since something else is in it."""
    inside = folder.iterdir() if folder.is_dir() else ()
    if any(path.name != LOCK and not is_part(path) for path in inside):
        raise CheckpointError(f"{folder} exists and is not empty; choose another folder or resume with --resume")


def torch_predict(model: nn.Module) -> Callable[[Images], npt.NDArray[np.float32]]:
    """A function from images `[N, C, H, W]`, uint8, to logits `[N, K]`; it runs `model` on its device, in float32."""
    device = next(model.parameters()).device

    @torch.inference_mode()
    def predict(images: Images) -> npt.NDArray[np.float32]:
        inputs = to_float(torch.from_numpy(images).to(device))
        with exact_float32():
            logits: npt.NDArray[np.float32] = model(inputs).float().cpu().numpy()
        return logits

    return predict


def to_float(images: Tensor) -> Tensor:
    """Converts uint8 images to float32 in [0, 1], channels last in memory, where convolutions are fastest."""
    return (images.float() / 255).contiguous(memory_format=torch.channels_last)


def write_checkpoint(
    folder: Path,
    recipe: Recipe,
    task: Task,
    epoch: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    origin: Origin | None = None,
    source: Source | None = None,
) -> None:
    """Writes the checkpoint after `epoch` epochs; the old one stays until the new one is complete.

    Raises:
        CheckpointError: If it could not be read again; nothing is written then.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        # Not `state[parameter]`: this would create an empty state where there is none.
        state = optimizer.state.get(parameter, {})
        tensors |= {f"optimizer.{name}.{key}": tensor for key, tensor in state.items()}
    tensors = _apart({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()})
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "epoch": str(epoch),
        "recipe": recipe.model_dump_json(),
        "method": json.dumps(dataclasses.asdict(recipe.resolved_method())),
        "task": json.dumps(dataclasses.asdict(task)),
    }
    if origin is not None:
        metadata["origin"] = json.dumps(dataclasses.asdict(origin))
    if source is not None:
        metadata["network"] = json.dumps(dataclasses.asdict(source))
    _parse(metadata, folder / CHECKPOINT)
    metadata["sha256"] = _digest(metadata, tensors)
    write_atomically(folder / CHECKPOINT, safetensors.torch.save(tensors, metadata))


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, with copies where several share memory, as those of a module with two names do."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return apart


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """Reads and checks the checkpoint of a run folder.

    Raises:
        CheckpointError: If there is none, or it is damaged or of another format version.
    """
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        told = f"holds no trained network (no {CHECKPOINT})"
        if not Path(folder).is_dir():
            told = "is a file, not the folder of a run" if Path(folder).exists() else "does not exist"
        raise CheckpointError(f"{folder} {told}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"{path} is not a checkpoint")
            if metadata.get("version") != str(VERSION):
                raise CheckpointError(
                    f"{path} has format version {metadata.get('version')}; this evenbit reads version {VERSION}"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or not a checkpoint ({error})") from None
    if metadata.pop("sha256", "") != _digest(metadata, tensors):
        raise CheckpointError(f"{path} is damaged (its digest does not match its contents)")
    return Checkpoint(path, *_parse(metadata, path), tensors=tensors)


def _parse(metadata: Mapping[str, str], path: Path) -> tuple[Recipe, Task, int, Origin | None, Source]:
    """Parses and checks the metadata of a checkpoint, when it is read and also before it is written."""
    try:
        recipe = _recipe_from_json(metadata, str(path))
        task = _task_from_json(metadata["task"])
        epoch = int(metadata["epoch"])
        origin = Origin.from_dict(json.loads(metadata["origin"])) if "origin" in metadata else None
        source = TypeAdapter(Source).validate_json(metadata.get("network", "{}"), strict=True)
    except RecipeError as error:
        raise CheckpointError(f"cannot use {error}") from None
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is malformed ({type(error).__name__})") from None
    if not 0 <= epoch <= recipe.epochs:
        raise CheckpointError(f"{path} says that {epoch} of {recipe.epochs} epochs are done")
    return recipe, task, epoch, origin, source


def _recipe_from_json(metadata: Mapping[str, str], origin: str) -> Recipe:
    """Raises RecipeError if recipe or method cannot be used, ValueError or KeyError if they are malformed."""
    values = EARLIER | json.loads(metadata["recipe"])
    recipe = make_recipe(values, origin)
    now = dataclasses.asdict(recipe.resolved_method())
    if "method" in metadata:
        written = json.loads(metadata["method"])
        if not isinstance(written, dict):
            raise ValueError("the method is not an object")
        # A missing knob is newer than the file, and was off.
        then = {field.name: field.default for field in dataclasses.fields(Method) if field.name != "name"} | written
    else:
        then = now | BEFORE.get(recipe.method, {}) | recipe.knobs
    if then.pop("name", recipe.method) != recipe.method:
        raise ValueError("recipe and method have different names")
    changed = {knob: value for knob, value in then.items() if now.get(knob) != value}
    return make_recipe({**values, "knobs": {**recipe.knobs, **changed}}, origin)


def _task_from_json(text: str) -> Task:
    """Raises ValueError if it is not a task."""
    task = TypeAdapter(Task).validate_json(text, strict=True)
    sizes = (task.channels, task.height, task.width)
    if not task.classes or min(sizes) < 1 or math.prod(sizes) > MAX_ELEMENTS:
        raise ValueError("sizes are out of range")
    if not len(task.mean) == len(task.std) == task.channels or not all(map(math.isfinite, task.mean)):
        raise ValueError("means do not fit")
    if not all(0 < value < math.inf for value in task.std):
        raise ValueError("deviations do not fit")
    return task


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the metadata and, in order of name, every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
