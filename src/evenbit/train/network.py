"""The user's own network: how a run names it, makes it, and makes it again.

    my_file.py:make_model          a function in a file
    my_package.module:make_model   a function in a module that Python finds
    :ResNet                        a network that was passed in a call; to open its run, it has to be passed again

A run records the function's name and the digest of its file, not the code. Opening the run executes that code, but only
if the file is unchanged.
"""

from __future__ import annotations

import copy
import functools
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
from evenbit.nn.trace import Logits, in_eval_mode, logits_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenbit.train.checkpoint import Task
    from evenbit.train.recipe import Recipe

SELF = "self"  # as a teacher: the real network that the binary one is made from


@dataclass(frozen=True)
class Source:
    """A run's record of what it is made from.

    Attributes:
        file: Path that the function's file had; "" if the network was passed in a call.
        sha256: Digest of the file's bytes.
        weights: Digest of the real network's weights that the run started from; "" if they were random.
        teacher: Digest of the teacher's weights; "" if there is none, or if it is the real network.
    """

    file: str = ""
    sha256: str = ""
    weights: str = ""
    teacher: str = ""


def is_run(teacher: str | None) -> bool:
    """Whether a recipe's `teacher` is the folder of a run."""
    return teacher is not None and teacher != SELF and not teacher.startswith(":")


def is_own(model: str) -> bool:
    """Whether a recipe's `model` is the user's own network, and not the name of a registered one."""
    return ":" in model


def is_converted(recipe: Recipe) -> bool:
    """Whether the run's network is made from a real one by `evenbit.binarize`."""
    return is_own(recipe.model) or recipe.weights is not None


def short_name(model: str) -> str:
    """A recipe's `model` as part of a folder's name."""
    return model.rpartition(":")[2]


def find_source(model: str, known: Source | None = None) -> Source:
    """Finds the file of a network's function.

    Args:
        model: `FILE.py:FUNCTION` or `MODULE:FUNCTION`; nothing before the colon for a network from a call.
        known: A run's record of it: the file may also be where it was then, and must be unchanged.

    Raises:
        RecipeError: If it is not found.
        CheckpointError: If a run's file is missing or has changed.
    """
    place = model.rpartition(":")[0]
    if not is_own(model) or not place:
        return Source()
    path = _file(place)
    if known is not None and path is None and Path(known.file).is_file():
        path = Path(known.file)
    if path is None:
        if known is not None:
            raise CheckpointError(f"the run's network is made by {model}, but the file {known.file} is missing")
        kind = "file" if place.endswith(".py") else "module"
        raise RecipeError(f"there is no {kind} {place}; a network is named as FILE.py:FUNCTION or MODULE:FUNCTION")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if known is not None and digest != known.sha256:
        raise CheckpointError(
            f"{path}, which makes the run's network, has changed since the run was started; restore it "
            f"(sha256 {known.sha256[:12]}...), or start another run"
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
    """Lets imports find modules in `folder`, as for a script in it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def make_network(model: str, classes: int, source: Source) -> nn.Module:
    """Calls the function that makes the user's real network.

    Args:
        model: See `find_source`.
        classes: Passed if the function has a parameter of that name.
        source: From `find_source`.

    Raises:
        RecipeError: If the file or the function raises, or the function does not give a network.
    """
    function = find_function(model, source)
    takes = "classes" in inspect.signature(function).parameters
    try:
        network = function(classes=classes) if takes else function()
    except Exception as error:  # whatever the user's function raises
        raise RecipeError(f"{model}() raised {_told(error, source.file)}") from error
    if not isinstance(network, nn.Module):
        raise RecipeError(f"{model}() should give a torch.nn.Module, but gave {type(network).__name__}")
    return network


@functools.cache  # so that the file's code runs once; the source holds the digest of the file
def find_function(model: str, source: Source) -> Callable[..., Any]:
    """Imports the function that makes the user's real network.

    Raises:
        RecipeError: If its file raises or has no such function.
    """
    place, _, name = model.rpartition(":")
    path = Path(source.file)
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
    except Exception as error:  # whatever the user's file raises
        raise RecipeError(f"{place} cannot be imported: it raised {_told(error, str(path))}") from error
    function = getattr(module, name, None)
    if not callable(function):
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        own = [key for key in own if getattr(vars(module)[key], "__module__", "") == module.__name__]
        raise RecipeError(f"{place} has no function '{name}'; it has {', '.join(own) or 'none'}")
    return function  # type: ignore[no-any-return]


def _told(error: Exception, file: str) -> str:
    """An exception in one line, with the last line of the user's file in its traceback."""
    line, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = f" (line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == file:
        line = f" (line {error.lineno})"
    return f"{type(error).__name__}: {' '.join(str(error).split())}{line}"


def real_network(recipe: Recipe, task: Task, source: Source, given: nn.Module | None = None) -> nn.Module:
    """The real network that a run's network is made from, with random weights from the recipe's seed.

    Args:
        recipe: Names it.
        task: What is classified.
        source: From `find_source`.
        given: The network that was passed in a call, if the recipe names one.

    Raises:
        RecipeError: If it cannot be made, or does not fit the task.
        CheckpointError: If it has to be passed in a call and is not.
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
                f"the run's network, {recipe.model[1:]}, was passed in a call and cannot be made from its folder; "
                "pass it again: evenbit.load_run(folder, network=...) or evenbit.finetune(..., resume=True)"
            )
        return copy.deepcopy(given)  # the caller's stays unchanged
    return make_network(recipe.model, classes, source)


def binary_network(recipe: Recipe, task: Task, real: nn.Module) -> nn.Module:
    """The network that is trained: `real` made binary by the recipe's method, or `real` if the method is not binary.

    Raises:
        CaptureError, BinarizeError: If the network cannot be made binary; see `evenbit.binarize`.
        RecipeError: If it does not give a logit for each class, or the method has the knob `double_skip`.
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
    """The network, or a wrapper around it if it gives its logits inside something else; its mode stays unchanged.

    Args:
        network: A classifier.
        task: What it is to classify.
        name: What errors call it.

    Raises:
        RecipeError: If it raises on the task's images or does not give one logit for each class, or probabilities.
    """
    device = next((parameter.device for parameter in network.parameters()), None)
    name = name.strip(":")
    try:
        with torch.no_grad(), in_eval_mode(network):
            output = network(torch.zeros(2, task.channels, task.height, task.width, device=device))
        logits = logits_of(output)
    except CaptureError as error:
        raise RecipeError(f"{name}: {error}") from None
    except Exception as error:  # whatever the user's network raises
        raise RecipeError(f"{name} does not take {task.input} images: {_told(error, '')}") from error
    if logits.shape != (2, len(task.classes)):
        hint = "; let the function take their number as `classes`" if is_own(name) else ""
        shape = list(logits.shape[1:])
        raise RecipeError(f"{name} gives logits of the shape {shape} for {len(task.classes)} classes{hint}")
    if (logits >= 0).all() and torch.allclose(logits.sum(1), logits.new_ones(2), atol=1e-4):
        raise RecipeError(f"{name} gives probabilities, but training takes logits; leave out the softmax at its end")
    return network if output is logits else Logits(network)
