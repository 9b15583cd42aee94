"""The command ``prepare``: check data files of any format and convert them to one HDF5 file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ekd.cli.options import (
    KeyOf,
    Quiet,
    StatesOption,
    Where,
    continues_by_itself,
    keys_of,
    where_of,
)

_HELP = """
Convert data files to one prepared file, check its contents, and plot histograms.

**Formats**, recognized by suffix and content: the HDF5 release of ANI-1x and ANI-1ccx; HDF5 of
pyanitools (ANI-1, ANI-2x, COMP6); `.npz` of sGDML, MD17 and rMD17; extended XYZ and all other
formats that ASE reads; prepared files, to merge them. Configurations without an energy are omitted
and counted. Energies and lengths are converted to eV and Å.

**Results**: a compressed HDF5 file with checksums, which `ekd.load_dataset` and `[data] path` of a
configuration read without keys or units; a `.png` with histograms next to it; and a summary:
elements, sizes, energies, duplicates, outliers, closest contacts, whether the forces are consistent
with the energies, and whether the data determine the energies of atoms. Frames with
`config_type=IsolatedAtom` become reference energies. Configurations with an energy are dropped only
if you ask for it.

**Different charges, spins and methods** are not mixed, if the file states them: use `--where` to
select configurations, and `--states` for ions and open shells. Stress is not used.

Forces of COMP6 (version 1) are gradients by mistake of its authors: use `--gradients` to change
their sign.

**After an interruption**, even by kill -9 or a power failure, run the same command again to
continue. If the file is complete, the command shows the summary.

**Examples**

    ekd prepare ani1x-release.h5 --energy "ccsd(t)_cbs.energy" -o ani1ccx.h5

    ekd prepare gdb11_*.h5 --forces forces --gradients -o comp6.h5

    ekd prepare aspirin_ccsd.npz --drop-duplicates --drop-outliers -o aspirin.h5

    ekd prepare rmd17_aspirin.npz --energy-unit kcal/mol --forces forces -o aspirin.h5

    ekd prepare own.h5 --energy e --key positions=xyz --key numbers=charges -o own-prepared.h5

    ekd prepare all.xyz --where config_type=liquid --where method=PBE --states neutral -o liquid.h5

    ekd prepare water.extxyz OUTCAR --energy energy --forces forces -o water.h5

    ekd prepare a.h5 b.npz --energy my.energy --energy E --level-of-theory "MP2" -o ab.h5

In Python: `ekd.prepare_dataset`. Formats, units and the layout of the file: docs/data.md.
"""

_EACH = " Give it once for all inputs, or once for each."


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("prepare", help=_HELP)(prepare)


_Energy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY",
        help="Key of the energy. Default: `energies` in pyanitools files, `E`, `energies` or "
        "`energy` in .npz, `energy` in ASE formats." + _EACH,
    ),
]
_Forces = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY", help="Key of the forces. Default: no forces." + _EACH),
]
_EnergyUnit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="UNIT",
        help="eV, meV, Hartree, kcal/mol or kJ/mol. Default: the unit stated in the file, else "
        "Hartree for HDF5 and eV for ASE formats." + _EACH,
    ),
]
_LengthUnit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="UNIT",
        help="Angstrom, Bohr or nm. Default: the unit stated in the file, else Å." + _EACH,
    ),
]
_Format = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Name of the ASE format, if the suffix is ambiguous." + _EACH
    ),
]
_LevelOfTheory = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Level of theory, if the inputs do not state it."),
]
_DropDuplicates = Annotated[
    bool,
    typer.Option(
        "--drop-duplicates",
        help="Keep one configuration per geometry. Molecules are duplicates if all distances "
        "agree to 1e-4 Å, periodic systems if cell and positions do.",
    ),
]
_DropOutliers = Annotated[
    bool,
    typer.Option(
        "--drop-outliers",
        help="Drop configurations beyond `--outlier-deviations` and `--min-distance`.",
    ),
]
_OutlierDeviations = Annotated[
    float,
    typer.Option(
        metavar="N",
        help="Maximum deviation of the energy per atom from the median of its formula, in robust "
        "standard deviations.",
    ),
]
_DropIncomplete = Annotated[
    bool,
    typer.Option(
        "--drop-incomplete",
        help="Drop configurations that have an energy but lack requested forces, finite positions "
        "or a valid cell. By default, they are an error.",
    ),
]
_Compression = Annotated[
    bool,
    typer.Option(
        help="Compress the file. An uncompressed file is larger but can be streamed directly; a "
        "compressed file is first unpacked to a copy next to it."
    ),
]


def prepare(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="One or more data files.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Prepared file, *.h5.", show_default=False)
    ],
    energy: _Energy = None,
    forces: _Forces = None,
    energy_unit: _EnergyUnit = None,
    length_unit: _LengthUnit = None,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="The forces are gradients: change their sign.")
    ] = False,
    format: _Format = None,
    key: KeyOf = None,
    where: Where = None,
    states: StatesOption = None,
    level_of_theory: _LevelOfTheory = None,
    drop_duplicates: _DropDuplicates = False,
    drop_outliers: _DropOutliers = False,
    outlier_deviations: _OutlierDeviations = 20.0,
    min_distance: Annotated[
        float, typer.Option(metavar="Å", help="Minimum distance between two atoms.")
    ] = 0.4,
    drop_incomplete: _DropIncomplete = False,
    compression: _Compression = True,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace an existing output made from other inputs or options."
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Read, check and write; see the help."""
    from ekd.preparation import prepare_dataset

    console = Console()
    with continues_by_itself():
        summary = prepare_dataset(
            inputs,
            output,
            energy or None,
            forces or None,
            energy_unit or None,
            length_unit=length_unit or None,
            gradients=gradients,
            format=format or None,
            keys=keys_of(key),
            where=where_of(where),
            states=None if states is None else states.value,
            level_of_theory=level_of_theory,
            drop_duplicates=drop_duplicates,
            drop_outliers=drop_outliers,
            drop_incomplete=drop_incomplete,
            outlier_deviations=outlier_deviations,
            min_distance=min_distance,
            compress=compression,
            overwrite=overwrite,
            progress=not quiet,
        )
    console.print(summary.table())
    for warning in summary.warnings:
        console.print(f"[bold yellow]look:[/] {escape(warning)}", highlight=False, soft_wrap=True)
    console.print(f"picture: {output.with_suffix('.png')}", soft_wrap=True, highlight=False)
