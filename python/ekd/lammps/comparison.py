"""Comparison of LAMMPS with the ASE calculator for the same structure."""

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
"""The pressure constant of LAMMPS for ``units metal`` (2007 values)."""

_VOIGT = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # pxx pyy pzz pxy pxz pyz


@dataclass(frozen=True)
class Difference:
    """Largest differences between LAMMPS and ASE for one structure."""

    structure: str
    n_ranks: int
    energy: float
    """Energy difference, eV/atom."""
    force: float
    """Largest difference of a force component, eV/Å."""
    pressure: float | None
    """Relative to the largest component of the pressure tensor; None for nonperiodic structures."""


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
        folder: folder for the LAMMPS runs.
        name: name of the structure and of its files.
        atoms: the structure, with any cell.
        model: the exported student.
        elements: chemical symbols, in the order of the LAMMPS atom types.
        ranks: numbers of MPI ranks to test.
        program: the LAMMPS; None: the one in this Python environment.
    """
    if atoms.pbc.any():
        atoms = lower_triangular(atoms)
    atoms.calc = EKDCalculator(model)
    # Extrapolation does not matter in this comparison.
    with warnings.catch_warnings(action="ignore", category=ExtrapolationWarning):
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    differences = []
    for n_ranks in ranks:
        run = single_point(folder, f"{name}-{n_ranks}", atoms, model, elements)
        start(run, n_ranks, progress=False, program=program)
        if f", {n_ranks} MPI rank(s) x" not in run.log.read_text():
            raise LammpsError(
                f"LAMMPS did not run on {n_ranks} MPI rank(s), see '{run.log}'; use the mpirun of "
                "the MPI that LAMMPS was built with",
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
