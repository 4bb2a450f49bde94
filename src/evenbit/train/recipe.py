"""A training recipe: every setting of a run, typed. Its fields are the keys of a TOML file and the flags of `train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evenbit.errors import RecipeError, unknown
from evenbit.files import is_run
from evenbit.models import model_names
from evenbit.nn.method import METHODS, Method, resolve_method
from evenbit.printable import is_text
from evenbit.train.network import SELF, is_own
from evenbit.train.toml import parse_toml

# Peaks of the learning rate for batches of 128 and more, from the runs with held-out images in docs/results.md. Smaller
# batches have noisier gradients, so their rate is multiplied by the square root of (batch size / 128).
FLOAT_RATE, BINARY_RATE = 4e-3, 2e-2
RATES_BATCH = 128
# The values of keys that were added later, as they were before.
EARLIER = {"optimizer": "adamw"}
# Whether a mirrored image still belongs to its class.
MIRRORED = {
    "digits": False,
    "svhn": False,
    "cifar10": True,
    "cifar100": True,
    "fashion-mnist": True,
    "tiny-imagenet": True,
}


def good_rate(method: str, batch_size: int) -> float:
    """The default learning rate of a method, to two digits."""
    rate = BINARY_RATE if method in METHODS and METHODS[method].binary else FLOAT_RATE
    return float(f"{rate * min(1, max(1, batch_size) / RATES_BATCH) ** 0.5:.1e}")


STRONG = {"color": 0.3, "rotate": 10.0, "erase": 0.25, "mixup": 0.0}  # what `augment = "strong"` stands for


def _strong(known: Mapping[str, Any], key: str) -> float:
    return STRONG[key] if known.get("augment") == "strong" else 0.0


class Recipe(BaseModel):
    """Settings of a run.

    Attributes:
        data: Name of a data set, or path of a folder with one subfolder of images per class.
        image_size: Height and width to which the images of a folder are resized.
        model: Name of a network, or the user's own network: FILE.py:FUNCTION or MODULE:FUNCTION.
        weights: Weights of the real network that the binary one is made from: a safetensors file, or the folder of its
            run; None to start from random weights.
        keep: Layers of the real network that stay real; see `evenbit.binarize`. For the user's own networks and for
            those that start from weights.
        method: Name of a binarization method.
        knobs: Settings of the method that differ from its entry in `METHODS`.
        validation: Share of the training images that is held out. Accuracy is measured on these, and the test images
            are not used; for choosing settings. 0 trains on all training images and measures on the test images.
        epochs: Passes over the training images.
        batch_size: Images per step, over all processes; all images if there are fewer. Images at the end of an epoch
            that do not fill a batch are left out.
        learning_rate: Peak of the schedule: linear warm-up, then half a cosine to 0, changed every step. The default
            is 2e-2 for binary methods and 4e-3 for float, times the square root of batch_size / 128 below 128.
        warmup_epochs: Length of the warm-up.
        optimizer: "muon" updates the weights of convolutions and binary layers by Muon and everything else by AdamW
            (`evenbit.train.optimizer`); "adamw" updates everything by AdamW.
        weight_decay: Decoupled decay of the real weights of convolutions and dense layers.
        latent_weight_decay: Decoupled decay of the latent weights of binary layers.
        class_weights: Whether each class has the same weight in the loss, however many images it has.
        label_smoothing: Share of the target that is spread over all classes.
        augment: "plain" or "strong": sets the defaults of `color`, `rotate`, `erase` and `mixup`.
        area: For random resized crops, the least share of an image's area that a crop covers; 1 for none.
        pad: Zeros added on each side before a random crop.
        flip: Whether to mirror half of the images. The default suits a named data set. For other data it is None:
            training finds out whether classes differ by side (`evenbit.train.sides`) and records the answer.
        cutout: Side of a square set to zero; 0 for none.
        color: How far the factors of brightness, contrast and saturation may differ from 1; 0 for no change.
        rotate: Largest rotation, either way, in degrees; 0 for none.
        erase: Share of the images in which a rectangle is filled with one random color.
        mixup: Share of the images that are mixed with another one, labels included.
        teacher: Folder of a float run to distil from, "self" for the real network that the binary one is made from,
            or None.
        distillation: Weight of the teacher's term in the loss; the labels' term has the rest.
        temperature: Temperature of the softmax in the teacher's term.
        attention: Weight of the distance between the teacher's and the network's attention after each stage.
        balance: Weight of the loss that pulls each channel's share of +1 towards `balance_target`; 0 leaves it free.
        balance_target: The target share; 0.5 asks for as many +1 as -1.
        start: Folder of a run whose weights the network starts from, "bundled" for the small network that comes with
            evenbit, or None; if the classes differ, with a new head. Training in two steps needs it too.
        precision: "no" for float32, "bf16" for bfloat16 autocast.
        compile: Whether to compile the network with torch.compile.
        seed: Seed of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: str = "digits"
    image_size: int = Field(32, ge=8, le=1024)
    model: str = "resnet8"
    weights: str | None = None
    keep: list[str] = Field(default_factory=lambda: ["first", "last"])
    method: str = "fd"
    knobs: dict[str, bool | int | str] = Field(default_factory=dict)
    validation: float = Field(0, ge=0, le=0.5)
    epochs: int = Field(12, ge=1)
    batch_size: int = Field(128, ge=2)
    learning_rate: float = Field(
        default_factory=lambda known: good_rate(known.get("method", "fd"), known.get("batch_size", RATES_BATCH)), gt=0
    )
    warmup_epochs: float = Field(1, ge=0)
    optimizer: Literal["muon", "adamw"] = "muon"
    weight_decay: float = Field(1e-2, ge=0)
    latent_weight_decay: float = Field(0, ge=0)
    class_weights: bool = False
    label_smoothing: float = Field(0, ge=0, lt=1)
    augment: Literal["plain", "strong"] = "plain"
    area: float = Field(1, gt=0, le=1)
    pad: int = Field(4, ge=0)
    flip: bool | None = Field(default_factory=lambda known: MIRRORED.get(known.get("data", "")))
    cutout: int = Field(0, ge=0)
    color: float = Field(default_factory=lambda known: _strong(known, "color"), ge=0, le=1)
    rotate: float = Field(default_factory=lambda known: _strong(known, "rotate"), ge=0, le=180)
    erase: float = Field(default_factory=lambda known: _strong(known, "erase"), ge=0, le=1)
    mixup: float = Field(default_factory=lambda known: _strong(known, "mixup"), ge=0, le=1)
    teacher: str | None = None
    distillation: float = Field(0.5, ge=0, le=1)
    temperature: float = Field(4, gt=0)
    attention: float = Field(0, ge=0)
    balance: float = Field(0, ge=0)
    balance_target: float = Field(0.5, gt=0, lt=1)
    start: str | None = None
    precision: Literal["no", "bf16"] = "no"
    compile: bool = False
    seed: int = Field(0, ge=0, lt=2**31)

    def resolved_method(self) -> Method:
        """The method with the recipe's knobs.

        Raises:
            RecipeError: If the method or a knob is unknown.
        """
        return resolve_method(self.method, self.knobs)

    def decided_as(self, known: Recipe) -> Recipe:
        """The recipe; if it leaves `flip` to the training images, with the `flip` of another recipe."""
        return self.model_copy(update={"flip": known.flip}) if self.flip is None else self


