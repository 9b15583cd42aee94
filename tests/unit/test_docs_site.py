"""The documentation site is complete: pages, commands, settings, public names."""

from __future__ import annotations

import re
import shlex
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

import site_api
import site_commands
import site_repository
import site_settings
from ekd.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONFIGURATION = (DOCS / "site" / "mkdocs.yml").read_text()
COMMANDS = site_commands.page()
NAVIGATION = re.findall(r"^ +- .+: (\S+\.md)$", CONFIGURATION.split("\nnav:")[1], re.MULTILINE)


def test_every_page_is_in_the_navigation() -> None:
    # docs/README.md is the list of pages for those who read them in the repository.
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    made = {"index.md", "reference/commands.md", "reference/configuration.md"}
    made |= {f"reference/python_{name}.md" for name in site_api.PAGES}
    assert len(NAVIGATION) == len(set(NAVIGATION))
    assert set(NAVIGATION) == pages | made


def test_every_page_is_in_the_list_of_the_repository() -> None:
    listed = re.findall(r"\]\(([^)#]+)\)", (DOCS / "README.md").read_text())
    assert {page for page in NAVIGATION if (DOCS / page).exists()} <= set(listed)


# ---- commands ---------------------------------------------------------------------------------


def commands(group: typing.Any, name: str = "") -> Iterator[tuple[str, typing.Any]]:
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name}{word} ")
        else:
            yield name + word, command


@pytest.mark.parametrize(("name", "command"), list(commands(typer.main.get_command(app))))
def test_every_command_is_in_the_reference(name: str, command: typing.Any) -> None:
    section = re.search(rf"^## ekd {name} \{{.*?(?=^## ekd |\Z)", COMMANDS, re.M | re.S)
    assert section is not None
    for parameter in command.params:
        for option in parameter.opts if parameter.param_type_name == "option" else ():
            assert f"`{option}`" in section.group(), option
    assert "None" not in re.sub("```.*?```", "", section.group(), flags=re.DOTALL)


def test_help_texts_become_markdown() -> None:
    text = "A ``b`` of docs/data.md.\n\n**Examples**\n\n    ekd run a\n\n    ekd run docs/data.md\n"
    assert site_commands.markdown(text) == (
        "A `b` of [data](../data.md).\n\n**Examples**\n\n"
        "```text\nekd run a\nekd run docs/data.md\n```\n"
    )


# ---- settings ---------------------------------------------------------------------------------


def fields(model: type[BaseModel], name: str = "") -> Iterator[tuple[str, str]]:
    for key, field in model.model_fields.items():
        kinds = (field.annotation, *typing.get_args(field.annotation))
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if inner:
            yield from fields(inner[0], f"{name}.{key}".lstrip("."))
        else:
            yield name, key


@pytest.mark.parametrize("root", site_settings.FILES)
def test_every_setting_is_in_the_reference(root: str) -> None:
    title, _ = site_settings.FILES[root]
    part = site_settings.page().split(f"\n## {title}\n")[1].split("\n## ")[0]
    sections = dict(re.findall(r"^### `?(.*?)`? \{.*?\}\n(.*?)(?=^### |\Z)", part, re.M | re.S))
    expected = list(fields(site_settings.model(root)))
    assert len(expected) > 10
    for name, key in expected:
        section = sections.get(f"[{name}]") or sections.get(f"[[{name}]]") or ""
        assert f"\n| `{key}` | " in (section if name else sections["Top of the file"]), (name, key)


