"""How many networks of two large collections, timm and torchvision, can be packed and made binary as they are.

    python benchmarks/zoo.py run        # needs timm and torchvision, which evenbit does not need
    python benchmarks/zoo.py page

Of timm, one network of each family, by its name the smallest; of torchvision, one of each family of classifiers. They
have fresh weights and images of the size that they are made for. Each is packed and run by the engine, then made binary
and packed again; the logits are compared with torch's. `run` keeps what it finds in results/zoo.json after each
network, and continues there; `page` writes the section of docs/bring-your-own-network.md.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
from collections.abc import Callable, Iterator
from importlib.metadata import files, version
from typing import Any

import numpy as np
import torch
from torch import nn

import evenbit
from evenbit.errors import CaptureError
from evenbit.files import write_atomically
from evenbit.nn.trace import Logits
from origin import ROOT, origin
from sections import write_section

KEPT = ROOT / "results" / "zoo.json"
PAGE = ROOT / "docs" / "bring-your-own-network.md"
BEGIN = "<!-- section: benchmarks/zoo.py writes what follows -->"
END = "<!-- end of the section -->"
SECONDS = 300  # for one network
CLOSE = 1e-3  # of the largest logit
# Parts of names, the smallest networks first.
SMALL = """
    atto femto pico nano _xxs _xxt tiny _xs mini small _t0 s0 18 _t _s 050 26 50 11 b0
"""
TORCHVISION = """
    alexnet vgg11_bn resnet18 squeezenet1_1 densenet121 inception_v3 googlenet shufflenet_v2_x0_5 mobilenet_v2
    mobilenet_v3_small resnext50_32x4d mnasnet0_5 efficientnet_b0 efficientnet_v2_s regnet_y_400mf vit_b_32 swin_t
    swin_v2_t maxvit_t convnext_tiny
"""


def _declare_ops() -> torch.library.Library:
    """Names the ops of torchvision, which no classifier runs, since its wheel cannot load them without CUDA."""
    (source,) = (file for file in files("torchvision") or () if file.name == "_meta_registrations.py")
    names = re.findall(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"', source.read_text())
    library = torch.library.Library("torchvision", "DEF")
    for name in set(names):
        library.define(f"{name}(Tensor x) -> Tensor")
    return library


def networks() -> Iterator[tuple[str, Callable[[], nn.Module], int]]:
    """Name, how it is made, and height and width of its images."""
    import timm
    import torchvision

    for name in TORCHVISION.split():
        plain = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}  # which takes a minute
        made = getattr(torchvision.models, name)
        yield f"torchvision {name}", lambda made=made, plain=plain: made(**plain), 299 if "inception" in name else 224
    small = SMALL.split()
    for family in sorted(timm.list_modules()):
        names = timm.list_models(module=family)
        if names:
            order = [next((i for i, part in enumerate(small) if part in name), len(small)) for name in names]
            _, _, name = min(zip(order, map(len, names), names, strict=True))
            settings = timm.get_pretrained_cfg(name)
            size = settings.input_size[-1] if settings else 224
            yield f"timm {name}", lambda name=name: timm.create_model(name), size


def _agreement(network: nn.Module, images: torch.Tensor) -> dict[str, Any]:
    """Whether a network can be packed, and how far the engine's logits then are from torch's."""
    with torch.no_grad():
        expected = network(images).numpy()
    try:
        found = evenbit.Engine(evenbit.pack(network, images), threads=1)(images.numpy())
    except CaptureError as error:
        return {"refused": str(error)}
    largest = np.abs(expected).max() or 1  # the heads of some are 0 before training
    return {"distance": float(np.abs(found - expected).max() / largest)}


def measure(make: Callable[[], nn.Module], size: int) -> dict[str, Any]:
    """A network as it is, and made binary."""
    torch.manual_seed(0)
    network, images = Logits(make()).eval(), torch.rand(1, 3, size, size)
    row: dict[str, Any] = {"real": _agreement(network, images)}
    try:
        binary, table = evenbit.binarize(network, images)
    except CaptureError as error:
        return {**row, "binary": {"refused": str(error)}}
    return {**row, "binary": {"macs_percent": 100 * table.binary_share, **_agreement(binary.eval(), images)}}


def _too_long(*_: Any) -> None:
    raise TimeoutError(f"takes longer than {SECONDS} s")


def run() -> None:
    """All networks that are not kept yet."""
    library = _declare_ops()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {"rows": {}}
    kept |= origin() | {name: version(name) for name in ("timm", "torchvision", "torch")}
    signal.signal(signal.SIGALRM, _too_long)
    for name, make, size in networks():
        if name in kept["rows"]:
            continue
        signal.alarm(SECONDS)
        try:
            row = measure(make, size)
        except Exception as error:  # whatever a network of others raises
            row = {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
        signal.alarm(0)
        kept["rows"][name] = {"size": size, **row}
        print(name, kept["rows"][name], flush=True)
        write_atomically(KEPT, (json.dumps(kept, indent=1) + "\n").encode())
    del library


def page() -> None:
    """Writes the section."""
    write_section(PAGE, BEGIN, END, section())


def section() -> str:
    """What the kept file says."""
    kept = json.loads(KEPT.read_text())
    rows = {name: row for name, row in kept["rows"].items() if "failed" not in row}
    parts = {part: {name: row[part] for name, row in rows.items()} for part in ("real", "binary")}
    packed = {part: [row for row in found.values() if "distance" in row] for part, found in parts.items()}
    far = [name for name, row in parts["real"].items() if row.get("distance", 0) >= CLOSE]
    most = max(row["distance"] for row in packed["real"] if row["distance"] < CLOSE)
    shares = [row["macs_percent"] for row in packed["binary"]]
    lines = [
        f"Of {len(rows)} networks, one of each family of timm {kept['timm']} and torchvision {kept['torchvision']}, "
        f"{len(packed['real'])} are packed as they are, and {len(packed['binary'])} as binary networks, where half of "
        f"them have at least {np.median(shares):.0f} % of their multiply-adds in binary layers. With real weights, the "
        f"engine's logits are at most {most:.0e} of the largest one away from torch's. Refused are:",
        "",
        "| network | why |",
        "|---|---|",
    ]
    for name, row in rows.items():
        reasons = dict.fromkeys(row[part]["refused"] for part in parts if "refused" in row[part])
        lines += [f"| {name} | {reason} |" for reason in reasons]
    if far:
        lines += ["", f"Logits farther from torch's: {', '.join(far)}."]
    if failed := {name: row["failed"] for name, row in kept["rows"].items() if "failed" in row}:
        lines += ["", f"Not measured: {'; '.join(f'{name} ({reason})' for name, reason in failed.items())}."]
    return "\n".join([*lines, "", f"`{kept['command']}`, commit {kept['commit']}, {kept['machine']}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("run", "page"))
    {"run": run, "page": page}[parser.parse_args().action]()


if __name__ == "__main__":
    main()
