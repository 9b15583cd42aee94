"""The commands that import models of other packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ekd.errors import EKDError


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("import-hippynn")(import_hippynn)


def import_hippynn(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of a hippynn training (experiment_structure.pt and best_model.pt or "
            "best_checkpoint.pt), or the file in it that holds the state of the model.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Checkpoint to write, for use as a teacher.")
    ] = Path("imported.pt"),
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Also export the model for LAMMPS and ASE to this file."),
    ] = None,
    energy: Annotated[
        str | None,
        typer.Option("--energy", help="Name of the energy node, if the model has several."),
    ] = None,
    energy_unit: Annotated[
        str,
        typer.Option(
            "--energy-unit", help="Unit of the model's energies, which hippynn does not record."
        ),
    ] = "eV",
    allow_code: Annotated[
        bool,
        typer.Option(
            "--allow-code",
            help="Allow reading the files, which can run arbitrary code; use it only for files "
            "from a trusted source.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Convert a trained HIP-NN or HIP-NN-TS model of hippynn to an ekd model.

    Energies and forces are preserved to rounding; models that ekd cannot represent are refused.
    hippynn files are Python pickles, which can run code when read: import only files that you
    trust, and confirm this with `--allow-code`.

    **Examples**

        ekd import-hippynn my_training --allow-code

        ekd import-hippynn my_training --allow-code --energy-unit kcal/mol --export model.pt

        ekd import-hippynn my_training/best_checkpoint.pt --allow-code --output teacher.pt

    As a teacher, in a configuration file:

        [[labels.teachers]]

        checkpoint = "imported.pt"
    """
    from ekd.interop import from_hippynn

    for path in filter(None, (output, export)):
        if path.exists() and not overwrite:
            raise EKDError(
                f"'{path}' already exists; add --overwrite to replace it, or name another file",
                code="EKD-RUN-001",
            )
    trained = from_hippynn(source, energy=energy, energy_unit=energy_unit, allow_code=allow_code)
    trained.save(output)
    if export is not None:
        dtype = str(next(trained.model.parameters()).dtype).removeprefix("torch.")
        trained.export(export, dtype=dtype, description=f"imported from hippynn, {source}")
    _show(trained, output, export)


def _show(trained: object, output: Path, export: Path | None) -> None:
    from ekd.elements import symbol
    from ekd.training import TrainedModel

    assert isinstance(trained, TrainedModel)
    config, model = trained.model_config, trained.model
    energies = zip(model.elements, model.reference_energies.tolist(), strict=True)
    rows = {
        "elements": ", ".join(map(symbol, model.elements)),
        "tensor order": config.l_max,
        "interactions": config.n_interactions,
        "features, sensitivities": f"{config.n_features}, {config.n_sensitivities}",
        "cutoff": f"{config.cutoff} Å",
        "precision": str(next(model.parameters()).dtype).removeprefix("torch."),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "energy of the species, eV": ", ".join(f"{symbol(z)} {e:.3f}" for z, e in energies),
    }
    table = Table("key", "value", title=f"{output}", title_justify="left")
    for key, value in rows.items():
        table.add_row(key, str(value))
    console = Console()
    console.print(table)
    if export is not None:
        console.print(f"for LAMMPS and ASE: {export}", soft_wrap=True, highlight=False)
