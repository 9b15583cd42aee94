"""Files of the repository that the documentation links to, as pages of the site.

The pages in ``docs`` are read in the repository as well, where a link to ``../examples/in.water``
is one to the file. On the site it leads to a page that shows the file.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = "repository"
"""Where these pages are on the site."""

_LINK = re.compile(r"(?<=\]\()(?!https?://|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
_LANGUAGES = {
    ".toml": "toml", ".py": "python", ".c": "c", ".sh": "sh", ".slurm": "sh", ".txt": "cmake",
}  # fmt: skip


def with_links(text: str, home: str, page: str, linked: set[str]) -> str:
    """A page with links that hold on the site.

    Args:
        text: the page in Markdown.
        home: the file that it is made from, relative to the repository.
        page: the page, relative to ``docs``.
        linked: files and folders of the repository that are linked to; they are added here.
    """

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(home), match.group(1)))
        if target.startswith("docs/reference/"):
            place = target.removeprefix("docs/")
        elif not (ROOT / target).exists():
            return match.group()  # MkDocs says so
        elif target.startswith("docs/") and target != "docs/README.md":
            place = target.removeprefix("docs/")
        elif target in ("README.md", "docs/README.md"):
            place = "index.md"
        else:
            linked.add(target)
            place = page_of(target)
        return posixpath.relpath(place, posixpath.dirname(page) or ".") + (match.group(2) or "")

    return _LINK.sub(moved, text)


def page_of(target: str) -> str:
    """The page of a file or folder of the repository."""
    path = ROOT / target
    if path.is_dir():
        return f"{FOLDER}/{target}/README.md".replace("README.md", "index.md")
    if path.name == "README.md":
        return f"{FOLDER}/{posixpath.dirname(target)}/index.md"
    return f"{FOLDER}/{target}.md"


def content_of(target: str) -> tuple[str, str]:
    """The text of its page, and the file that links in it are relative to."""
    path = ROOT / target
    if path.is_dir() and (path / "README.md").exists():
        path, target = path / "README.md", f"{target}/README.md"
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.is_file()]
        shown = "".join(f"## {file.name}\n\n{_code(file)}\n" for file in files)
        return f"# {target}\n\n{shown}", f"{target}/README.md"
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8"), target
    return f"# {target}\n\n{_code(path)}", target


def _code(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return f"A binary file of {file.stat().st_size:,} bytes.\n"
    fence = "`" * (3 + max((len(run) for run in re.findall("`{3,}", text)), default=0))
    return f"{fence}{_LANGUAGES.get(file.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"
