"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ekd.interruption import Interrupted

if TYPE_CHECKING:
    from ekd.config import Config
    from ekd.pipeline.record import Existing

ConfigPath = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="TOML file; see examples/quickstart.toml.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Output folder, instead of the one in the configuration."),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume",
        help="Keep what is complete and continue what was interrupted. Without it, existing "
        "results stop the command and stay as they are.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Remove existing results of these stages and start again."),
]
KeyOf = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="WHAT=KEY",
        help="Where HDF5 or .npz has `positions`, `numbers`, `cell` or `pbc`, if under unusual "
        "names, e.g. `positions=xyz`. Once for each of them; for all files.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Read configurations alone whose KEY has this value, e.g. `config_type=liquid`. "
        "Again with the same key: one of the values; with another key: both. For all files.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
VectorPlots = Annotated[
    bool, typer.Option("--vector-plots", help="Write the plots as PDF and SVG too, for papers.")
]


def keys_of(values: list[str] | None) -> dict[str, str]:
    """What ``--key`` says, as :func:`ekd.load_dataset` takes it."""
    keys: dict[str, str] = {}
    for text in values or []:
        what, _, key = text.partition("=")
        if not what or not key or what in keys:
            raise typer.BadParameter(
                f"--key {text} is not WHAT=KEY, or given twice; expected e.g. --key positions=xyz "
                "--key numbers=charges"
            )
        keys[what] = key
    return keys


class States(StrEnum):
    """What is done with charged and open-shell configurations."""

    neutral = "neutral"
    all = "all"


StatesOption = Annotated[
    States | None,
    typer.Option(
        "--states",
        help="Charged and open-shell configurations among others: leave them out, or keep all. "
        "Default: they are an error.",
    ),
]


def where_of(values: list[str] | None) -> dict[str, list[str]]:
    """What ``--where`` says, as :func:`ekd.load_dataset` takes it."""
    where: dict[str, list[str]] = {}
    for text in values or []:
        key, separator, value = text.partition("=")
        if not key or not separator or not value:
            raise typer.BadParameter(
                f"--where {text} is not KEY=VALUE; expected e.g. --where config_type=liquid"
            )
        where.setdefault(key, []).append(value)
    return where


@contextmanager
def continues_by_itself() -> Iterator[None]:
    """For commands that need no ``--resume``: what is done is found again."""
    try:
        yield
    except KeyboardInterrupt as signalled:
        Console(stderr=True).print(f"{interrupted(signalled)}; the same command goes on from here")
        raise typer.Exit(exit_status(signalled)) from None


def interrupted(signalled: KeyboardInterrupt) -> str:
    """What has happened, in words."""
    return str(signalled) or "interrupted"


def exit_status(signalled: KeyboardInterrupt) -> int:
    """128 and the number of the signal; 130 is Ctrl-C."""
    return signalled.exit_status if isinstance(signalled, Interrupted) else 130


def existing(resume: bool, overwrite: bool) -> Existing:
    """Return what the two options say about existing results."""
    from ekd.pipeline.record import Existing

    if resume and overwrite:
        raise typer.BadParameter("--resume keeps results, --overwrite removes them: choose one")
    if resume:
        return Existing.RESUME
    return Existing.OVERWRITE if overwrite else Existing.REFUSE


def load(path: Path, output: Path | None) -> Config:
    """Read a configuration; ``output`` counts from the working directory and goes first."""
    from ekd.config import load_config

    config = load_config(path)
    return config if output is None else config.model_copy(update={"output": output.resolve()})
