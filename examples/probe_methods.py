"""Two methods in the same network with the same recipe, and what each does to the bits.

python examples/probe_methods.py
"""

from __future__ import annotations

from pathlib import Path

from evenbit.train import load_recipe, train
from evenbit.train.probes import probe_run


def main() -> None:
    for method in ("react", "fd"):
        recipe = load_recipe("digits-resnet8-fd", {"method": method, "epochs": 3})
        result = train(recipe, Path(method))
        probes = probe_run(result.folder, data_root=None, images=300)
        print(f"{method}: accuracy {result.accuracy:.1f} %")
        for name, layer in probes["layers"].items():
            low, high = min(layer["share"]), max(layer["share"])
            print(f"  {name:16} share of +1 from {low:.2f} to {high:.2f}, entropy {layer['entropy']:.3f} bits")


if __name__ == "__main__":
    main()
