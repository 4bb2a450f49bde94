from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from evenbit.data import load_dataset
from evenbit.errors import CheckpointError
from evenbit.evaluation import evaluate
from evenbit.files import CHECKPOINT
from evenbit.nn import Sign
from evenbit.train import Recipe, Result, load_run, read_checkpoint, torch_predict
from evenbit.train import checkpoint as module
from evenbit.train.checkpoint import Task, build_model, write_checkpoint
from evenbit.train.optimizer import make_optimizer
from evenbit.train.origin import Origin

TASK = Task(("a", "b"), 3, 8, 8, (0.5, 0.25, 0.5), (0.25, 0.25, 0.25))
TASK_TEXT = json.dumps(dataclasses.asdict(TASK))


@pytest.fixture(scope="module")
def finished(train_tiny: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Result:
    return train_tiny(tmp_path_factory.mktemp("runs") / "run", epochs=2)


def save_fresh(folder: Path, recipe: Recipe, epoch: int = 1) -> None:
    model = build_model(recipe, TASK)
    write_checkpoint(folder, recipe, TASK, epoch, model, torch.optim.AdamW(model.parameters()))


def test_a_run_is_read_without_its_data_and_gives_the_reported_accuracy(finished: Result, pictures: Path) -> None:
    run = load_run(finished.folder)
    assert run.epoch == run.recipe.epochs == 2
    assert not run.model.training
    assert (run.task.classes, run.task.input) == (("dark", "light"), "3x8x8")
    result = evaluate(torch_predict(run.model), load_dataset(str(pictures), size=8).test)
    assert (result.accuracy, result.loss) == (finished.accuracy, finished.metrics["test_loss"])


def test_schedules_of_a_loaded_run_stand_where_its_last_epoch_left_them(
    train_tiny: Callable[..., Result], tmp_path: Path, pictures: Path
) -> None:
    # The tails of recu's weights are clamped wider from epoch to epoch, which changes the scales of its filters.
    finished = train_tiny(tmp_path / "recu", method="recu", knobs={"estimator": "ede"}, epochs=3)
    run = load_run(finished.folder)
    signs = [module for module in run.model.modules() if isinstance(module, Sign)]
    assert [float(sign.progress) for sign in signs] == pytest.approx([2 / 3] * len(signs))
    result = evaluate(torch_predict(run.model), load_dataset(str(pictures), size=8).test)
    assert result.loss == finished.metrics["test_loss"]


def test_the_state_of_the_optimizer_is_put_where_the_parameters_are(finished: Result) -> None:
    checkpoint = read_checkpoint(finished.folder)
    model = build_model(checkpoint.recipe, checkpoint.task).to("meta")
    optimizer = make_optimizer(checkpoint.recipe, model)
    checkpoint.load_optimizer(optimizer, model)
    devices = {value.device.type for state in optimizer.state.values() for value in state.values()}
    assert devices == {"meta"}


def test_a_parameter_without_gradient_has_no_state(tiny_recipe: Callable[..., Recipe], finished: Result) -> None:
    checkpoint = read_checkpoint(finished.folder)
    model = build_model(checkpoint.recipe, checkpoint.task)
    optimizer = make_optimizer(checkpoint.recipe, model)
    frozen = next(name for name, _ in model.named_parameters())
    kept = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith(f"optimizer.{frozen}.")}
    assert len(kept) < len(checkpoint.tensors)
    dataclasses.replace(checkpoint, tensors=kept).load_optimizer(optimizer, model)
    assert model.get_parameter(frozen) not in optimizer.state
    assert len(optimizer.state) == len(list(model.parameters())) - 1


def test_a_finished_run_is_measured_as_at_its_end(train_tiny: Callable[..., Result], tmp_path: Path) -> None:
    finished = train_tiny(tmp_path / "recu", method="recu", epochs=3)
    again = train_tiny(tmp_path / "recu", method="recu", epochs=3, resume=True)
    assert again.evaluation.loss == finished.evaluation.loss == finished.metrics["test_loss"]


def test_a_run_says_where_it_comes_from(finished: Result) -> None:
    origin = load_run(finished.folder).origin
    assert origin == Origin.here()
    assert origin.versions["torch"] == torch.__version__


def test_a_checkpoint_without_its_origin_is_read(tmp_path: Path, tiny_recipe: Callable[..., Recipe]) -> None:
    save_fresh(tmp_path, tiny_recipe())
    assert load_run(tmp_path).origin is None


def test_a_constant_channel_does_not_make_the_normalization_divide_by_zero(tmp_path: Path, pictures: Path) -> None:
    dataset = load_dataset(str(pictures), size=8)
    dataset.train.images[:, 1] = 9
    assert Task.of(dataset).std[1] == 1 / 255


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.evb").touch()
    for folder, why in (
        (tmp_path, "holds no trained network"),
        (tmp_path / "missing", "does not exist"),
        (tmp_path / "net.evb", "is a file, not the folder of a run"),
    ):
        with pytest.raises(CheckpointError, match=f"{folder} {why}"):
            load_run(folder)


