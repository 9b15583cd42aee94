"""The command ``stability``: how long models survive in molecular dynamics."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ekd.cli.evaluate import is_data
from ekd.cli.options import Quiet, VectorPlots, continues_by_itself

if TYPE_CHECKING:
    from ekd.dynamics import StabilityConfig

_HELP = """
Run molecular dynamics with each model until it fails, and measure the time to failure.

**Models** are the same as for `ekd evaluate`: a run (its individual teachers, their ensemble, its
student), an exported file, a checkpoint, any ASE calculator. **Structures** are all other files, in
any ASE format, and named molecules of ASE: `--molecule CH3OH`. Molecules run in ASE; periodic boxes
run in LAMMPS if the model can be exported.

**A run fails** when a bond of the starting structure breaks, atoms come too close, temperature or
potential energy exceed their limits, or a value is not finite. The limits are in the report and can
be set in `[failure]` of a TOML file.

**Results**: the median time to failure with a 95 % confidence interval for each structure,
temperature and model (Kaplan-Meier estimate: runs that do not fail are censored); with `--drift`
also the drift of the total energy at constant energy for each time step. The output folder contains
`report.html`, `summary.json`, `tables/` (CSV and LaTeX) and `plots/`.

Finished runs are stored, and reused when the command is run again, also with additional models,
temperatures or seeds.

**Examples**

    ekd stability run --molecule CH3OH -T 300 -T 1000

    ekd stability run ../other/student.pt 3bpa.xyz -T 600 --seeds 8 --duration 100

    ekd stability run/student.pt water.xyz --relax -T 300 --duration 20

    ekd stability run --molecule CH3OH --drift 0.00025 --drift 0.0005 --drift 0.001

    ekd stability stability.toml          all settings from a file, see docs/evaluation.md
"""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("stability", help=_HELP)(stability)


def stability(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL|STRUCTURE...", help="Models and structure files; or one TOML file."
        ),
    ],
    molecule: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name of a molecule in ase.build.molecule; repeatable."),
    ] = None,
    frames: Annotated[
        str,
        typer.Option(metavar="INDEX", help="Frames to use of each file, as in ASE: 0, :, ::100."),
    ] = "0",
    relax: Annotated[
        bool,
        typer.Option(
            "--relax", help="First relax each structure with the model, e.g. packed boxes."
        ),
    ] = False,
    temperature: Annotated[
        list[float] | None,
        typer.Option(
            "--temperature", "-T", metavar="K", help="Temperature; repeatable. Default: 300."
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Number of runs per structure and temperature. Default: 4."
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(metavar="PS", help="Duration of a run that does not fail. Default: 10."),
    ] = None,
    timestep: Annotated[
        float | None, typer.Option(metavar="PS", help="Time step. Default: 0.0005.")
    ] = None,
    friction: Annotated[
        float | None,
        typer.Option(metavar="1/PS", help="Friction of the Langevin thermostat. Default: 10."),
    ] = None,
    drift: Annotated[
        list[float] | None,
        typer.Option(
            metavar="PS", help="Time step of additional runs at constant energy; repeatable."
        ),
    ] = None,
    teachers: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Number of individual teachers to run. Default: all."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output folder. Default: stability.")
    ] = None,
    n_workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            help="Worker processes. Default: environment variable EKD_WORKERS, else one per core.",
        ),
    ] = None,
    vector_plots: VectorPlots = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove finished runs and start over.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Run until it fails."""
    given: dict[str, Any] = {
        "relax": relax or None,
        "temperatures": temperature or None,
        "n_seeds": seeds,
        "duration": duration,
        "timestep": timestep,
        "friction": friction,
        "n_teachers": teachers,
        "n_workers": n_workers,
        "vector_plots": vector_plots or None,
        "drift": {"timesteps": drift} if drift else None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    config = _config(what, molecule or [], frames, given)
    if output is not None:
        config = config.model_copy(update={"output": output})
    if overwrite:
        for name in ("runs", "lammps"):
            shutil.rmtree(config.output / name, ignore_errors=True)
    _run(config, quiet)


def _config(
    what: list[str], molecules: list[str], frames: str, given: dict[str, Any]
) -> StabilityConfig:
    from ekd.dynamics.stability_settings import (
        StabilityConfig,
        StructureConfig,
        load_stability_config,
    )
    from ekd.errors import ConfigError
    from ekd.evaluation.sources import parse_model

    if len(what) == 1 and what[0].endswith(".toml"):
        if molecules or (given.keys() - {"n_workers", "vector_plots"}):
            raise typer.BadParameter(f"'{what[0]}' describes everything: change it there")
        return load_stability_config(what[0]).model_copy(update=given)
    files = [Path(text) for text in what if is_data(Path(text))]
    models = [parse_model(text) for text in what if Path(text) not in files]
    structures = [StructureConfig(path=path, frames=frames) for path in files]
    structures += [StructureConfig(molecule=name) for name in molecules]
    if not models:
        raise ConfigError(
            "there is no model to run; name a run, an exported file, ...", code="EKD-CONFIG-006"
        )
    if not structures:
        absent = [text for text in what if Path(text).suffix and not Path(text).exists()]
        found = f" ('{absent[0]}' is not there)" if absent else ""
        raise ConfigError(
            f"there is no structure to start from{found}; name a file, or --molecule CH3OH",
            code="EKD-CONFIG-009",
        )
    return StabilityConfig(models=models, structures=structures, **given)


def _run(config: StabilityConfig, quiet: bool) -> None:
    from ekd.dynamics import stability as run
    from ekd.dynamics import terminal_tables

    with continues_by_itself():
        result = run(
            config.models,
            config.structures,
            output=config.output,
            config=config,
            progress=not quiet,
        )
    console = Console()
    for table in terminal_tables(result):
        console.print(table)
    console.print(f"report: {config.output / 'report.html'}", soft_wrap=True, highlight=False)
