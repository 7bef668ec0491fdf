"""What the site takes from outside of `docs/`: the README as its first page, and every file of the repository that a
page links to (measured figures, lists, settings). They stay where people and scripts look for them; links are set right
here.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
HOME = {"README.md": "index.md"}
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and files from outside, and what those link to."""
    waiting = ["README.md", *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            files.append(File.generated(config, _place(path), abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            linked = {target for target in _targets(path) if target not in seen and (ROOT / target).is_file()}
            waiting += sorted(linked)
            seen |= linked
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as the site has its files."""
    path = _source(page.file.src_uri)

    def set_right(link: re.Match[str]) -> str:
        target = _resolved(path, link[2])
        if target is None or not (ROOT / target).exists():
            return link[0]  # MkDocs tells what leads nowhere
        place = posixpath.relpath(_place(target), posixpath.dirname(page.file.src_uri) or ".")
        return f"{link[1]}{place}{link[3]}"

    return LINK.sub(set_right, markdown)


def _targets(path: str) -> list[str]:
    """The repository's files that a page links to."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return [target for link in LINK.finditer(text) if (target := _resolved(path, link[2])) is not None]


def _resolved(path: str, target: str) -> str | None:
    """A link's target as a path of the repository; None for an address elsewhere."""
    if "://" in target or target.startswith("mailto:"):
        return None
    found = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return None if found.startswith("..") else found


def _place(path: str) -> str:
    """Where the site has a file of the repository."""
    return HOME.get(path, path.removeprefix("docs/"))


def _source(place: str) -> str:
    """Where the repository has a page of the site."""
    back = {site: path for path, site in HOME.items()}
    if place in back:
        return back[place]
    return f"docs/{place}" if (ROOT / "docs" / place).is_file() else place
