"""Options shared by several commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ekd import interruption

if TYPE_CHECKING:
    from ekd.config import Config
    from ekd.pipeline.record import Existing

ConfigPath = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="TOML file; see examples/quickstart.toml.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Output folder; overrides that of the configuration."),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume",
        help="Keep complete results and continue interrupted ones. Otherwise, existing results are "
        "an error and do not change.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Remove existing results of these stages and start over."),
]
KeyOf = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="WHAT=KEY",
        help="Nonstandard key of `positions`, `numbers`, `cell` or `pbc` in HDF5 and .npz files, "
        "e.g. `positions=xyz`. Repeatable; applies to all files.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Read only configurations whose KEY has this value, e.g. `config_type=liquid`. If "
        "repeated, values of the same key are alternatives, and different keys must all match. "
        "Applies to all files.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bars.")]
VectorPlots = Annotated[
    bool, typer.Option("--vector-plots", help="Write the plots as PDF and SVG too, for papers.")
]


def keys_of(values: list[str] | None) -> dict[str, str]:
    """Parse ``--key`` into the argument ``keys`` of :func:`ekd.load_dataset`."""
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
    """Treatment of charged and open-shell configurations."""

    neutral = "neutral"
    all = "all"


StatesOption = Annotated[
    States | None,
    typer.Option(
        "--states",
        help="Treatment of charged and open-shell configurations in mixed data: omit them, or keep "
        "all. Default: an error.",
    ),
]


def where_of(values: list[str] | None) -> dict[str, list[str]]:
    """Parse ``--where`` into the argument ``where`` of :func:`ekd.load_dataset`."""
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
    """Explain interruptions of commands that continue without ``--resume``."""
    try:
        yield
    except KeyboardInterrupt as signalled:
        text = interruption.describe(signalled)
        Console(stderr=True).print(f"{text}; run the same command to continue")
        raise typer.Exit(interruption.exit_status(signalled)) from None


def existing(resume: bool, overwrite: bool) -> Existing:
    """Return the treatment of existing results that the two options select."""
    from ekd.pipeline.record import Existing

    if resume and overwrite:
        raise typer.BadParameter("--resume keeps results, --overwrite removes them: choose one")
    if resume:
        return Existing.RESUME
    return Existing.OVERWRITE if overwrite else Existing.REFUSE


def load(path: Path, output: Path | None) -> Config:
    """Read a configuration; ``output``, relative to the working directory, overrides its own."""
    from ekd.config import load_config

    config = load_config(path)
    return config if output is None else config.model_copy(update={"output": output.resolve()})
