"""What the docs' site needs beyond its pages, as MkDocs hooks.

The pages in docs/ are read in the repository as well, where they link to its files. The site has a page for each file
and folder that is linked to, so that these links work there too. Code blocks are marked for the tests, as in
`sh no-run`; the marks are taken off. The page that classifies photos lies in demo/.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from evenbit import plan_file, pretrained
from evenbit.export import EXPORTERS

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(([^()\s#]+)((?:#[^()\s]*)?)\)")
MARK = re.compile(r"^(```\w+) (?:no-run|device)$", re.MULTILINE)
LANGUAGES = {".py": "python", ".toml": "toml", ".c": "c", ".h": "c", ".cc": "cpp", ".json": "json"}
LARGEST = 200_000  # bytes of a file that is shown


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each file and folder of the repository that a page links to, and those in such a folder."""
    todo = [
        path
        for page in files.documentation_pages()
        for link, _ in LINK.findall(page.content_string)
        if (path := _outside(link, page.src_uri)) is not None
    ]
    while todo:
        path = todo.pop()
        uri = _uri(path)
        if uri in files.src_uris:
            continue
        if path.is_dir():
            children = [child for child in sorted(path.iterdir()) if _is_shown(child)]
            todo += children
            content = _folder_page(path, children, uri)
        else:
            content = _file_page(path)
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links to files of the repository to their pages, and takes the marks off code blocks."""
    if page.file.generated_by:
        return markdown

    def repoint(match: re.Match[str]) -> str:
        path = _outside(match[1], page.file.src_uri)
        return match[0] if path is None else f"]({_relative(_uri(path), page.file.src_uri)})"

    return MARK.sub(r"\1", LINK.sub(repoint, markdown))


def on_post_build(config: MkDocsConfig) -> None:
    """Adds the web page of the network that comes with evenbit."""
    EXPORTERS["web"](plan_file.load(pretrained.NETWORK), Path(config.site_dir) / "demo")


def _outside(link: str, page: str) -> Path | None:
    """The file or folder of the repository, not below docs/, that a page's link leads to; None for other links."""
    path = Path(os.path.normpath(ROOT / "docs" / posixpath.dirname(page) / link))
    inside = path.is_relative_to(ROOT / "docs") or not path.is_relative_to(ROOT)
    return None if inside or ":" in link or not path.exists() else path


def _uri(path: Path) -> str:
    """Where the page of a file or folder lies on the site."""
    name = path.relative_to(ROOT).as_posix()
    return f"source/{name}/index.md" if path.is_dir() else f"source/{name}.md"


def _relative(uri: str, page: str) -> str:
    return posixpath.relpath(uri, posixpath.dirname(page) or ".")


def _is_shown(path: Path) -> bool:
    """Whether it is a folder or a small file of text, and not something that a tool has left there."""
    if path.name.startswith((".", "__")) or path.is_symlink():
        return False
    return path.is_dir() or (path.stat().st_size <= LARGEST and b"\0" not in path.read_bytes())


def _folder_page(path: Path, children: list[Path], uri: str) -> str:
    rows = [f"- [{child.name}]({_relative(_uri(child), uri)})" for child in children]
    return _page(path, "\n".join(rows))


def _file_page(path: Path) -> str:
    language = "make" if path.name == "Makefile" else LANGUAGES.get(path.suffix, "text")
    return _page(path, f"~~~~ {language}\n{path.read_text(encoding='utf-8')}\n~~~~")


def _page(path: Path, body: str) -> str:
    name = path.relative_to(ROOT).as_posix()
    return f"---\ntitle: {name}\nsearch:\n  exclude: true\n---\n\n# {name}\n\n{body}\n"
