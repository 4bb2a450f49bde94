"""From a real network to a binary one: what a run starts from, and how it is made again."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

import evenbit
from evenbit.cli import main
from evenbit.data import Dataset, Split, load_dataset
from evenbit.deploy import pack_run
from evenbit.errors import CheckpointError, DataError, RecipeError
from evenbit.evaluation import evaluate
from evenbit.train import Result, finetune, load_recipe, load_run, torch_predict, train
from evenbit.train.loader import Loader
from evenbit.train.metrics import METRICS
from evenbit.train.weights import fit_head

NETWORK = """
from torch import nn
from evenbit.models import Normalize

def make_model(classes):
    return nn.Sequential(
        Normalize((0.5,), (0.3,)),
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, classes),
    )

def ten():
    return make_model(10)

def broken():
    return make_model(10)[9]

def nothing():
    return "a network"

class Sizes(nn.Module):
    pass
"""
QUIET = Console(quiet=True)
FAST = {"batch_size": 64, "pad": 0, "flip": False, "console": QUIET}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("code") / "my_network.py"
    path.write_text(NETWORK)
    return path


@pytest.fixture(scope="module")
def real(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The real network, trained by the same loop."""
    out = tmp_path_factory.mktemp("real") / "run"
    settings = {"model": f"{file}:make_model", "method": "float", "epochs": 3, "learning_rate": 2e-2}
    recipe = load_recipe(None, {**settings, **{key: value for key, value in FAST.items() if key != "console"}})
    return train(recipe, out, console=QUIET)


