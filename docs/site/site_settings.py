"""The configuration reference of the site: every key of every TOML file, from the models of ekd.

Models are found by their names, wherever they are defined, and read without torch: so the site can
be built where ekd is not compiled.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import ekd
from site_commands import linked

_HEAD = """# Configuration reference

Every section and key of the TOML files that `ekd` reads, with types, defaults and bounds. Lengths
are in Å, energies in eV, times in ps. Paths are relative to the folder of the file. An unknown key
is an error that names the nearest known one. A run writes all its settings, defaults included, to
`config.resolved.toml` in its output folder.

[examples/quickstart.toml](../../examples/quickstart.toml) is a commented file for a usual run. In
Python, sections are the classes that are named below, with the same fields. This page is made from
them when the site is built.

"""

FILES = {
    "Config": (
        "A run",
        "The file of [`ekd run`](commands.md#ekd-run) and of its stages. Only `[data]` is "
        "required. With a section `[pretraining]` some [defaults of "
        "training](../pretraining.md#settings) are different.",
    ),
    "EvaluationConfig": (
        "An evaluation",
        "The file of [`ekd evaluate`](commands.md#ekd-evaluate), explained in "
        "[evaluation](../evaluation.md#scans).",
    ),
    "StabilityConfig": (
        "A test of stability",
        "The file of [`ekd stability`](commands.md#ekd-stability), explained in "
        "[evaluation](../evaluation.md#stability).",
    ),
}
"""Model of a file: title and text of its part of the page."""


class SectionOf(NamedTuple):
    """A section of a file.

    Attributes:
        name: dotted; empty for the keys at the top of the file.
        model: its model.
        values: defaults of this section where they differ from those of its model.
        is_list: whether it is written ``[[name]]``.
        is_optional: whether it may be left out, and then does nothing.
    """

    name: str
    model: type[BaseModel]
    values: BaseModel | None
    is_list: bool
    is_optional: bool


@cache
def model(name: str) -> type[BaseModel]:
    """A model by its name, wherever in the package it is."""
    package = Path(typing.cast(str, ekd.__file__)).parent
    definition = re.compile(rf"^class {name}\(", re.MULTILINE)
    homes = [path for path in sorted(package.rglob("*.py")) if definition.search(path.read_text())]
    if len(homes) != 1:
        raise LookupError(f"class {name} is defined in {len(homes)} modules of ekd, expected 1")
    parts = ["ekd", *homes[0].relative_to(package).with_suffix("").parts]
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    try:
        return typing.cast("type[BaseModel]", getattr(importlib.import_module(module), name))
    except ImportError:  # without torch, or without the compiled libraries
        _pass_over_packages(module)
        return typing.cast("type[BaseModel]", getattr(importlib.import_module(module), name))


def _pass_over_packages(module: str) -> None:
    """Let a module of settings be imported without the rest of its package, which needs torch."""
    for package in ("ekd.evaluation", "ekd.dynamics", module.rpartition(".")[0]):
        found = None if package in sys.modules else importlib.util.find_spec(package)
        if found is not None and found.submodule_search_locations:
            empty = types.ModuleType(package)
            empty.__path__ = list(found.submodule_search_locations)
            sys.modules[package] = empty


def sections(root: type[BaseModel]) -> list[SectionOf]:
    """All sections of a file, the top first."""
    return list(_sections(root, SectionOf("", root, None, False, False)))


def _sections(root: type[BaseModel], here: SectionOf) -> Iterator[SectionOf]:
    yield here
    for key, field in here.model.model_fields.items():
        inner = _model_in(field)
        if inner is not None:
            values = _value(here, key, field)
            yield from _sections(
                root,
                SectionOf(
                    name=f"{here.name}.{key}".lstrip("."),
                    model=inner,
                    values=values if isinstance(values, BaseModel) else None,
                    is_list=typing.get_origin(field.annotation) is list,
                    is_optional=values is None,
                ),
            )


def _model_in(field: FieldInfo) -> type[BaseModel] | None:
    for kind in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _value(section: SectionOf, key: str, field: FieldInfo) -> Any:
    """The default of a key in this section."""
    return field.get_default() if section.values is None else getattr(section.values, key)


def page() -> str:
    """The page in Markdown."""
    parts = [_HEAD]
    for name, (title, text) in FILES.items():
        parts.append(f"## {title}\n\n{text}\n\n")
        parts += [_section(section, title) for section in sections(model(name))]
    return "".join(parts)


def heading(section: SectionOf) -> str:
    """What a section is called in its file."""
    if not section.name:
        return "Top of the file"
    return f"[[{section.name}]]" if section.is_list else f"[{section.name}]"


def _section(section: SectionOf, title: str) -> str:
    name = section.model.__name__
    anchor = f"{title}-{section.name or 'top'}".lower().replace(" ", "-")
    shown = f"`{heading(section)}`" if section.name else heading(section)
    known = f"[`ekd.{name}`][ekd.{name}]" if name in ekd.__all__ else f"`{name}`"
    text = re.sub(r"\s+", " ", (section.model.__doc__ or "").strip().split("\n\n")[0])
    text = linked(text.replace("``", "`"))
    optional = " Without this section, nothing of it is done." if section.is_optional else ""
    rows = "".join(
        _row(section, key, field)
        for key, field in section.model.model_fields.items()
        if _model_in(field) is None
    )
    table = f"| Key | Type | Default | Meaning |\n|---|---|---|---|\n{rows}\n" if rows else ""
    return f"### {shown} {{ #{anchor} }}\n\n{text}{optional} In Python: {known}.\n\n{table}"


def _row(section: SectionOf, key: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else _shown(_value(section, key, field))
    text = re.sub(r"\s+", " ", field.description or "")
    text = text.replace("None:", "default:")  # TOML has no None: it is a key that is left out
    meaning = linked(text).replace("|", "\\|")
    return f"| `{key}` | {_kind(field)} | {default} | {meaning} |\n"


def _shown(value: Any) -> str:
    """A default as TOML would have it; nothing for None, which TOML cannot say."""
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (str, Path)):
        return f'`"{value}"`'
    if isinstance(value, (list, tuple)):
        return f"`[{', '.join(_shown(item).strip('`') for item in value)}]`"
    if isinstance(value, dict):
        inside = ", ".join(f"{key} = {_shown(item).strip('`')}" for key, item in value.items())
        return f"`{{{inside}}}`"
    return f"`{value}`"


_NAMES = {
    str: "string", int: "integer", float: "number", bool: "boolean", Path: "path",
    Any: "value",
}  # fmt: skip
_BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def _kind(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(item, name):g}"
        for item in field.metadata
        for name, sign in _BOUNDS.items()
        if isinstance(getattr(item, name, None), (int, float))
    ]
    return ", ".join([_type(field.annotation), *bounds])


def _type(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return " or ".join(_shown(value) for value in inner)
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin in (typing.Union, types.UnionType):
        if {str, int, float, bool} <= set(inner):
            return " or ".join(["value", *(_type(k) for k in inner if typing.get_origin(k))])
        return " or ".join(_type(item) for item in inner if item is not type(None))
    if origin in (list, tuple):
        items = dict.fromkeys(_type(item) for item in inner if item is not Ellipsis)
        number = f"{len(inner)} " if origin is tuple else ""
        return f"list of {number}{_plural(' or '.join(items))}"
    if origin is dict:
        return f"table of {_plural(_type(inner[1]))}"
    return _NAMES.get(kind, getattr(kind, "__name__", str(kind)))


def _plural(text: str) -> str:
    words = text.split(" or ")
    return " or ".join(f"{word}s" if word in _NAMES.values() else word for word in words)
