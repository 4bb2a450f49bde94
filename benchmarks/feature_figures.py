"""The figures of docs/method.md, from two runs of one network: `react`, which learns zero points alone, and `fd`.

    python benchmarks/feature_figures.py runs/react runs/fd [--data-root DIR]

draws one layer of each run as the report does, and the entropy of every layer, into docs/figures/, and writes their
captions, with all numbers, into the page. The layer is the middle one, or the one that is named.
"""

from __future__ import annotations

import argparse
import re
from html import unescape
from pathlib import Path

from evenbit.errors import RecipeError
from evenbit.files import write_atomically
from evenbit.report import figures, svg
from evenbit.report.collect import Comparison, Measured, collect

ROOT = Path(__file__).parent.parent
PAGE, FOLDER = ROOT / "docs" / "method.md", ROOT / "docs" / "figures"
STYLE = ROOT / "src" / "evenbit" / "report" / "templates" / "style.css"
BEGIN, END = "<!-- figures: benchmarks/feature_figures.py writes what follows -->", "<!-- end of the figures -->"
PIXELS = 450  # width of a figure on a page


def draw(comparison: Comparison, layer: str | None) -> dict[str, figures.Figure]:
    """The figures by name of their file."""
    react, fd = comparison.runs
    names = list(fd.layers)
    chosen = layer or names[len(names) // 2]
    for run in comparison.runs:
        if chosen not in run.layers:
            raise RecipeError(f"no binary layer '{chosen}' in {run.folder}; there are {', '.join(run.layers)}")
    with svg.settings():
        return {
            "layer-react": figures.layer(react, chosen, "react"),
            "layer-fd": figures.layer(fd, chosen, "fd"),
            "entropy": figures.entropies(comparison, comparison.runs),
        }


def standalone(image: str) -> bytes:
    """A figure of a report as a file of its own: with a size, on paper, in the colours that a page would give it."""
    light = STYLE.read_text(encoding="utf-8").partition("}")[0]
    colours = dict(re.findall(r"(--\w+): ([^;]+);", light))
    text = re.sub(r"var\((--\w+)\)", lambda match: colours[match[1]].replace('"', "'"), image)
    paper = f'<rect width="100%" height="100%" fill="{colours["--paper"]}" />'
    return re.sub(r"^(<svg\b)([^>]*>)", rf'\1 width="{PIXELS}"\2{paper}', text).encode()


def describe(run: Measured) -> str:
    """How to make a run of that kind."""
    recipe = run.run.recipe
    return f"{recipe.model} on {recipe.data}, `{recipe.method}`, {run.run.epoch} epochs, seed {recipe.seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("react", type=Path)
    parser.add_argument("fd", type=Path)
    parser.add_argument("--data-root")
    parser.add_argument("--layer")
    parser.add_argument("--images", type=int, default=1000)
    options = parser.parse_args()
    comparison = collect((options.react, options.fd), data_root=options.data_root, images=options.images, tell=print)
    lines = [f"Measured on {comparison.observed:,} {comparison.part} images of two runs:", ""]
    lines += [f"- {run.label}: {describe(run)}; accuracy {run.evaluation.accuracy:.2f} %" for run in comparison.runs]
    for name, figure in draw(comparison, options.layer).items():
        write_atomically(FOLDER / f"{name}.svg", standalone(figure.image))
        alt = re.search(r'aria-label="([^"]*)"', figure.image)
        assert alt is not None
        lines += ["", f"![{unescape(alt[1])}](figures/{name}.svg)", "", f"*{figure.caption}*"]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    write_atomically(PAGE, "\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"]).encode())


if __name__ == "__main__":
    main()
