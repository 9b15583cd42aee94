"""The command ``evaluate``: compare models on any data, or run the stage of a pipeline."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from ekd.cli.execution import execute
from ekd.cli.options import (
    KeyOf,
    Overwrite,
    Quiet,
    Resume,
    StatesOption,
    VectorPlots,
    Where,
    continues_by_itself,
    existing,
    keys_of,
    load,
    where_of,
)

if TYPE_CHECKING:
    from ekd.evaluation.evaluation_settings import EvaluationConfig, SetConfig

_HELP = """
Compare models with true energies and forces, and with each other.

**Models**, one or several, each as `MODEL` or `NAME=MODEL`:

* the output folder of a run: its teachers, their ensemble, and its student;

* an exported file, `student.pt`; a checkpoint, or a folder of checkpoints, `member-0/`, ...;

* any ASE calculator, `module:Class` or `"module:Class(key=value)"`.

**Data** are all other files, in any format that ekd reads; by default, the test and far sets of the
run. COMP6 files can be read without conversion, and get one row each. Force errors are computed if
`--forces` is given.

**Results**: tables in the terminal; in the output folder, a self-contained `report.html`,
`summary.json`, `tables/` (CSV and LaTeX) and `plots/`. They contain errors of total, per-atom and
conformer energies and of forces: mean, root mean square, quantiles and maximum; for all
configurations and for those within 100 kcal/mol of the lowest conformer; by element and by group.
For ensembles and committees, they also show how well the spread predicts the error. Predictions
are stored, and reused when the command is run again or with additional models.

**Torsions, dimers and other scans**, and models with long arguments, are described in a TOML file
with sections `[[models]]`, `[[sets]]` and `[[curves]]`: docs/evaluation.md.

If the only argument is the configuration of a run, this runs the stage of the pipeline, which
requires `ekd distill` and writes `evaluation/` in the output folder of the run.