def test_settings_show_their_own_defaults() -> None:
    """If the defaults of a section differ from those of its class, they are shown."""
    by_name = {s.name: s for s in site_settings.sections(site_settings.model("Config"))}
    defaults: dict[str, dict[str, str]] = {}
    for part in re.split(r"\n### ", site_settings.page())[1:]:
        rows = re.findall(r"\n\| `(\w+)` \| .*? \| (.*?) \| ", part)
        defaults.setdefault(part.partition("\n")[0].partition(" {")[0], dict(rows))
    assert defaults["`[model]`"]["n_sensitivities"] == "`8`"
    assert defaults["`[teachers.training]`"]["epochs"] == "`100`"
    assert defaults["`[student.training]`"]["epochs"] == "`200`"
    assert defaults["`[pretraining.training]`"]["epochs"] == "`60`"
    assert by_name["student.training"].model.__name__ == "StudentTrainingConfig"
    assert by_name["labels.teachers"].is_list
    assert by_name["pool"].is_optional
    assert not by_name["student"].is_optional


PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [page for page in PAGES if page.name != "errors.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_in_pages_exist(page: Path) -> None:
    known: dict[str, set[str]] = {}
    for root in site_settings.FILES:
        for name, key in fields(site_settings.model(root)):
            known.setdefault(name, set()).add(key)

    def check(table: dict[str, typing.Any], name: str = "") -> None:
        for key, value in table.items():
            below = f"{name}.{key}".lstrip(".")
            is_section = any(f"{section}.".startswith(f"{below}.") for section in known)
            if key in known.get(name, ()):
                continue
            assert is_section, f"{below} in {page.name}"
            for inner in value if isinstance(value, list) else [value]:
                check(inner, below)

    for block in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL):
        check(tomllib.loads(block))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_pages_exist(page: Path) -> None:
    found = dict(commands(typer.main.get_command(app)))
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ")
    for line in re.findall(r"^(?:\$ |srun )?ekd ([a-z].*)$", lines, re.MULTILINE):
        words = shlex.split(line.split("  ")[0], comments=True)
        name = next((n for n in (" ".join(words[:2]), words[0]) if n in found), None)
        assert name is not None, f"ekd {line}"
        options = {option for p in found[name].params for option in p.opts}
        options |= {option for p in found[name].params for option in p.secondary_opts}
        given = {word.split("=")[0] for word in words if re.match("--?[a-zA-Z]", word)}
        assert given <= options | {"--help"}, f"ekd {line}"


# ---- Python -----------------------------------------------------------------------------------


def test_every_public_name_is_in_the_reference() -> None:
    assert not site_api.missing(), "give these a page in docs/site/site_api.py"
    shown = [name for _, _, names in site_api.PAGES.values() for name in names]
    assert len(shown) == len(set(shown))
    for page in site_api.PAGES:
        for name in site_api.PAGES[page][2]:
            assert f"::: ekd.{name}\n" in site_api.page(page)


# ---- links ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("home", "page", "link", "expected"),
    [
        ("README.md", "index.md", "docs/data.md#splits", "data.md#splits"),
        ("README.md", "index.md", "docs/parity.png", "parity.png"),
        ("README.md", "index.md", "examples/", "repository/examples/index.md"),
        ("docs/tutorials/gpus.md", "tutorials/gpus.md", "../devices.md", "../devices.md"),
        ("docs/tutorials/gpus.md", "tutorials/gpus.md", "../README.md", "../index.md"),
        ("docs/data.md", "data.md", "../examples/in.water", "repository/examples/in.water.md"),
        ("docs/data.md", "data.md", "https://ase-lib.org", "https://ase-lib.org"),
        ("docs/data.md", "data.md", "#splits", "#splits"),
        ("docs/data.md", "data.md", "absent.md", "absent.md"),
    ],
)
def test_links_are_moved(home: str, page: str, link: str, expected: str) -> None:
    linked: set[str] = set()
    moved = site_repository.with_links(f"[a]({link})", home, page, linked)
    assert moved == f"[a]({expected})"
    assert bool(linked) == expected.startswith("repository/")


@pytest.mark.parametrize("target", ["examples", "examples/c", "examples/in.water", "benchmarks"])
def test_files_of_the_repository_are_shown(target: str) -> None:
    text, home = site_repository.content_of(target)
    assert text.startswith("# ")
    assert (ROOT / home).parent.is_dir()
