"""The command reference of the site: every verb of the program ``ekd``, from the program itself.

It walks the commands as the program would, so that no option can be missing, and imports nothing
that ``ekd --help`` does not.
"""

from __future__ import annotations

import enum
import re
import typing
from collections.abc import Iterator
from typing import Any

import typer

from ekd.cli import app

_HEAD = """# Command reference

Every command of the program `ekd`, with its arguments and options. `ekd COMMAND --help` shows the
same in the terminal, and `ekd --version` the version. This page is made from the program when the
site is built.

Exit status: 0, done; 1, an error, which the message explains, or a failed check; 2, the command
line is wrong; 128 and the number of a signal, the command was [interrupted](../faults.md#signals).

"""

# Verbs under headings, in the order in which they are needed. Others come last.
_GROUPS = {
    "Start": ("quickstart", "prepare", "run"),
    "Stages of a run": (
        "pool", "pretrain", "train", "label", "distill", "evaluate", "export", "md", "report",
    ),
    "Models and results": (
        "inspect", "check", "committee", "stability", "reproduce", "upgrade", "import-hippynn",
    ),
    "Installation and errors": ("doctor", "explain", "lammps", "torch"),
}  # fmt: skip


def verbs() -> dict[str, Any]:
    """All commands by their names, those of a group with its name before theirs."""
    return dict(_walk(typer.main.get_command(app), ""))


def _walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _walk(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def page() -> str:
    """The page in Markdown."""
    found = verbs()
    grouped = {
        title: [name for first in firsts for name in found if name.split()[0] == first]
        for title, firsts in _GROUPS.items()
    }
    named = {name for names in grouped.values() for name in names}
    grouped["Others"] = [name for name in found if name not in named]
    parts = [_HEAD]
    for title, names in grouped.items():
        if names:
            parts.append(f"| {title} | |\n|---|---|\n")
            parts += [f"| [`ekd {n}`](#{_anchor(n)}) | {_brief(found[n])} |\n" for n in names]
            parts.append("\n")
    for names in grouped.values():
        parts += [_section(name, found[name]) for name in names]
    return "".join(parts)


def _anchor(name: str) -> str:
    return "ekd-" + name.replace(" ", "-")


def _brief(command: Any) -> str:
    """The first sentence of a help text, for a table."""
    text = " ".join((command.help or "").strip().split("\n\n")[0].split())
    return linked(text).replace("|", "\\|")


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    words = ["ekd", name, *map(_metavar, arguments), *(["[OPTIONS]"] if options else [])]
    synopsis = " ".join(words)
    parts = [f"## ekd {name} {{ #{_anchor(name)} }}\n\n```text\n{synopsis}\n```\n"]
    parts.append(markdown(command.help or ""))
    if arguments:
        rows = [f"| `{_metavar(p)}` | {_cell(p.help)} |\n" for p in arguments]
        parts.append("| Argument | |\n|---|---|\n" + "".join(rows))
    if options:
        kinds = typing.get_type_hints(command.callback)
        rows = [
            f"| {_flags(p, kinds[p.name])} | {_default(p)} | {_cell(p.help)} |\n" for p in options
        ]
        parts.append("| Option | Default | |\n|---|---|---|\n" + "".join(rows))
    return "\n".join(parts) + "\n"


def _metavar(argument: Any) -> str:
    name = (argument.metavar or argument.name.upper()).replace("...", "")
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def _flags(option: Any, kind: Any) -> str:
    """Names of an option, and what it takes."""
    names = "`, `".join([*option.opts, *option.secondary_opts])
    return f"`{names}`" if option.is_flag else f"`{names}` `{option.metavar or _value(kind)}`"


def _value(kind: Any) -> str:
    """What stands for a value of a type; typer has no public word for it."""
    inner = [item for item in typing.get_args(kind) if item is not type(None)]
    if inner:
        return _value(inner[0])
    if issubclass(kind, enum.Enum):
        return " or ".join(_plain(value) for value in kind)
    return {"str": "TEXT", "int": "N", "float": "X"}.get(kind.__name__, kind.__name__.upper())


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if option.is_flag or option.default in (None, "", [], ()):
        return ""
    return f"`{_plain(option.default)}`"


def _cell(text: str | None) -> str:
    return linked(" ".join((text or "").split())).replace("|", "\\|")


def linked(text: str) -> str:
    """Names of pages of the documentation become links to them."""
    text = re.sub(r"(?<![\w/(])docs/(\w+)\.md", r"[\1](../\1.md)", text)
    return re.sub(r"(?<![\w/`])(examples/\w+\.toml)", r"[\1](../../\1)", text)


def markdown(text: str) -> str:
    """A help text as a page has it: the lines of an example together, names of pages as links."""
    text = text.strip("\n").replace("``", "`")
    # What the terminal shows line by line is one block here.
    block = re.compile(r"(?:^ {4,}\S.*\n(?:\s*\n(?= {4,}\S))?)+", re.MULTILINE)

    def fenced(match: re.Match[str]) -> str:
        lines = [line.strip() for line in match.group().splitlines() if line.strip()]
        return "```text\n" + "\n".join(lines) + "\n```\n"

    parts = re.split(r"(```text\n.*?```\n)", block.sub(fenced, text + "\n"), flags=re.DOTALL)
    return "".join(part if part.startswith("```") else linked(part) for part in parts)