def load_recipe(source: str | Path | None, overrides: Mapping[str, Any]) -> Recipe:
    """A recipe from a TOML file, with some keys overridden.

    Args:
        source: Path of the file, or the name of a recipe that comes with evenbit; None for the defaults alone.
        overrides: Values that replace the file's; the method's knobs are replaced one by one.

    Raises:
        RecipeError: If the file cannot be read, or a key or value is not valid; the message names both.
    """
    values: dict[str, Any] = {}
    if source is not None:
        values = parse_toml(_text(source), str(source))
    return change_recipe(values, overrides, str(source) if source is not None else "recipe")


def change_recipe(values: Mapping[str, Any], overrides: Mapping[str, Any], origin: str) -> Recipe:
    """A checked recipe with some keys overridden, the method's knobs one by one; see `make_recipe`."""
    if isinstance(values.get("knobs"), dict) and "knobs" in overrides:
        overrides = {**overrides, "knobs": {**values["knobs"], **overrides["knobs"]}}
    return make_recipe({**values, **overrides}, origin)


def distil_from_itself(recipe: Recipe) -> Recipe:
    """The recipe; if it makes a binary network from a real one and names no teacher, the real one is the teacher."""
    binary = recipe.resolved_method().binary
    wanted = binary and recipe.teacher is None and (recipe.weights is not None or recipe.model.startswith(":"))
    return recipe.model_copy(update={"teacher": SELF}) if wanted else recipe


