"""Weights of a real network from a safetensors file; all are checked before any is set.

Pickles are refused: loading one can run any code.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import torch
from torch import Tensor, nn

from evenbit.errors import RecipeError
from evenbit.files import CHECKPOINT
from evenbit.nn.trace import in_eval_mode

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".tar")
BATCH = 100  # images
NEVER = 1e-4  # how often a class without images is assumed to occur, relative to the rarest class
SHOWN = 3  # problems named in an error


def load_weights(network: nn.Module, path: Path, classes: int) -> str | None:
    """Sets the weights of a real network.

    Args:
        network: Changed only if all weights fit.
        path: A safetensors file with the network's state, or the folder of a run of it with the method "float".
        classes: The number of logits. If the last dense layer in the file gives another number, its weights are left
            out, so that the network can learn other classes.

    Returns:
        Path of the module whose weights were left out, or None.

    Raises:
        RecipeError: If the file is missing, is not a safetensors file, or does not fit; the message names the first
            three problems.
    """
    tensors = read_weights(path)
    state = network.state_dict()
    same = {tensor.data_ptr() for name, tensor in state.items() if name in tensors}
    missing = [name for name, tensor in state.items() if name not in tensors and tensor.data_ptr() not in same]
    unknown = [name for name in tensors if name not in state]
    shapes = [name for name in state if name in tensors and tensors[name].shape != state[name].shape]
    head = None if missing or unknown else _other_head(network, tensors, shapes, classes)
    if head is not None:
        shapes = []
    wrong = [f"{name} is missing" for name in missing] + [f"{name} is not expected" for name in unknown]
    wrong += [f"{name} should be {list(state[name].shape)}, but is {list(tensors[name].shape)}" for name in shapes]
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise RecipeError(f"the weights in {path} do not fit the network: {'; '.join(wrong[:SHOWN])}{more}")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise RecipeError(f"the weights in {path} hold a number that is not finite, in {name}")
    fitting = {name: t for name, t in tensors.items() if head is None or name.rpartition(".")[0] != head}
    network.load_state_dict(fitting, strict=False)
    return head


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; of a run's checkpoint, those of the network.

    Raises:
        RecipeError: If the file is missing, is not a safetensors file, or holds a binary network.
    """
    file = path / CHECKPOINT if path.is_dir() else path
    if not file.is_file():
        bundled = "; did you mean --from bundled?" if str(path) == "bundled" else ""
        raise RecipeError(f"there are no weights at {path}{bundled}")
    if file.suffix in PICKLES:
        raise RecipeError(
            f"{file} is a pickle, which can run any code when it is loaded; if you trust it, convert it: python -c "
            f"\"import torch, safetensors.torch as s; s.save_file(torch.load('{file}', weights_only=True), "
            f"'{file.with_suffix('.safetensors')}')\""
        )
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
        recipe = json.loads(metadata.get("recipe", "{}"))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise RecipeError(f"{file} is damaged or not a safetensors file ({error})") from None
    if metadata.get("format") != "evenbit-checkpoint":
        return tensors
    if not isinstance(recipe, dict) or recipe.get("method") != "float":
        raise RecipeError(f"{path} is a run of a binary network, but a start needs the weights of a real one")
    return {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}


def _other_head(network: nn.Module, tensors: Mapping[str, Tensor], shapes: list[str], classes: int) -> str | None:
    """The dense layer that gives the logits, if its weights alone do not fit, and only because the classes differ."""
    paths = {name.rpartition(".")[0] for name in shapes}
    if len(paths) != 1:
        return None
    (path,) = paths
    layer = network.get_submodule(path)
    if not isinstance(layer, nn.Linear) or layer.out_features != classes:
        return None
    weight = tensors[f"{path}.weight"]
    return path if weight.dim() == 2 and weight.shape[1] == layer.in_features else None


def digest(network: nn.Module) -> str:
    """SHA-256 over a network's state: every tensor's name, type, shape and bytes."""
    found = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        found.update(f"\0{name}\0{values.dtype}\0{list(values.shape)}\0".encode())
        found.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


@torch.no_grad()
def fit_head(network: nn.Module, path: str, images: Tensor, labels: np.ndarray) -> None:
    """Sets the dense layer that gives the logits in closed form, by linear discriminant analysis of its inputs.

    With a shared covariance Σ (Ledoit-Wolf shrinkage), means μ_k and shares π_k of the classes,

        W_k = Σ⁻¹ μ_k        b_k = log π_k - μ_kᵀ Σ⁻¹ μ_k / 2

    so that the softmax of the logits gives the probability of each class, if the inputs of each class are normally
    distributed around its mean.

    Args:
        network: The network.
        path: Module path of the layer.
        images: `[N, C, H, W]`, uint8.
        labels: `[N]`; a class without images gets a weight of 0 and a very low bias.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # a second to import, and rarely needed

    layer = network.get_submodule(path)
    assert isinstance(layer, nn.Linear)
    read: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0].float().cpu()))
    try:
        with in_eval_mode(network):
            for batch in torch.split(images, BATCH):
                network(batch.float() / 255)
    finally:
        handle.remove()
    analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(torch.cat(read).double().numpy(), labels)
    weight, bias = torch.from_numpy(analysis.coef_), torch.from_numpy(analysis.intercept_)
    if len(bias) == 1:  # for two classes, sklearn gives only the difference of their logits
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    present = np.unique(labels)
    layer.weight.zero_()
    layer.weight[present] = weight.to(layer.weight)
    if layer.bias is not None:
        layer.bias.fill_(float(bias.min()) + math.log(NEVER))
        layer.bias[present] = bias.to(layer.bias)
