"""What MkDocs does beside turning ``docs/*.md`` into pages: the front page, references, links.

None of these pages is a file in docs: the front page is README.md, the references are made from the
package, and files of the repository that pages link to are shown as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import site_api
import site_commands
import site_repository
import site_settings

_homes: dict[str, str] = {}  # page: the file of the repository that it is made from


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are no files in docs."""
    _homes.clear()
    script = (Path(__file__).parent / "iframe-worker.js").read_text(encoding="utf-8")
    files.append(File.generated(config, "assets/iframe-worker.js", content=script))
    readme = (site_repository.ROOT / "README.md").read_text(encoding="utf-8")
    _add(files, config, "index.md", readme, "README.md")
    _add(files, config, "reference/commands.md", site_commands.page())
    _add(files, config, "reference/configuration.md", site_settings.page())
    for name in site_api.PAGES:
        _add(files, config, f"reference/python_{name}.md", site_api.page(name))

    # Files that are linked to may link to others.
    linked: set[str] = set()
    for file in files.documentation_pages():
        home = _homes.get(file.src_uri, f"docs/{file.src_uri}")
        site_repository.with_links(file.content_string, home, file.src_uri, linked)
    shown: set[str] = set()
    while waiting := linked - shown:
        for target in sorted(waiting):
            page = site_repository.page_of(target)
            text, home = site_repository.content_of(target)
            shown.add(target)
            if page not in _homes:
                _add(files, config, page, text, home)
                site_repository.with_links(text, home, page, linked)
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Let links hold on the site."""
    home = _homes.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return site_repository.with_links(markdown, home, page.file.src_uri, set())


def _add(files: Files, config: Any, page: str, text: str, home: str | None = None) -> None:
    _homes[page] = home or f"docs/{page}"
    files.append(File.generated(config, page, content=text))
