from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evenbit.data import READERS
from evenbit.errors import RecipeError
from evenbit.models import model_names
from evenbit.train import load_recipe
from evenbit.train.recipe import MIRRORED, change_recipe, make_recipe, packaged_recipes, parse_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_overrides_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "epochs = 5\nseed = 3\n[knobs]\nestimator = 'ede'\n")
    recipe = load_recipe(path, {"epochs": 7})
    assert (recipe.epochs, recipe.seed, recipe.batch_size) == (7, 3, 128)
    assert recipe.resolved_method().estimator == "ede"


@pytest.mark.parametrize("name", packaged_recipes())
def test_packaged_recipes_are_valid_and_named_after_what_they_train(name: str) -> None:
    recipe = load_recipe(name, {})
    assert name == f"{recipe.data}-{recipe.model}-{recipe.method}"
    assert recipe.model in model_names()


def test_a_demo_recipe_and_its_float_twin_differ_in_the_method_only() -> None:
    twins = [load_recipe(f"digits-resnet8-{method}", {}).model_dump() for method in ("float", "fd")]
    assert {key for key in twins[0] if twins[0][key] != twins[1][key]} == {"method"}


def test_a_recipe_survives_json() -> None:
    recipe = load_recipe(None, {"knobs": {"zero_point": True, "excitation_groups": 2}, "teacher": "a b/ü"})
    assert make_recipe(recipe.model_validate_json(recipe.model_dump_json()).model_dump(), "again") == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("xyzzy = 3", "unknown key 'xyzzy'; choose from data, image_size, model"),
        ("epochs = 0", "key 'epochs'.*greater than or equal to 1, got 0"),
        ("epochs = 'many'", "key 'epochs'.*valid integer.*got 'many'"),
        ("learning_rate = nan", "key 'learning_rate'.*got nan"),
        ("learning_rate = inf", "key 'learning_rate'.*finite number, got inf"),
        ("precision = 'fp8'", "key 'precision'.*'no' or 'bf16', got 'fp8'"),
        ("model = 'resnet9'", "unknown model 'resnet9'; did you mean 'resnet8'"),
        ("method = 'fdd'", "unknown method 'fdd'; did you mean 'fd'"),
        ("knobs = {estimato = 'ede'}", "unknown knob 'estimato'.*'estimator'"),
        ("knobs = {estimator = 'spline'}", "'estimator' should be one of clip"),
        ("knobs = {zero_point = 1}", "'zero_point' should be bool"),
        ("knobs = {zero_point_cells = 1000}", "'zero_point_cells' should be from 1 to 256, but is 1000"),
        ("epochs = ", "is not valid TOML"),
        ("epochs = 0x" + "f" * 5000, "is not valid TOML: it holds an integer of more than 64 bits"),
        ("epochs = 1" + "0" * 5000, "is not valid TOML: "),
        ("data = " + "[" * 100_000, "is not valid TOML: it is nested too deeply"),
        ("knobs = {excitation_hidden = 65537}", "'excitation_hidden' should be from 1 to 65536"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line_that_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path, {})
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(RecipeError, match=r"no recipe file nothing.*digits-resnet8-fd"):
        load_recipe("nothing", {})


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"binary\.toml is not valid TOML: 'utf-8' codec"):
        load_recipe(path, {})


@pytest.mark.parametrize(
    ("items", "values"),
    [
        (["epochs=3", "flip=false", "learning_rate=1e-3"], {"epochs": 3, "flip": False, "learning_rate": 1e-3}),
        (["knobs.estimator=ede", "knobs.excitation_groups=0"], {"knobs": {"estimator": "ede", "excitation_groups": 0}}),
        (["teacher=runs/a=b"], {"teacher": "runs/a=b"}),
    ],
)
def test_settings_are_toml_or_plain_strings(items: list[str], values: dict[str, Any]) -> None:
    assert parse_settings(items) == values


def test_a_knob_that_is_overridden_leaves_the_others() -> None:
    values = {"knobs": {"excitation_groups": 0, "third_moment": False}, "epochs": 3}
    changed = change_recipe(values, {"knobs": {"third_moment": True}, "epochs": 4}, "here")
    assert changed.knobs == {"excitation_groups": 0, "third_moment": True}
    assert changed.epochs == 4
    with pytest.raises(RecipeError, match="here: key 'epochs'"):
        change_recipe(values, {"epochs": 0}, "here")


def test_a_setting_without_a_value_is_refused() -> None:
    with pytest.raises(RecipeError, match="KEY=VALUE, but is 'epochs'"):
        parse_settings(["epochs"])


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({"method": "fd"}, 2e-2),
        ({"method": "bnn", "batch_size": 256}, 2e-2),
        ({"method": "float"}, 4e-3),
        ({"method": "fd", "batch_size": 32}, 1e-2),
        ({"method": "float", "batch_size": 16}, 1.4e-3),
        ({"method": "fd", "learning_rate": 3e-3}, 3e-3),
    ],
)
def test_a_method_knows_its_learning_rate(settings: dict[str, Any], rate: float) -> None:
    assert load_recipe(None, settings).learning_rate == rate


@pytest.mark.parametrize(("data", "flip"), [("digits", False), ("cifar10", True), ("photos", None)])
def test_named_data_sets_know_whether_they_may_be_mirrored(data: str, flip: bool | None) -> None:
    assert load_recipe(None, {"data": data}).flip is flip
    assert load_recipe(None, {"data": data, "flip": True}).flip is True


def test_every_packaged_data_set_says_whether_it_may_be_mirrored() -> None:
    assert set(MIRRORED) == {name for name in READERS if name != "shapes"}  # which an example adds


def test_strong_augmentation_is_what_is_not_given() -> None:
    recipe = load_recipe(None, {"augment": "strong", "rotate": 3.0})
    assert (recipe.color, recipe.rotate, recipe.erase, recipe.mixup) == (0.3, 3.0, 0.25, 0.0)
    plain = load_recipe(None, {})
    assert (plain.color, plain.rotate, plain.erase, plain.mixup) == (0, 0, 0, 0)
