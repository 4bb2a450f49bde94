"""Every command in the README and the docs: blocks marked `sh` are run, page by page in a folder that holds a small
folder of photos, and this repository as `evenbit`; those marked `sh no-run` take too long or need downloads, and are
checked to be commands that exist. The Python of a page in `ONE_PROGRAM` is one program, on the others each block is.
Blocks that say which file they are from hold lines of it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nlohmann_json
import pytest

import warm
from evenbit.cli import app

ROOT = Path(__file__).parent.parent
ONE_PROGRAM = ("python.md",)
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\S+)( no-run)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXCERPT = re.compile(r"^<!-- from (\S+) -->\n```\S+(?: no-run)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[bool, str]]:
    """Whether each block of that language is to be run, and its text."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(not mark, text) for name, mark, text in found if name == language]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(run for run, _ in blocks(page, "sh") + blocks(page, "python"))],
    ids=lambda p: p.name,
)
def test_commands_run(page: Path, photos: Path) -> None:
    folders = (Path(warm.command("evenbit")).parent, Path(sys.executable).parent, os.environ["PATH"])
    path = os.pathsep.join(map(str, folders))
    header = str(Path(nlohmann_json.__file__).parent)  # where CMake finds it if the system has none
    python = warm.command("python")
    environment = {**os.environ, "PATH": path, "CMAKE_PREFIX_PATH": header, "PYTHON_EXEC": python}  # for torchrun
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    if page.name in ONE_PROGRAM:
        found = [("python", "", "\n".join(text for language, mark, text in found if language == "python" and not mark))]
    for language, mark, text in found:
        command = {"sh": ["bash", "-euc", text], "python": [python, "-c", text]}.get(language)
        if command and not mark:
            result = subprocess.run(command, cwd=photos, env=environment, capture_output=True, text=True, check=False)
            assert result.returncode == 0, f"{text}\n{result.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_other_commands_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for run, text in blocks(page, "sh"):
        for line in [] if run else text.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            if program == "evenbit":
                app.parse_args(arguments, exit_on_error=False, print_error=False)
            elif program == "make":
                assert {word for word in arguments if "=" not in word} <= set(targets), line
            else:
                assert program in ("pip", "accelerate", "cibuildwheel", "python", "python3", "."), line


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!-- from" in page.read_text("utf-8")], ids=lambda p: p.name
)
def test_excerpts_are_what_the_files_hold(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = EXCERPT.findall(text)
    assert len(found) == text.count("<!-- from")
    for file, excerpt in found:
        assert f"\n{excerpt}" in "\n" + (ROOT / file).read_text(encoding="utf-8"), f"{file} does not hold\n{excerpt}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)#]+)\)", prose):
        assert link.startswith("https://") or (page.parent / link).exists(), link
