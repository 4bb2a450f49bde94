"""A network of the user's own: how a run names it, makes it, and makes it again.

    my_file.py:make_model          a function in a file
    my_package.module:make_model   a function in a module that Python finds
    :ResNet                        a network that was handed over in a call, which only a call can hand over again

A run keeps the function's name and the digest of its file, not the code. Whoever opens the run runs that code, and only
if it is the same file still.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from evenbit.errors import CaptureError, CheckpointError, RecipeError
from evenbit.models import create_model
from evenbit.nn import METHODS, binarize
from evenbit.nn.conversion.trace import Logits, in_eval_mode, logits_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenbit.train.checkpoint import Task
    from evenbit.train.recipe import Recipe

SELF = "self"  # as a teacher: the real network that the binary one is made from


@dataclass(frozen=True)
class Source:
    """What a run keeps of where its network comes from.

    Attributes:
        file: The file that holds the function, where it was; "" if the network was handed over in a call.
        sha256: Digest of the file's bytes.
        weights: Digest of the real network's weights that it started from; "" if they were drawn.
    """

    file: str = ""
    sha256: str = ""
    weights: str = ""


def is_own(model: str) -> bool:
    """Whether a recipe's `model` is a network of the user's own, and not the name of a registered one."""
    return ":" in model


def is_converted(recipe: Recipe) -> bool:
    """Whether the run's network is made from a real one by `evenbit.binarize`."""
    return is_own(recipe.model) or recipe.weights is not None


def short_name(model: str) -> str:
    """A recipe's `model` as part of a folder's name."""
    return model.rpartition(":")[2]


def find_source(model: str, known: Source | None = None) -> Source:
    """The file of a network's function as it is now.

    Args:
        model: `FILE.py:FUNCTION` or `MODULE:FUNCTION`; "" before the colon for a network from a call.
        known: What a run has kept of it: it is looked for where it was, too, and must be the same file.

    Raises:
        RecipeError: If it is not found.
        CheckpointError: If a run's file is not there any more, or has changed.
    """
    place = model.rpartition(":")[0]
    if not is_own(model) or not place:
        return Source()
    path = _file(place)
    if known is not None and path is None and Path(known.file).is_file():
        path = Path(known.file)
    if path is None:
        if known is not None:
            raise CheckpointError(f"the run's network is made by {model}, whose file {known.file} is not there")
        kind = "file" if place.endswith(".py") else "module"
        raise RecipeError(f"there is no {kind} {place}; a network is named as FILE.py:FUNCTION or MODULE:FUNCTION")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if known is not None and digest != known.sha256:
        raise CheckpointError(
            f"{path}, which makes the run's network, has changed since the run was begun; put it back as it was "
            f"(sha256 {known.sha256[:12]}...), or begin another run"
        )
    return Source(str(path.resolve()), digest)


def _file(place: str) -> Path | None:
    """The file that `place` names, None if there is none."""
    if place.endswith(".py"):
        return Path(place) if Path(place).is_file() else None
    with _importable(Path.cwd()):
        try:
            spec = importlib.util.find_spec(place)
        except (ImportError, ValueError):
            return None
    return Path(spec.origin) if spec is not None and spec.origin and Path(spec.origin).is_file() else None


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Lets imports find what lies in `folder`, as those of a script do."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def make_network(model: str, classes: int, source: Source) -> nn.Module:
    """Calls the function that makes the user's real network.

    Args:
        model: See `find_source`.
        classes: Handed over if the function has a parameter of that name.
        source: From `find_source`.

    Raises:
        RecipeError: If file or function raise, or it gives no network.
    """
    place, _, name = model.rpartition(":")
    function = _function(place, name, Path(source.file))
    takes = "classes" in inspect.signature(function).parameters
    try:
        network = function(classes=classes) if takes else function()
    except Exception as error:  # whatever a function of the user's raises
        raise RecipeError(f"{model}() raised {_told(error, source.file)}") from error
    if not isinstance(network, nn.Module):
        raise RecipeError(f"{model}() should give a torch.nn.Module, but gave {type(network).__name__}")
    return network