def make_recipe(values: Mapping[str, Any], origin: str) -> Recipe:
    """A checked recipe.

    Args:
        values: Its keys and values.
        origin: Where the values come from, for errors.

    Raises:
        RecipeError: If a key or value is not valid.
    """
    try:
        recipe = Recipe.model_validate(dict(values), strict=True)
    except ValidationError as error:
        raise RecipeError(f"{origin}: {_explain(error)}") from None
    for key, value in recipe:
        if isinstance(value, str) and not is_text(value):
            raise RecipeError(f"{origin}: key '{key}': {value} is not UTF-8")
    try:
        recipe.resolved_method()
    except RecipeError as error:
        raise RecipeError(f"{origin}: {error}") from None
    if recipe.model not in model_names() and not is_own(recipe.model):
        raise RecipeError(f"{origin}: {unknown('model', recipe.model, model_names())}")
    if recipe.teacher == SELF and recipe.weights is None and not recipe.model.startswith(":"):
        raise RecipeError(f"{origin}: the teacher '{SELF}' needs the weights of the real network; set 'weights'")
    return recipe


def parse_settings(items: Sequence[str]) -> dict[str, Any]:
    """Keys and values from `KEY=VALUE` texts; a value is TOML, or a plain string, and `knobs.NAME` sets a knob.

    Raises:
        RecipeError: If a text has no `=`, or sets `knobs` itself.
    """
    values: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals:
            raise RecipeError(f"a setting should be KEY=VALUE, but is '{item}'")
        try:
            value = parse_toml(f"value = {text}".encode(errors="surrogateescape"), key)["value"]
        except RecipeError:
            value = text
        if key == "knobs":
            raise RecipeError("a knob is set as knobs.NAME=VALUE")
        if key.startswith("knobs."):
            values.setdefault("knobs", {})[key.removeprefix("knobs.")] = value
        else:
            values[key] = value
    return values


def packaged_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with evenbit."""
    files = resources.files("evenbit.recipes").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def _text(source: str | Path) -> bytes:
    path = Path(source)
    try:
        if path.is_file():
            return path.read_bytes()
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror}") from None
    if str(source) in packaged_recipes():
        return (resources.files("evenbit.recipes") / f"{source}.toml").read_bytes()
    if is_run(path):
        raise RecipeError(
            f"{source} is a run, not a recipe; continue it with --resume --out, or start from it with --from"
        )
    if path.is_dir():
        raise RecipeError(f"{source} is a folder, not a recipe; to train on its images, give it as --data")
    raise RecipeError(f"no recipe file {source}; recipes that come with evenbit: {', '.join(packaged_recipes())}")


def _explain(error: ValidationError) -> str:
    """The first problem in one line."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"][:2])
    if problem["type"] == "extra_forbidden":
        return unknown("key", key, Recipe.model_fields)
    return f"key '{key}': {problem['msg']}, got {problem['input']!r}"
