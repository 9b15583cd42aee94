"""LAMMPS against the ASE calculator on the same structure, digit by digit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from ekd.calculator import EKDCalculator
from ekd.errors import ExtrapolationWarning, LammpsError
from ekd.lammps.inputs import lower_triangular, single_point
from ekd.lammps.logs import read_dump_frame, read_thermo
from ekd.lammps.run import Program, start

_BAR_PER_EV_A3 = 1602176.5
"""The constant that LAMMPS has for ``units metal`` (2007 values), with which it prints bar."""

_VOIGT = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # pxx pyy pzz pxy pxz pyz


@dataclass(frozen=True)
class Difference:
    """Largest differences between LAMMPS and ASE for one structure."""

    structure: str
    n_ranks: int
    energy: float
    """eV/atom"""
    force: float
    """eV/Å, over all components"""
    pressure: float | None
    """relative to the largest component of the pressure tensor; None without periodicity"""


def compare_with_ase(
    folder: Path,
    name: str,
    atoms: Atoms,
    model: Path,
    elements: Sequence[str],
    ranks: Sequence[int],
    program: Program | None = None,
) -> list[Difference]:
    """Evaluate a structure with both engines, LAMMPS on several numbers of MPI ranks.

    Args:
        folder: where the LAMMPS runs are written.
        name: of the structure; names the files.
        atoms: the structure, in any cell.
        model: the exported student.
        elements: chemical symbols, in the order of the LAMMPS atom types.
        ranks: numbers of MPI ranks to try.
        program: the LAMMPS; None: that of this Python environment.
    """
    if atoms.pbc.any():
        atoms = lower_triangular(atoms)
    atoms.calc = EKDCalculator(model)
    # Whether the structure is like the training data is not what is asked here.
    with warnings.catch_warnings(action="ignore", category=ExtrapolationWarning):
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    differences = []
    for n_ranks in ranks:
        run = single_point(folder, f"{name}-{n_ranks}", atoms, model, elements)
        start(run, n_ranks, progress=False, program=program)
        if f", {n_ranks} MPI rank(s) x" not in run.log.read_text():
            raise LammpsError(
                f"LAMMPS was to run on {n_ranks} MPI rank(s) and has not, see '{run.log}'; use the "
                "mpirun of the MPI that LAMMPS was built with",
                code="EKD-LAMMPS-006",
            )
        (thermo,) = read_thermo(run.log)
        frame = read_dump_frame(run.script.with_suffix(".forces"))
        found = np.column_stack([frame["fx"], frame["fy"], frame["fz"]])
        differences.append(
            Difference(
                structure=name,
                n_ranks=n_ranks,
                energy=abs(float(thermo["PotEng"][0]) - energy) / len(atoms),
                force=float(np.abs(found - forces).max()),
                pressure=_pressure_difference(thermo, atoms) if atoms.pbc.all() else None,
            )
        )
    return differences


def _pressure_difference(thermo: dict[str, np.ndarray], atoms: Atoms) -> float:
    names = ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")
    found = np.array([thermo[name][0] for name in names]) / _BAR_PER_EV_A3
    stress = atoms.get_stress(voigt=False)
    pressure = -np.array([stress[index] for index in _VOIGT])  # ASE's stress is positive in tension
    return float(np.abs(found - pressure).max() / np.abs(pressure).max())
