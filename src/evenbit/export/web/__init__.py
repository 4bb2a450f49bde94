"""A Plan as a web page: a folder with the page, the engine as a WebAssembly module, and the network.

The page is in `page/`; `make wasm` makes the files in `site/` from `web/` and `csrc/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evenbit import plan_file
from evenbit.errors import ExportError
from evenbit.export.folder import write_folder
from evenbit.plan import Plan

MARK = "The page of evenbit export --to web"
HERE = Path(__file__).parent
SITE = HERE / "site"
PAGE = "index.html"
NETWORK = "model.evb"


def export(plan: Plan, folder: Path) -> Mapping[str, object]:
    """Writes a page that classifies photos in the browser, with the reference's logits bit for bit.

    Any static web host can serve the folder; to look at the page, run `python -m http.server` in the folder. An earlier
    export in it is replaced; any other file is left alone.

    Args:
        plan: The network, for images with 1 or 3 channels.
        folder: Created if it is missing; its parent has to exist.

    Returns:
        The folder, the bytes of the page with its module, and the bytes of the network.

    Raises:
        PlanError: If the Plan is not valid.
        ExportError: If its images have another number of channels, it gives a map of logits, or a file that would be
            replaced does not come from an export.
        OSError: If the folder cannot be written.
    """
    if plan.channels not in (1, 3):
        raise ExportError(f"a page shows photos, which have 1 or 3 channels, but the network takes {plan.channels}")
    if plan.gives_map:
        raise ExportError("a page names the class of a photo, but the network classifies each pixel of a map")
    network = plan_file.to_bytes(plan)
    site = {file.name: file.read_bytes() for folder in (HERE / "page", SITE) for file in folder.iterdir()}
    files = {**site, NETWORK: network}
    write_folder(folder, files, MARK, dict.fromkeys(files, PAGE))
    return {
        "folder": str(folder),
        "page_bytes": sum(len(content) for content in site.values()),
        "network_bytes": len(network),
    }