**Examples**

    ekd evaluate run

    ekd evaluate run-a run-b test.h5 --energy "ccsd(t)_cbs.energy"

    ekd evaluate run xtb=tblite.ase:TBLite test.xyz --energy energy --forces forces

    ekd evaluate run comp6/*.h5 --forces forces --gradients --units kcal/mol

    ekd evaluate evaluation.toml          models, data and scans from a file

    ekd evaluate config.toml --resume     the stage of a run

To measure how long molecules survive in MD, use `ekd stability`.
"""


class EnergyUnits(StrEnum):
    """Energy units of tables and plots."""

    mev = "meV"
    kcal = "kcal/mol"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("evaluate", help=_HELP)(evaluate)


_Energy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY", help="Key of the energy; give it once for all files, or once for each."
    ),
]
_Forces = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY",
        help="Key of the forces; give it once for all files, or once for each. Default: only "
        "energies.",
    ),
]
_EnergyUnit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="UNIT",
        help="Unit of the energy: eV, Hartree, kcal/mol, ...; give it once for all files, or once "
        "for each.",
    ),
]
_Level = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="Level of theory of the labels, if the files do not state it."
    ),
]
_SameLevel = Annotated[
    bool,
    typer.Option(
        "--same-level",
        help="Treat differently named levels of theory of models and labels as the same, and "
        "compare their total energies.",
    ),
]


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL|DATA...", help="Models and data files; or one TOML file."),
    ],
    energy: _Energy = None,
    forces: _Forces = None,
    energy_unit: _EnergyUnit = None,
    key: KeyOf = None,
    where: Where = None,
    states: StatesOption = None,
    gradients: Annotated[
        bool,
        typer.Option("--gradients", help="The forces are gradients (COMP6): change their sign."),
    ] = False,
    level: _Level = None,
    same_level: _SameLevel = False,
    window: Annotated[
        list[float] | None,
        typer.Option(
            metavar="KCAL/MOL",
            help="Also show errors of configurations within this energy above the lowest "
            "conformer; repeatable. Default: 100.",
        ),
    ] = None,
    units: Annotated[
        EnergyUnits, typer.Option(help="Energy unit of tables and plots.")
    ] = EnergyUnits.mev,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Output folder. Default: evaluation."),
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
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Compare models with data."""
    from ekd.evaluation.evaluation_settings import is_evaluation, load_evaluation_config

    if len(models) == 1 and models[0].endswith(".toml"):
        path = Path(models[0])
        given = {
            "--energy": energy,
            "--forces": forces,
            "--key": key,
            "--where": where,
            "--states": states,
            "--level": level,
            "--window": window,
        }
        if wrong := [name for name, value in given.items() if value]:
            raise typer.BadParameter(
                f"{wrong[0]} belongs to data files; '{path}' describes its own"
            )
        if not is_evaluation(path):
            execute(load(path, output), existing(resume, overwrite), quiet, ["evaluate"])
            return
        config = load_evaluation_config(path)
        if output is not None:
            config = config.model_copy(update={"output": output})
    else:
        files = [Path(text) for text in models if is_data(Path(text))]
        models = [text for text in models if Path(text) not in files]
        config = _config(
            models,
            _sets(
                files, energy, forces, energy_unit, gradients, level, keys_of(key),
                where_of(where), None if states is None else states.value,
            ),
        )  # fmt: skip
        update = {
            "output": output or Path("evaluation"),
            "windows": window or [100.0],
            "units": units.value,
        }
        config = config.model_copy(update=update)
    if n_workers is not None:
        config = config.model_copy(update={"n_workers": n_workers})
    if same_level:
        config = config.model_copy(update={"same_level": True})
    if vector_plots:
        config = config.model_copy(update={"vector_plots": True})
    if overwrite:
        shutil.rmtree(config.output / "predictions", ignore_errors=True)
    _run(config, quiet)


def is_data(path: Path) -> bool:
    """Models are folders, torch files and names of calculators; all other files are data."""
    return path.is_file() and path.suffix not in (".pt", ".pth")


def _config(models: list[str], sets: list[SetConfig]) -> EvaluationConfig:
    from ekd.errors import ConfigError
    from ekd.evaluation.evaluation_settings import EvaluationConfig
    from ekd.evaluation.sources import parse_model, test_data_of

    if not models:
        raise ConfigError(
            "there is no model to evaluate; name a run, an exported file, ...",
            code="EKD-CONFIG-006",
        )
    parsed = [parse_model(text) for text in models]
    if not sets:
        paths = [model.path for model in parsed if model.path is not None]
        sets = next((found for path in paths if (found := test_data_of(path))), [])
    if not sets:
        raise ConfigError(
            "there is nothing to measure against: no data file is given, and none of the models is "
            "a run whose configuration names a [test] or [far] set",
            code="EKD-CONFIG-007",
        )
    return EvaluationConfig(models=parsed, sets=sets)


def _sets(
    paths: list[Path],
    energy: list[str] | None,
    forces: list[str] | None,
    energy_unit: list[str] | None,
    gradients: bool,
    level: str | None,
    keys: dict[str, str],
    where: dict[str, list[str]],
    states: Literal["neutral", "all"] | None,
) -> list[SetConfig]:
    from ekd.evaluation.evaluation_settings import SetConfig

    def each(option: str, values: list[str] | None) -> list[str | None]:
        if not values or len(values) == 1:
            return [values[0] if values else None] * len(paths)
        if len(values) != len(paths):
            raise typer.BadParameter(
                f"{option} is given {len(values)} times for {len(paths)} files; give it once, or "
                "once for each"
            )
        return list(values)

    columns = (
        each("--energy", energy),
        each("--forces", forces),
        each("--energy-unit", energy_unit),
    )
    return [
        SetConfig(
            path=path,
            energy=e,
            forces=f,
            energy_unit=u,
            keys=keys,
            where={key: [*values] for key, values in where.items()},
            states=states,
            gradients=gradients,
            level_of_theory=level,
        )
        for path, e, f, u in zip(paths, *columns, strict=True)
    ]


def _run(config: EvaluationConfig, quiet: bool) -> None:
    from ekd.evaluation import evaluate, terminal_tables

    with continues_by_itself():
        result = evaluate(
            config.models,
            config.sets,
            config.curves,
            output=config.output,
            windows=config.windows,
            units=config.units,
            same_level=config.same_level,
            n_workers=config.n_workers,
            progress=not quiet,
            vector_plots=config.vector_plots,
        )
    console = Console()
    for table in terminal_tables(result):
        console.print(table)
    for note in result.notes:
        console.print(note, highlight=False)
    console.print(f"report: {config.output / 'report.html'}", soft_wrap=True, highlight=False)