@pytest.fixture(scope="module")
def weights(real: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "float.safetensors"
    state = real.network.state_dict()
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def tuned(file: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    out = tmp_path_factory.mktemp("tuned") / "run"
    return finetune(f"{file}:make_model", "digits", weights=weights, out=out, epochs=2, **FAST)


def few_classes(digits: Dataset, count: int) -> Dataset:
    """The digits below `count`."""
    parts = (split.subset(np.flatnonzero(split.labels < count)) for split in (digits.train, digits.test))
    return Dataset("few", tuple(map(str, range(count))), *parts)


def loaders(digits: Dataset, **changes: Any) -> dict[str, Any]:
    """Shuffled batches to train on and others to measure on, of real numbers in [0, 1]."""
    parts = [
        (torch.from_numpy(s.images[:600]) / 255, torch.from_numpy(s.labels[:600])) for s in (digits.train, digits.test)
    ]
    train_set, test_set = (TensorDataset(*part) for part in parts)
    return {
        "data": DataLoader(train_set, 64, shuffle=True),
        "test": DataLoader(test_set, 100),
        "classes": 10,
        **changes,
    }


def test_a_run_starts_near_the_real_network_and_gets_nearer(real: Result, tuned: Result) -> None:
    lines = [json.loads(line) for line in (tuned.folder / METRICS).read_text().splitlines()]
    assert real.accuracy > 90
    assert lines[0]["test_accuracy_at_start"] > 60  # of fresh bits, 10
    assert tuned.accuracy > 85
    assert "test_accuracy_at_start" not in lines[1]
    assert "layers" in lines[0]  # the probes


def test_its_folder_is_enough_to_measure_and_pack_it(tuned: Result, digits: Dataset, tmp_path: Path) -> None:
    run = load_run(tuned.folder)
    assert evaluate(torch_predict(run.model), digits.test).accuracy == tuned.accuracy
    evenbit.save(pack_run(tuned.folder), tmp_path / "digits.evb")
    engine = evenbit.Engine.load(tmp_path / "digits.evb")
    assert evaluate(engine, digits.test).accuracy == pytest.approx(tuned.accuracy, abs=0.6)


def test_a_run_that_is_stopped_ends_with_the_same_weights(
    file: Path, weights: Path, tuned: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evenbit.train.loop import _Training

    whole = _Training._epoch

    def stop(self: _Training, epoch: int) -> dict[str, Any]:
        if epoch == 1:
            raise KeyboardInterrupt
        return whole(self, epoch)

    arguments = {"weights": weights, "out": tmp_path / "run", "epochs": 2, **FAST}
    with monkeypatch.context() as patched:
        patched.setattr(_Training, "_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            finetune(f"{file}:make_model", "digits", **arguments)
    again = finetune(f"{file}:make_model", "digits", resume=True, **arguments)
    for name, tensor in tuned.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_batches_of_a_loader_are_trained_on_and_resumed(real: Result, digits: Dataset, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in real.network.state_dict().items()}
    results = []
    for name, steps in (("whole", [2]), ("parts", [1, 2])):
        for index, stop in enumerate(steps):
            batches = loaders(digits)
            if stop == 1:
                batches["data"] = StopsAfter(batches["data"], passes=2)  # the first is for the start
            try:
                result = finetune(real.network, out=tmp_path / name, epochs=2, resume=index > 0, **FAST, **batches)
            except KeyboardInterrupt:
                continue
        results.append(result)
    assert results[0].accuracy > 80
    for name, tensor in results[0].network.state_dict().items():
        assert torch.equal(tensor, results[1].network.state_dict()[name]), name
    assert all(torch.equal(tensor, before[name]) for name, tensor in real.network.state_dict().items())
    assert not real.network.training
    reopened = load_run(tmp_path / "whole", network=real.network)
    images = torch.from_numpy(digits.test.images[:5]) / 255
    assert torch.equal(reopened.model(images), results[0].network(images))
    with pytest.raises(CheckpointError, match=re.escape("Sequential, was passed in a call")):
        load_run(tmp_path / "whole")


def test_a_batch_of_one_image_is_left_out(real: Result, digits: Dataset, tmp_path: Path) -> None:
    pairs = TensorDataset(torch.from_numpy(digits.train.images[:65]) / 255, torch.from_numpy(digits.train.labels[:65]))
    losses = []
    for name, drop in (("all", False), ("whole", True)):
        batches = loaders(digits, data=DataLoader(pairs, 64, shuffle=True, drop_last=drop))
        settings = {**FAST, "learning_rate": 1e-9, "teacher": None}  # what is learned does not matter
        losses.append(
            finetune(real.network, out=tmp_path / name, epochs=1, **settings, **batches).metrics["train_loss"]
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    single = loaders(digits, data=DataLoader(pairs))
    with pytest.raises(DataError, match="no batch of the DataLoader has 2 images or more; give it a batch_size"):
        finetune(real.network, out=tmp_path / "none", epochs=1, **FAST, **single)


@pytest.mark.parametrize("kind", ["persistent workers", "generator in a batch sampler"])
def test_every_pass_over_a_loader_follows_from_its_seed(kind: str) -> None:
    numbers = TensorDataset(torch.rand(20, 1, 2, 2), torch.arange(20))
    if kind == "persistent workers":
        batches = DataLoader(Noisy(), 10, num_workers=1, persistent_workers=True)
    else:
        inner = RandomSampler(numbers, generator=torch.Generator())
        batches = DataLoader(numbers, batch_sampler=BatchSampler(inner, 10, drop_last=False))
    loader = Loader(batches, "DataLoader")
    first, second, again = ([image for image, _ in loader.read(seed)] for seed in (1, 2, 1))
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, second))


class Noisy(torch.utils.data.Dataset[Any]):
    """Images that are drawn when they are read."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.rand(1, 2, 2), index


def test_a_module_with_two_names_is_saved_and_resumed(digits: Dataset, tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
            self.features = self.backbone
            self.head = nn.Linear(8, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.features(x).mean((2, 3)))

    network = Twice()
    for resume in (False, True):
        result = finetune(network, digits, out=tmp_path / "run", epochs=1 + resume, resume=resume, **FAST)
    again = load_run(tmp_path / "run", network=network)
    images = torch.from_numpy(digits.test.images[:5]) / 255
    assert torch.equal(again.model(images), result.network(images))


def test_test_images_that_are_not_used_may_be_missing(digits: Dataset, tmp_path: Path) -> None:
    images, labels = digits.test.images[:0], digits.test.labels[:0]
    alone = dataclasses.replace(digits, name="alone", test=Split(images, labels))
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 10))
    finetune(network, alone, out=tmp_path / "run", epochs=1, validation=0.2, **FAST)
    with pytest.raises(DataError, match="alone: the test images: there are none"):
        finetune(network, alone, out=tmp_path / "other", epochs=1, **FAST)


class StopsAfter:
    """Batches that are interrupted in a later pass."""

    def __init__(self, batches: DataLoader[Any], passes: int) -> None:
        self.batches, self.left = batches, passes
        self.sampler = batches.sampler

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        self.left -= 1
        for index, batch in enumerate(self.batches):
            if self.left < 0 and index == 3:
                raise KeyboardInterrupt
            yield batch


def test_a_trained_network_is_taken_to_other_classes(
    file: Path, weights: Path, digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = few_classes(digits, 3)
    settings = {**FAST, "console": Console(soft_wrap=True)}
    result = finetune(f"{file}:make_model", few, weights=weights, out=tmp_path / "run", epochs=1, **settings)
    assert "the last layer, 8, is replaced: fitted to the training images, for 3 classes" in capsys.readouterr().out
    assert result.metrics["test_accuracy_at_start"] > 80
    with pytest.raises(DataError, match="the run's data, few, were passed in a call"):
        load_dataset(load_run(tmp_path / "run").recipe.data)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_new_last_layer_separates_classes(classes: int) -> None:
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % classes
    images = torch.zeros(200, 1, 2, 2, dtype=torch.uint8)
    images.view(200, 4)[torch.arange(200), labels] = 200
    images += torch.randint(0, 50, images.shape, generator=draw).to(torch.uint8)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, classes + 1))  # the last class has no images
    fit_head(network, "1", images, labels.numpy())
    shares = network(images / 255).softmax(1)
    assert torch.equal(shares.argmax(1), labels)
    assert shares[:, classes].max() < 0.01


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("missing.py:make_model", "there is no file missing.py; a network is named as FILE.py:FUNCTION or MODULE:"),
        ("no_such_module:make_model", "there is no module no_such_module"),
        ("{file}:make_modell", "has no function 'make_modell'; it has make_model, ten, broken, nothing, Sizes"),
        ("{file}:broken", "broken() raised IndexError: index 9 is out of range (line 17)"),
        ("{file}:nothing", "nothing() should give a torch.nn.Module, but gave str"),
        ("{syntax}:make_model", "cannot be imported: it raised SyntaxError: invalid syntax"),
        ("{raises}:make_model", "cannot be imported: it raised ZeroDivisionError: division by zero (line 2)"),
    ],
)
def test_a_network_that_cannot_be_made_is_told_in_a_line(
    file: Path, tmp_path: Path, network: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "syntax.py").write_text("def make_model(:\n")
    (tmp_path / "raises.py").write_text("\n1 / 0\n")
    name = network.format(file=file, syntax=tmp_path / "syntax.py", raises=tmp_path / "raises.py")
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        finetune(name, "digits", out=tmp_path / "run", teacher=None, console=QUIET)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_a_network_of_other_classes_or_images_is_refused(
    file: Path, digits: Dataset, pictures: Path, tmp_path: Path
) -> None:
    few = few_classes(digits, 2)
    with pytest.raises(RecipeError, match=r"ten gives logits of the shape \[10\] for 2 classes; let the function take"):
        finetune(f"{file}:ten", few, out=tmp_path / "a", teacher=None, console=QUIET)
    with pytest.raises(RecipeError, match="does not take 3x32x32 images: RuntimeError"):
        finetune(f"{file}:make_model", pictures, out=tmp_path / "b", teacher=None, console=QUIET)


def test_probabilities_instead_of_logits_are_refused(real: Result, tmp_path: Path) -> None:
    ended = torch.nn.Sequential(real.network, torch.nn.Softmax(1))
    with pytest.raises(RecipeError, match="Sequential gives probabilities, but training takes logits; leave out the"):
        finetune(ended, "digits", out=tmp_path / "run", console=QUIET)


def test_weights_that_do_not_fit_are_named(file: Path, weights: Path, tmp_path: Path) -> None:
    def begin(path: Path) -> None:
        finetune(f"{file}:make_model", "digits", weights=path, out=tmp_path / "run", console=QUIET)

    state = safetensors.torch.load_file(weights)
    changed = {**state, "1.weight": state["1.weight"][:8], "extra": torch.zeros(1)}
    del changed["2.bias"], changed["2.weight"], changed["5.bias"]
    safetensors.torch.save_file(changed, tmp_path / "other.safetensors")
    message = "do not fit the network: 2.weight is missing; 2.bias is missing; 5.bias is missing; and 2 more"
    with pytest.raises(RecipeError, match=re.escape(message)):
        begin(tmp_path / "other.safetensors")
    safetensors.torch.save_file({**state, "1.weight": state["1.weight"][:8].clone()}, tmp_path / "other.safetensors")
    with pytest.raises(RecipeError, match=re.escape("1.weight should be [16, 1, 3, 3], but is [8, 1, 3, 3]")):
        begin(tmp_path / "other.safetensors")
    safetensors.torch.save_file({**state, "2.bias": state["2.bias"] / 0}, tmp_path / "other.safetensors")
    with pytest.raises(RecipeError, match=r"hold a number that is not finite, in 2\.bias"):
        begin(tmp_path / "other.safetensors")
    torch.save(state, tmp_path / "float.pt")
    with pytest.raises(RecipeError, match=r"float.pt is a pickle.*convert it: python -c \"import torch, safetensors"):
        begin(tmp_path / "float.pt")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(RecipeError, match="is damaged or not a safetensors file"):
        begin(tmp_path / "text.safetensors")
    with pytest.raises(RecipeError, match="there are no weights at"):
        begin(tmp_path / "missing.safetensors")


def test_the_command_that_converts_a_pickle_works(weights: Path, tmp_path: Path) -> None:
    torch.save(safetensors.torch.load_file(weights), tmp_path / "float.pt")
    from evenbit.train.weights import load_weights

    with pytest.raises(RecipeError) as caught:
        load_weights(nn.Linear(1, 1), tmp_path / "float.pt", 1)
    found = re.search(r'python -c "(.*)"', str(caught.value))
    assert found is not None
    exec(found[1], {})
    converted = safetensors.torch.load_file(tmp_path / "float.safetensors")
    assert all(torch.equal(tensor, converted[name]) for name, tensor in safetensors.torch.load_file(weights).items())


def test_the_weights_of_a_binary_run_are_refused(file: Path, tuned: Result, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is a run of a binary network"):
        finetune(f"{file}:make_model", "digits", weights=tuned.folder, out=tmp_path / "run", console=QUIET)


def test_a_teacher_of_other_classes_is_refused(file: Path, real: Result, digits: Dataset, tmp_path: Path) -> None:
    few = few_classes(digits, 2)
    with pytest.raises(RecipeError, match=r"the teacher :?Sequential gives logits of the shape \[10\] for 2 classes"):
        finetune(f"{file}:make_model", few, teacher=real.network, out=tmp_path / "a", console=QUIET)
    with pytest.raises(RecipeError, match="was trained on other classes"):
        finetune(f"{file}:make_model", few, teacher=real.folder, out=tmp_path / "b", console=QUIET)
    with pytest.raises(RecipeError, match="the teacher 'self' needs the weights of the real network; set 'weights'"):
        finetune(f"{file}:make_model", "digits", out=tmp_path / "c", console=QUIET)


def spoiled(digits: Dataset, change: Any, passes: int) -> Any:
    """The loaders, with the third batch changed from some pass over the training batches on."""

    class Spoiled(StopsAfter):
        def __iter__(self) -> Iterator[Any]:
            self.left -= 1
            for index, (images, labels) in enumerate(self.batches):
                yield change(images, labels) if self.left < 0 and index == 2 else (images, labels)

    both = loaders(digits)
    return {**both, "data": Spoiled(both["data"], passes)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x, y: (x * float("nan"), y),
            "batch 3 of the DataLoader holds an image with a value that is not finite",
        ),
        (
            lambda x, y: (x * 4 - 2, y),
            "holds values from -2 to 2, but images are in [0, 1]; take the normalization out",
        ),
        (lambda x, y: (x, y + 5), "holds the label 14; the classes are 0 to 9"),
        (lambda x, y: (x, y - 1), "holds the label -1; the classes are 0 to 9"),
        (lambda x, y: (x, y.float()), "should hold a whole number for each of its 64 images, but has float32 [64]"),
        (lambda x, y: (x[:, :, :4], y), "should hold images of the shape N x 1 x 8 x 8, but has [64, 1, 4, 8]"),
        (lambda x, y: {"image": x, "label": y}, "should be two tensors, images and labels"),
    ],
)
def test_a_batch_that_is_not_as_it_should_be_is_named(
    real: Result, digits: Dataset, change: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        finetune(real.network, out=tmp_path / "run", epochs=1, **FAST, **spoiled(digits, change, 0))
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_a_bad_batch_later_on_keeps_the_epochs_before(real: Result, digits: Dataset, tmp_path: Path) -> None:
    bad = spoiled(digits, lambda x, y: (x * float("nan"), y), 2)
    with pytest.raises(DataError, match="not finite; the checkpoint of epoch 1 is kept in"):
        finetune(real.network, out=tmp_path / "run", epochs=2, **FAST, **bad)
    assert load_run(tmp_path / "run", network=real.network).epoch == 1


def test_loaders_that_say_too_little_are_refused(real: Result, digits: Dataset, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"test": None}, "needs another one to measure on: test=..."),
        ({"classes": None}, "or give their number, such as classes=2"),
        ({"data": iter([])}, "has no length"),
        ({"data": []}, "gives no batch"),
    ]
    for changes, message in cases:
        with pytest.raises(DataError, match=re.escape(message)):
            finetune(real.network, out=tmp_path / "run", **FAST, **loaders(digits, **changes))
    for classes, message in (("ab", "is the text 'ab'"), ((), "there are no classes")):
        with pytest.raises(DataError, match=message):
            finetune(real.network, out=tmp_path / "run", **FAST, **loaders(digits, classes=classes))
    with pytest.raises(RecipeError, match="give the DataLoader a WeightedRandomSampler instead"):
        finetune(real.network, out=tmp_path / "run", class_weights=True, **FAST, **loaders(digits))
    with pytest.raises(DataError, match="go with a DataLoader"):
        finetune(real.network, "digits", classes=10, out=tmp_path / "run")


def test_a_changed_file_or_weights_end_a_resumed_run(file: Path, weights: Path, tmp_path: Path) -> None:
    code, numbers = tmp_path / "code.py", tmp_path / "float.safetensors"
    code.write_text(NETWORK)
    numbers.write_bytes(weights.read_bytes())
    arguments = {"weights": numbers, "out": tmp_path / "run", "epochs": 1, **FAST}
    finetune(f"{code}:make_model", "digits", **arguments)
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    state = safetensors.torch.load_file(weights)
    safetensors.torch.save_file({**state, "2.bias": state["2.bias"] + 1}, numbers)
    with pytest.raises(CheckpointError, match="no longer holds the weights that the run started from"):
        finetune(f"{code}:make_model", "digits", resume=True, **arguments)
    code.write_text(NETWORK + "# another\n")
    for attempt in (
        lambda: finetune(f"{code}:make_model", "digits", resume=True, **arguments),
        lambda: load_run(tmp_path / "run"),
    ):
        with pytest.raises(CheckpointError, match=r"code.py, which makes the run's network, has changed .*restore it"):
            attempt()
    code.unlink()
    with pytest.raises(CheckpointError, match=r"but the file .*code.py is missing"):
        load_run(tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before
    code.write_text(NETWORK)
    assert load_run(tmp_path / "run").epoch == 1


def test_a_function_is_named_by_its_file(file: Path, weights: Path, tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(NETWORK, str(file), "exec"), namespace)
    result = finetune(namespace["ten"], "digits", weights=weights, out=tmp_path / "run", epochs=1, **FAST)
    assert load_run(result.folder).recipe.model == f"{file}:ten"
    with pytest.raises(RecipeError, match="should be in a Python file, outside other functions"):
        finetune(lambda: nn.Linear(1, 1), "digits", out=tmp_path / "b")


def test_a_registered_network_starts_from_weights_too(train_tiny: Any, pictures: Path, tmp_path: Path) -> None:
    train_tiny(tmp_path / "float", method="float", epochs=1)
    result = train_tiny(tmp_path / "fd", weights=str(tmp_path / "float"), teacher="self", epochs=1)
    assert isinstance(load_run(result.folder).model, nn.Module)
    assert "test_accuracy_at_start" in result.metrics


def test_the_command_has_the_real_network_as_teacher_unless_told(
    file: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "--network", f"{file}:make_model", "--weights", str(weights), "--epochs", "1"]
    assert main([*command, "--set", "keep=['first', 'last', '7']"]) == 2
    assert "keep names '7', which is not a layer of the network" in capsys.readouterr().err
    assert main(command) == 0
    assert "start: test" in capsys.readouterr().out
    run = load_run(tmp_path / "runs" / "digits-make_model-fd")
    assert (run.recipe.teacher, run.recipe.weights) == ("self", str(weights))
    assert main([*command, "--teacher", "none", "--out", "runs/alone"]) == 0
    assert load_run(tmp_path / "runs" / "alone").recipe.teacher is None
    (tmp_path / "taught.toml").write_text("data = 'digits'\nmodel = 'mlp'\nepochs = 1\nteacher = 'runs/alone'\n")
    assert main(["train", "taught.toml", "--teacher", "none", "--out", "runs/untaught"]) == 0
    assert load_run(tmp_path / "runs" / "untaught").recipe.teacher is None
    capsys.readouterr()
    assert main([*command, "--model", "resnet8"]) == 2
    assert main(["train", "--network", "resnet8"]) == 2
    told = capsys.readouterr().err
    assert "name the network by either --model NAME or --network FILE.py:FUNCTION" in told
    assert "--network resnet8 should also name the function: --network FILE.py:FUNCTION" in told


def test_the_command_cannot_resume_what_only_a_call_has(
    real: Result, digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(real.network, out=tmp_path / "run", epochs=1, **FAST, **loaders(digits))
    assert main(["train", "--resume", "--out", str(tmp_path / "run")]) == 2
    assert "the run's data, DataLoader, were passed in a call" in capsys.readouterr().err
    finetune(real.network, "digits", teacher=real.network, out=tmp_path / "other", epochs=1, **FAST)
    assert main(["train", "--resume", "--out", str(tmp_path / "other")]) == 2
    assert "the run's network, Sequential, was passed in a call" in capsys.readouterr().err