def test_a_run_without_a_finished_epoch_is_refused(tmp_path: Path, tiny_recipe: Callable[..., Recipe]) -> None:
    save_fresh(tmp_path, tiny_recipe(), epoch=0)
    with pytest.raises(CheckpointError, match="has not finished its first epoch"):
        load_run(tmp_path)


def test_any_flipped_byte_is_noticed(finished: Result, tmp_path: Path) -> None:
    whole = (finished.folder / CHECKPOINT).read_bytes()
    draw = np.random.default_rng(0)
    for position in (0, 9, 200, len(whole) - 1, *draw.integers(0, len(whole), 20)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        (tmp_path / CHECKPOINT).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=CHECKPOINT):
            load_run(tmp_path)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_truncated_checkpoint_is_refused(finished: Result, tmp_path: Path, kept: int) -> None:
    (tmp_path / CHECKPOINT).write_bytes((finished.folder / CHECKPOINT).read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="is damaged or not a checkpoint"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet20"}, "stage1.2.conv.*is missing; .*; and [0-9]+ more"),
        ({"knobs": {"excitation_groups": 0}}, "excite.* is not expected; "),
        (
            {"knobs": {"excitation_hidden": 2}},
            r"squeeze.weight should be float32 \[8, 4, 1, 1\], but is float32 \[4, 4",
        ),
    ],
)
def test_a_checkpoint_of_another_model_names_what_differs_and_changes_nothing(
    tmp_path: Path, tiny_recipe: Callable[..., Recipe], changes: dict[str, object], message: str
) -> None:
    save_fresh(tmp_path, tiny_recipe())
    other = build_model(tiny_recipe(**changes), TASK)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"belongs to another model: .*{message}") as caught:
        read_checkpoint(tmp_path).load_model(other)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


def test_a_newer_format_is_refused(
    tmp_path: Path, tiny_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr("evenbit.train.checkpoint.VERSION", 2)
        save_fresh(tmp_path, tiny_recipe())
    with pytest.raises(CheckpointError, match="has format version 2; this evenbit reads version 1"):
        load_run(tmp_path)


def test_a_failed_write_leaves_the_old_checkpoint(
    tmp_path: Path, tiny_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_fresh(tmp_path, tiny_recipe(), epoch=1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_fresh(tmp_path, tiny_recipe(), epoch=2)
    assert read_checkpoint(tmp_path).epoch == 1
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def change(folder: Path, key: str, value: str) -> dict[str, str]:
    """Gives a key of the checkpoint's metadata another value, with a digest that fits."""
    with safetensors.safe_open(folder / CHECKPOINT, "pt") as file:
        metadata = {**file.metadata(), key: value}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    del metadata["sha256"]
    metadata["sha256"] = module._digest(metadata, tensors)
    safetensors.torch.save_file(tensors, folder / CHECKPOINT, metadata)
    return metadata


def test_a_method_stays_what_it_was_when_its_name_has_come_to_mean_another(
    tmp_path: Path, tiny_recipe: Callable[..., Recipe]
) -> None:
    then = tiny_recipe(method="fd", knobs={"third_moment": False, "estimator": "clip"})
    save_fresh(tmp_path, then, epoch=1)
    change(tmp_path, "recipe", tiny_recipe(method="fd").model_dump_json())
    run = load_run(tmp_path)
    assert run.recipe.knobs == {"third_moment": False, "estimator": "clip"}
    assert run.recipe.resolved_method() == then.resolved_method()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epoch", "5"),  # of 4
        ("epoch", "x"),
        ("recipe", "[1]"),
        ("recipe", "{"),
        ("recipe", "[" * 100_000),
        ("method", "[1]"),
        ("method", '{"name": "float"}'),
        ("method", '{"colour": 1}'),
        ("task", "{}"),
        ("task", TASK_TEXT.replace("[0.5", "[NaN")),
        ("task", TASK_TEXT.replace(" 8,", " 65536,")),
        ("task", TASK_TEXT.replace("0.25, 0.25, 0.25", "0.25, 0.25, 0.0")),
        ("task", TASK_TEXT.replace(', "channels": 3', ', "channels": 2')),
        ("task", TASK_TEXT.replace('"a", "b"', "")),
    ],
)
def test_contents_of_another_form_are_refused(
    tmp_path: Path, tiny_recipe: Callable[..., Recipe], key: str, value: str
) -> None:
    """The digest fits, so that only what reads the text can refuse it."""
    save_fresh(tmp_path, tiny_recipe())
    metadata = change(tmp_path, key, value)
    assert metadata["task"] == TASK_TEXT or key == "task"
    with pytest.raises(CheckpointError, match=CHECKPOINT):
        load_run(tmp_path)


def test_a_network_that_the_file_does_not_hold_takes_no_memory(
    tmp_path: Path, tiny_recipe: Callable[..., Recipe]
) -> None:
    """A file of a few kilobytes that says it is a network of some hundred gigabytes."""
    save_fresh(tmp_path, tiny_recipe(model="mlp"))
    run = dataclasses.replace(read_checkpoint(tmp_path), task=dataclasses.replace(TASK, height=2**13, width=2**13))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        run.build_model()
