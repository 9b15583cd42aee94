"""The command ``reproduce``: run stages again and compare the results."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ekd.cli.options import Quiet
from ekd.pipeline.order import STAGES


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("reproduce")(reproduce)


def reproduce(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Output folder of a run, with manifest.json.")
    ],
    stages: Annotated[
        str | None,
        typer.Option(
            "--stages",
            metavar="STAGE,...",
            help=f"Stages to run again, out of {', '.join(STAGES)}. Default: all complete stages. "
            "Results of other stages that they need are taken from DIR.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for the new results. Default: a temporary folder."
        ),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep the new results even if they are equal to those in DIR."),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted reproduction in --output."),
    ] = False,
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", help="Folder with the input files, if they have moved."),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Maximum relative deviation between equal results."),
    ] = 1e-6,
    quiet: Quiet = False,
) -> None:
    """Run the stages of an output folder again, and compare the results.

    The inputs must be the same files as in the run; their checksums are in `manifest.json`. The
    command first shows how the environment differs from that of the run: versions, processor,
    threads. With the same versions on the same processor all results are bitwise equal.

    Exit status 0: all results are equal, bitwise or within the tolerance. 1: some are different, or
    the stages could not run. Details: docs/reproducibility.md.

    **Examples**

        ekd reproduce run

        ekd reproduce run --stages distill,export --output again --keep
    """
    from ekd.pipeline.content import Verdict
    from ekd.pipeline.reproduction import Reproduction, counts_table, deviations_table

    if resume and output is None:
        raise typer.BadParameter("--resume needs --output, the folder of the interrupted run")
    if not tolerance >= 0:
        raise typer.BadParameter(f"--tolerance is {tolerance}; expected zero or more")
    console = Console(highlight=False, soft_wrap=True)
    chosen = None if stages is None else [name.strip() for name in stages.split(",")]
    reproduction = Reproduction(folder, chosen, inputs)
    _show_environment(console, reproduction.environment_differences())
    console.print(f"running again: {', '.join(reproduction.stages)}")
    place = output or Path(tempfile.mkdtemp(prefix="ekd-reproduce-"))
    finished = False
    try:
        reproduction.run(place, resume, progress=not quiet)
        found = reproduction.compare(place, tolerance)
        finished = True
    finally:
        if not finished and output is None and not keep:
            shutil.rmtree(place, ignore_errors=True)
    tables = Console(highlight=False)
    tables.print(counts_table(found))
    if (deviations := deviations_table(found)) is not None:
        tables.print(deviations)
    equal = all(one.comparison.passed for one in found)
    bitwise = all(one.comparison.verdict is Verdict.EQUAL for one in found)
    if bitwise:
        console.print(f"all {len(found)} results are bitwise equal")
    elif equal:
        console.print(f"all {len(found)} results are equal within the tolerance of {tolerance:g}")
    else:
        n_different = sum(not one.comparison.passed for one in found)
        console.print(f"{n_different} of {len(found)} results are different")
    if equal and not keep and output is None:
        shutil.rmtree(place)
    else:
        console.print(f"new results: {escape(str(place))}")
    if not equal:
        raise typer.Exit(1)


def _show_environment(console: Console, differences: list[tuple[str, str, str]]) -> None:
    if not differences:
        console.print("environment: the same as that of the run")
        return
    table = Table(title="The environment differs", title_justify="left")
    for heading in ("", "of the run", "now"):
        table.add_column(heading, overflow="fold")
    for difference in differences:
        table.add_row(*map(escape, difference))
    Console(highlight=False).print(table)
