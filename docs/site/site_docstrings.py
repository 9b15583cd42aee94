"""Docstrings as the site shows them: roles of Sphinx become links to entries, or code."""

from __future__ import annotations

import re
from typing import Any

import griffe

import ekd

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?([^`]+)`")


class Roles(griffe.Extension):
    """Rewrites every docstring of the package."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """All objects, when the package has been read."""
        for item in _objects(pkg):
            if item.docstring is not None:
                item.docstring.value = plain(item.docstring.value)


def _objects(item: Any) -> Any:
    yield item
    for member in item.members.values():
        if not member.is_alias:
            yield from _objects(member)


def plain(text: str) -> str:
    """A docstring without marks that are meant for other programs."""
    text = re.sub(r" *# doctest: \+\w+", "", _ROLE.sub(_code, text))
    return re.sub(r"::$", ":", text, flags=re.MULTILINE)


def _code(match: re.Match[str]) -> str:
    name = match.group(1).removeprefix("ekd.")
    if name.split(".")[0] in ekd.__all__:
        return f"[`ekd.{name}`][ekd.{name}]"
    return f"`{match.group(1)}`"