def _function(place: str, name: str, path: Path) -> Callable[..., Any]:
    try:
        if place.endswith(".py"):
            # Under a name of its own, so that it neither hides a module nor is hidden by one.
            spec = importlib.util.spec_from_file_location(f"evenbit_network_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses and the like look there
            with _importable(path.parent):
                spec.loader.exec_module(module)
        else:
            with _importable(Path.cwd()):
                module = importlib.import_module(place)
    except Exception as error:  # whatever a file of the user's raises
        raise RecipeError(f"{place} cannot be imported: it raised {_told(error, str(path))}") from error
    function = getattr(module, name, None)
    if not callable(function):
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        own = [key for key in own if getattr(vars(module)[key], "__module__", "") == module.__name__]
        raise RecipeError(f"{place} has no function '{name}'; it has {', '.join(own) or 'none'}")
    return function  # type: ignore[no-any-return]


def _told(error: Exception, file: str) -> str:
    """An exception in one line, with the line of the user's file that it came through last."""
    line, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = f" (line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == file:
        line = f" (line {error.lineno})"
    return f"{type(error).__name__}: {' '.join(str(error).split())}{line}"


def real_network(recipe: Recipe, task: Task, source: Source, given: nn.Module | None = None) -> nn.Module:
    """The real network that a run's network is made from, its weights drawn with the recipe's seed.

    Args:
        recipe: Names it.
        task: What is classified.
        source: From `find_source`.
        given: The network that was handed over in a call, if the recipe names one.

    Raises:
        RecipeError: If it cannot be made, or does not fit the task.
        CheckpointError: If it has to be handed over in a call and is not.
    """
    torch.manual_seed(recipe.seed)
    classes = len(task.classes)
    if not is_own(recipe.model):
        return create_model(
            recipe.model,
            method=METHODS["float"],
            channels=task.channels,
            classes=classes,
            height=task.height,
            width=task.width,
            mean=task.mean,
            std=task.std,
        )
    if recipe.model.startswith(":"):
        if given is None:
            raise CheckpointError(
                f"the run's network, {recipe.model[1:]}, was handed over in a call and cannot be made from its folder; "
                "hand it over again: evenbit.load_run(folder, network=...) or evenbit.finetune(..., resume=True)"
            )
        return copy.deepcopy(given)  # which stays as it is
    return make_network(recipe.model, classes, source)


def binary_network(recipe: Recipe, task: Task, real: nn.Module) -> nn.Module:
    """The network that is trained: `real` made binary by the recipe's method, or itself if that is none.

    Raises:
        CaptureError, BinarizeError: If the network cannot be made binary; see `evenbit.binarize`.
        RecipeError: If it does not give a logit for each class.
    """
    method = recipe.resolved_method()
    if method.double_skip:
        raise RecipeError("the knob 'double_skip' is for evenbit's own networks, not for one that is made binary")
    plain = with_plain_logits(real, task, recipe.model)
    if not method.binary:
        return plain
    example = torch.zeros(1, task.channels, task.height, task.width)
    network = binarize(real, example, method=method, keep=recipe.keep).network
    return network if plain is real else Logits(network)


def with_plain_logits(network: nn.Module, task: Task, name: str) -> nn.Module:
    """The network, or one around it if it gives its logits in something else; its mode is left as it is.

    Args:
        network: To be used.
        task: What it is to classify.
        name: What errors call it.

    Raises:
        RecipeError: If it raises on the task's images or does not give one logit for each class.
    """
    device = next((parameter.device for parameter in network.parameters()), None)
    name = name.strip(":")
    try:
        with torch.no_grad(), in_eval_mode(network):
            output = network(torch.zeros(2, task.channels, task.height, task.width, device=device))
        logits = logits_of(output)
    except CaptureError as error:
        raise RecipeError(f"{name}: {error}") from None
    except Exception as error:  # whatever a network of the user's raises
        raise RecipeError(f"{name} does not take {task.input} images: {_told(error, '')}") from error
    if logits.shape != (2, len(task.classes)):
        hint = "; let the function take their number as `classes`" if is_own(name) else ""
        shape = list(logits.shape[1:])
        raise RecipeError(f"{name} gives logits of the shape {shape} for {len(task.classes)} classes{hint}")
    return network if output is logits else Logits(network)
