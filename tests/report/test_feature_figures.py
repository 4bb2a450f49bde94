from __future__ import annotations

import importlib.util
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

from evenbit.errors import RecipeError

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "method.md"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`benchmarks/feature_figures.py`, which writes into an empty folder here and into a page of its own."""
    spec = importlib.util.spec_from_file_location("feature_figures", ROOT / "benchmarks" / "feature_figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(module, "FOLDER", tmp_path / "figures")
    (tmp_path / "figures").mkdir()
    module.PAGE.write_text(f"before\n{module.BEGIN}\nold\n{module.END}\nafter\n", encoding="utf-8")
    return module


def test_figures_and_captions(script: ModuleType, runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["feature_figures.py", str(runs[1]), str(runs[2]), "--images", "50"]
    monkeypatch.setattr(sys, "argv", command)
    script.main()
    text = script.PAGE.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{script.BEGIN}\n")
    assert text.endswith(f"{script.END}\nafter\n")
    assert "old" not in text
    assert "- react: resnet8 on digits, `react`, 2 epochs, seed 5; accuracy" in text
    assert re.findall(r"\(figures/(\S+)\)", text) == ["layer-react.svg", "layer-fd.svg", "entropy.svg"]
    for path in script.FOLDER.iterdir():
        drawing = path.read_text(encoding="utf-8")
        assert ET.fromstring(drawing).attrib["width"] == "450"
        assert "var(" not in drawing  # the colours of the report's page

    monkeypatch.setattr(sys, "argv", [*command, "--layer", "stem"])
    with pytest.raises(RecipeError, match=r"no binary layer 'stem' in .*; there are stage1"):
        script.main()


def test_figures_of_the_docs_are_small_and_described() -> None:
    pictures = re.findall(r"!\[([^\]]*)\]\((figures/\S+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(pictures) == 3
    for alt, path in pictures:
        assert len(alt) > 50
        assert (PAGE.parent / path).stat().st_size < 150_000
