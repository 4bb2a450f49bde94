from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from evenbit.train import Recipe, Result, read_checkpoint

# Not in the process of the tests: the compiler does not get through the checks of shapes that are on there.
SCRIPT = """
import sys
from pathlib import Path
from evenbit.train import train
from evenbit.train.recipe import Recipe

train(Recipe.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("method", ["fd", "irnet"])  # with kernels of its own, and without
def test_a_compiled_network_learns_the_same(
    tiny_recipe: Callable[..., Recipe], train_tiny: Callable[..., Result], tmp_path: Path, method: str
) -> None:
    plain = train_tiny(tmp_path / "plain", method=method, epochs=1)
    recipe = tiny_recipe(method=method, epochs=1, compile=True).model_dump_json()
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, recipe, str(tmp_path / "compiled")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "recompile_limit" not in result.stderr
    weights, again = read_checkpoint(plain.folder).tensors, read_checkpoint(tmp_path / "compiled").tensors
    assert weights.keys() == again.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(
            again[name], weight, rtol=1e-2, atol=1e-2, msg=lambda text, name=name: f"{name}: {text}"
        )
