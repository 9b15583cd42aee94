"""Base class of all sections: strict about keys and types, with readable errors."""

from __future__ import annotations

import difflib
import typing
from datetime import date, time
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ekd.errors import ConfigError


def _without_null(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError(f"{str(path)!r} holds a null character, which file names cannot have")
    return path


FilePath = Annotated[Path, Field(strict=False), AfterValidator(_without_null)]
"""A path, which TOML can only give as a string."""


Range = Annotated[tuple[float, float], Field(strict=False)]
"""Lower and upper bound, which TOML can only give as a list."""


Workers = Annotated[
    int | None,
    Field(
        ge=1,
        description="worker processes; default: environment variable EKD_WORKERS, else one per "
        "core",
    ),
]
"""Number of worker processes."""


VectorPlots = Annotated[
    bool, Field(description="write the plots in `plots/` as PDF and SVG too, for papers")
]
"""Whether plots are also written in formats for papers."""


def _recordable(arguments: dict[str, Any]) -> dict[str, Any]:
    waiting = list(arguments.items())
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, date | time) or (isinstance(value, float) and not isfinite(value)):
            raise ValueError(
                f"{key} = {value}: dates and numbers that are not finite cannot be recorded in the "
                "output folder; give a text or a finite number"
            )
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list | tuple):
            waiting += ((key, entry) for entry in value)
    return arguments


Arguments = Annotated[dict[str, Any], AfterValidator(_recordable)]
"""Keyword arguments of a calculator."""


class Section(BaseModel):
    """A section of the configuration: immutable, and strict about its keys and types.

    Raises:
        ConfigError: an unknown key, a wrong type or an impossible value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(explain_all(error, type(self)), code="EKD-CONFIG-004") from None

    # Without this attribute pydantic would also call __init__ for each nested section, and the
    # first invalid section would hide the problems of the others.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


def explain_all(error: ValidationError, root: type[Section]) -> str:
    """Explain all problems, one per line; a single problem without a list."""
    problems = [_explain(problem, nested_sections(root)) for problem in error.errors()]
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"{len(problems)} problems", *problems])


def _explain(problem: Any, sections: dict[str, type[Section]]) -> str:
    name = ".".join(map(str, problem["loc"]))
    # Indices in lists of tables are not keys: the list has the description of its tables.
    section = ".".join(part for part in problem["loc"][:-1] if isinstance(part, str))
    key = str(problem["loc"][-1]) if problem["loc"] else ""
    found, message = problem["input"], problem["msg"]
    if problem["type"] == "extra_forbidden":
        known = list(sections[section].model_fields)
        homes = [home for home, model in sections.items() if key in model.model_fields and home]
        if homes:
            return f"unknown key '{name}': '{key}' belongs in [{'] or ['.join(homes)}]"
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"unknown key '{name}': {hint}known here: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"'{name}' is required; add {f'[{name}]' if name in sections else f'{key} = ...'}"
    if problem["type"] == "value_error":  # raised by one of our validators
        message = str(problem["ctx"]["error"])
        return f"[{name}]: {message}" if name else message
    if problem["type"] == "list_type" and name in sections:
        return f"'{name}' = {found!r}: expected sections, each written [[{name}]]"
    if name in sections:
        return f"'{name}' = {found!r}: expected a section, written [{name}]"
    if problem["type"] == "path_type":
        message = "expected a path in quotes"
    return f"'{name}' = {found!r}: {message[0].lower()}{message[1:]}"


def nested_sections(root: type[Section], name: str = "") -> dict[str, type[Section]]:
    """Return ``root`` and all nested sections by dotted name; the name of ``root`` is empty."""
    found = {name: root}
    for key, field in root.model_fields.items():
        for kind in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                found |= nested_sections(kind, f"{name}.{key}".lstrip("."))
    return found
