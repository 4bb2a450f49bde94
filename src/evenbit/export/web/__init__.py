"""A Plan as a web page: a folder with the page, the engine as a WebAssembly module, and the network.

What lies in `site/` is made by `make wasm` from `web/` and `csrc/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from evenbit import plan_file
from evenbit.errors import ExportError
from evenbit.export.folder import write_folder
from evenbit.plan import Plan

MARK = "The page of evenbit export --to web"
PAGE = "index.html"
NETWORK = "model.evb"


def export(plan: Plan, folder: Path) -> Mapping[str, object]:
    """Writes a page that classifies photos in the browser, with the reference's logits bit for bit.

    The folder can be put on any static host, or be looked at by `python -m http.server` in it. An earlier export there
    is replaced, any other file is left alone.

    Args:
        plan: The network; of images with 1 or 3 channels.
        folder: Made if it is missing; its parent has to exist.

    Returns:
        The folder, and the bytes of the page with its module and of the network.

    Raises:
        PlanError: If the Plan is not valid.
        ExportError: If its images have other channels, it gives a map of logits, or a file that would be replaced
            is not of an export.
        OSError: If the folder cannot be written.
    """
    if plan.channels not in (1, 3):
        raise ExportError(f"a page shows photos, which have 1 or 3 channels, but the network takes {plan.channels}")
    if plan.gives_map:
        raise ExportError("a page names the class of a photo, but the network classifies each pixel of a map")
    network = plan_file.to_bytes(plan)
    site = {file.name: file.read_bytes() for file in (resources.files("evenbit.export.web") / "site").iterdir()}
    files = {**site, NETWORK: network}
    write_folder(folder, files, MARK, dict.fromkeys(files, PAGE))
    return {
        "folder": str(folder),
        "page_bytes": sum(len(content) for content in site.values()),
        "network_bytes": len(network),
    }
