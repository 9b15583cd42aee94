"""The verb ``prepare``: data files of any format to one that is checked and quick to read."""

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
Convert data files to one prepared file, look at what is in it, and draw a picture of it.

**Formats**, by suffix and content: the HDF5 release of ANI-1x and ANI-1ccx; HDF5 of pyanitools
(ANI-1, ANI-2x, COMP6); `.npz` of sGDML, MD17 and rMD17; extended XYZ and everything else that ASE
reads; prepared files, to merge them. Configurations without an energy are left out and counted.
Energies and lengths are converted to eV and Å here, once.

**What comes out**: one HDF5 file, compressed, with checksums, that `ekd.load_dataset` and `[data]
path` of a configuration take without keys or units; a `.png` with histograms beside it; and a
summary: elements, sizes, energies, duplicates, outliers, closest contacts, whether the forces
belong to the energies, and whether the data fix the energies of their atoms. Frames with
`config_type=IsolatedAtom` become reference energies. Nothing is dropped that you did not ask for.

**Charges, spins and methods** that the file names are not mixed: `--where` selects, `--states`
says what is done with ions and open shells. Stress is not used.

Forces of COMP6 (version 1) are gradients by mistake of its authors: `--gradients` turns their sign.

**Interrupted**, even by kill -9 or a power cut, the same command goes on where it was. Run again
after its end, it shows the summary.

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

_EACH = " Once for all inputs, or once for each."


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("prepare", help=_HELP)(prepare)


_Energy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY",
        help="Key of the energy. Default: `energies` in files of pyanitools, `E`, `energies` "
        "or `energy` in .npz, `energy` in formats of ASE." + _EACH,
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
        help="eV, meV, Hartree, kcal/mol or kJ/mol. Default: what the file says, else Hartree "
        "in HDF5 and eV in formats of ASE." + _EACH,
    ),
]
_LengthUnit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="UNIT",
        help="Angstrom, Bohr or nm. Default: what the file says, else Å." + _EACH,
    ),
]
_Format = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A format of ASE, where the suffix does not tell." + _EACH),
]
_LevelOfTheory = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="In words, if the inputs do not state it."),
]
_DropDuplicates = Annotated[
    bool,
    typer.Option(
        "--drop-duplicates",
        help="Keep one configuration of every geometry. Molecules are the same if all "
        "distances agree to 1e-4 Å, periodic cells if cell and positions do.",
    ),
]
_DropOutliers = Annotated[
    bool,
    typer.Option("--drop-outliers", help="Drop energies and contacts beyond the next two limits."),
]
_OutlierDeviations = Annotated[
    float,
    typer.Option(
        metavar="N",
        help="Largest distance of an energy per atom from the median of its formula, in robust "
        "standard deviations.",
    ),
]
_DropIncomplete = Annotated[
    bool,
    typer.Option(
        "--drop-incomplete",
        help="Drop what has an energy but not all else: forces that were asked for, finite "
        "positions, a proper cell. Without it such configurations stop the command.",
    ),
]
_Compression = Annotated[
    bool,
    typer.Option(
        help="Without compression the file is larger and can be streamed as it is; a "
        "compressed one is unpacked beside itself first."
    ),
]


def prepare(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="One data file or several.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The prepared file, *.h5.", show_default=False)
    ],
    energy: _Energy = None,
    forces: _Forces = None,
    energy_unit: _EnergyUnit = None,
    length_unit: _LengthUnit = None,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="The forces are gradients: turn their sign.")
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
        float, typer.Option(metavar="Å", help="Smallest distance between two atoms.")
    ] = 0.4,
    drop_incomplete: _DropIncomplete = False,
    compression: _Compression = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an output of other inputs or options.")
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
