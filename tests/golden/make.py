"""Writes the golden files of the formats as they are now: `python tests/golden/make.py`.

Files that exist are kept: files in the wild do not change either. Ops that came without a new version have folders of
their own, `evb-v1-cube` and `evb-v1-tokens`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "runtime")]

from network import NAME, TASK, golden  # noqa: E402
from plans import small  # noqa: E402

from evenbit import plan_file  # noqa: E402
from evenbit.models import register_model  # noqa: E402
from evenbit.runtime import reference  # noqa: E402
from evenbit.train import checkpoint  # noqa: E402
from evenbit.train.optimizer import make_optimizer  # noqa: E402
from evenbit.train.recipe import load_recipe  # noqa: E402


def make_evb(folder: Path) -> None:
    """A network with every kind of op, images, and its logits."""
    plan = small()
    images = np.random.default_rng(1).integers(0, 256, (4, plan.channels, plan.height, plan.width), dtype=np.uint8)
    plan_file.save(plan, folder / "network.evb")
    np.save(folder / "images.npy", images)
    np.save(folder / "logits.npy", reference.run(plan, images))


def make_checkpoint(folder: Path) -> None:
    """A run after one step, images, and its network's logits."""
    register_model(golden)
    recipe = load_recipe(None, {"model": NAME, "method": "fd", "epochs": 2, "learning_rate": 1e-2, "seed": 3})
    model = checkpoint.build_model(recipe, TASK)
    optimizer = make_optimizer(recipe, model)
    images = np.random.default_rng(2).integers(0, 256, (6, TASK.channels, TASK.height, TASK.width), dtype=np.uint8)
    logits = model(checkpoint.to_float(torch.from_numpy(images)))
    torch.nn.functional.cross_entropy(logits, torch.arange(6) % 3).backward()
    optimizer.step()
    checkpoint.write_checkpoint(folder, recipe, TASK, 1, model, optimizer)
    np.save(folder / "images.npy", images)
    np.save(folder / "logits.npy", checkpoint.torch_predict(model.eval())(images))


def main() -> int:
    """Makes what is not there; 1 if nothing was to be made."""
    made = 0
    for name, make in (
        (f"evb-v{plan_file.VERSION}", make_evb),
        (f"evb-v{plan_file.VERSION}-cube", make_evb),
        (f"evb-v{plan_file.VERSION}-tokens", make_evb),
        (f"checkpoint-v{checkpoint.VERSION}", make_checkpoint),
        (f"checkpoint-v{checkpoint.VERSION}-method", make_checkpoint),
    ):
        folder = HERE / name
        if folder.exists():
            print(f"{folder} exists, and a golden file never changes", file=sys.stderr)
            continue
        folder.mkdir()
        make(folder)
        made += 1
    return 0 if made else 1


if __name__ == "__main__":
    sys.exit(main())
