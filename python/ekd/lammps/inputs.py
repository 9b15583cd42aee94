"""Folders of LAMMPS runs: a data file, and a script that users can read, change and run by hand.

The scripts in ``scripts/`` are plain LAMMPS. The settings of a run are ``variable`` commands at the
beginning of its copy, so that ``lmp -in nve.in`` in the folder of a run repeats it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import atomic_masses

from ekd.elements import atomic_number, symbol
from ekd.errors import LammpsError, StructureError
from ekd.files import atomic_write

if TYPE_CHECKING:
    from ekd.config import NVEConfig, WaterConfig

N_SAMPLES = 1000
"""Approximate number of lines of thermodynamic output per run."""

RDF_CUTOFF = 6.0
"""Range of g(r) (Å): the first two shells of water."""

_SKIN = 1.0  # skin of the neighbor lists in scripts/ (Å)


@dataclass(frozen=True)
class Run:
    """A script in its folder, ready for :func:`ekd.lammps.run.start`."""

    script: Path
    """All relative paths in it are relative to its folder."""
    n_steps: int
    """Time steps of all its ``run`` commands together."""

    @property
    def log(self) -> Path:
        """The log that LAMMPS writes."""
        return self.script.with_suffix(".log")


def nve(
    folder: Path,
    atoms: Atoms,
    model: Path,
    elements: Sequence[str],
    config: NVEConfig,
    seed: int,
) -> Run:
    """Write a gas-phase run at constant energy.

    Args:
        folder: folder of the run, created if missing.
        atoms: an isolated molecule.
        model: the exported student.
        elements: chemical symbols, in the order of the LAMMPS atom types.
        config: temperature (K), time step and duration (ps).
        seed: seed of the initial velocities.
    """
    n_steps = _n_steps(config.duration, config.timestep)
    write_data(folder / "molecule.data", atoms, elements)
    variables = {
        "data": "molecule.data",
        "model": _relative(model, folder),
        "elements": elements,
        "temperature": config.temperature,
        "timestep": config.timestep,
        "steps": n_steps,
        "seed": seed + 1,  # LAMMPS requires a positive seed
        "external_dof": external_degrees_of_freedom(atoms),
        "thermo_every": max(1, n_steps // N_SAMPLES),
        "dump_every": max(1, n_steps // 100),
    }
    return Run(_write_script(folder, "nve.in", variables), n_steps)


def water(
    folder: Path,
    atoms: Atoms,
    model: Path,
    elements: Sequence[str],
    config: WaterConfig,
    seed: int,
) -> Run:
    """Write a periodic run of liquid water at constant temperature.

    A quarter of the duration is equilibration; g(r) is averaged over the rest.

    Args:
        folder: folder of the run, created if missing.
        atoms: a periodic box of water.
        model: the exported student.
        elements: chemical symbols, including O, in the order of the LAMMPS atom types.
        config: temperature (K), time step and duration (ps).
        seed: seed of the initial velocities and of the Langevin thermostat.
    """
    n_steps = _n_steps(config.duration, config.timestep)
    equilibration = n_steps // 4
    production = n_steps - equilibration
    write_data(folder / "water.data", atoms, elements)
    variables = {
        "data": "water.data",
        "model": _relative(model, folder),
        "elements": elements,
        "oxygen": list(elements).index("O") + 1,
        "temperature": config.temperature,
        "timestep": config.timestep,
        "equilibration_steps": equilibration,
        "production_steps": production,
        "seed": seed + 1,
        "ghost_cutoff": RDF_CUTOFF + _SKIN,
        "rdf_cutoff": RDF_CUTOFF,
        "rdf_bins": 120,
        "rdf_every": 10 if production >= 20 else 1,
        "thermo_every": max(1, n_steps // N_SAMPLES),
        "dump_every": max(1, n_steps // 100),
    }
    return Run(_write_script(folder, "water.in", variables), n_steps)


def stability(
    folder: Path,
    atoms: Atoms,
    model: Path,
    temperature: float,
    seed: int,
    timestep: float,
    friction: float,
    check_every: int,
    bath_steps: int,
    hottest: float,
    free_steps: int = 0,
    bath_timestep: float | None = None,
) -> Run:
    """Write a run with a Langevin thermostat, followed by steps at constant energy.

    Args:
        folder: folder of the run, created if missing.
        atoms: a structure with a lower triangular cell.
        model: the exported student.
        temperature: temperature of the thermostat, K.
        seed: seed of velocities and thermostat.
        timestep: time step, ps.
        friction: friction of the thermostat, 1/ps.
        check_every: steps between frames in ``trajectory.dump`` and lines in the log.
        bath_steps: number of steps with the thermostat.
        hottest: temperature above which LAMMPS stops, K.
        free_steps: number of steps at constant energy.
        bath_timestep: time step with the thermostat, ps; None: ``timestep``.
    """
    elements = list(dict.fromkeys(atoms.symbols))
    write_data(folder / "start.data", atoms, elements)
    variables = {
        "data": "start.data",
        "boundary": [("p" if periodic else "f") for periodic in atoms.pbc],
        "model": _relative(model, folder),
        "elements": elements,
        "temperature": temperature,
        "timestep": timestep,
        "bath_timestep": bath_timestep or timestep,
        "damp": 1 / friction,
        "seed": seed + 1,
        "check_every": check_every,
        "bath_steps": bath_steps,
        "free_steps": free_steps,
        "hottest": hottest,
    }
    return Run(_write_script(folder, "stability.in", variables), bath_steps + free_steps)


def single_point(
    folder: Path, name: str, atoms: Atoms, model: Path, elements: Sequence[str]
) -> Run:
    """Write the evaluation of one structure, with all digits of energy, forces and pressure.

    The forces are written to ``<name>.forces`` next to the script ``<name>.in``.
    """
    write_data(folder / f"{name}.data", atoms, elements)
    variables = {
        "data": f"{name}.data",
        "forces": f"{name}.forces",
        "boundary": [("p" if periodic else "f") for periodic in atoms.pbc],
        "model": _relative(model, folder),
        "elements": elements,
    }
    script = _write_script(folder, "single_point.in", variables, target=f"{name}.in")
    return Run(script, n_steps=0)


def write_data(path: Path, atoms: Atoms, elements: Sequence[str]) -> None:
    """Write a LAMMPS data file in ``atom_style atomic``, with exact coordinates.

    In nonperiodic directions, the box extends 20 Å beyond the structure.

    Args:
        path: file to write.
        atoms: the structure. If it is periodic, its cell must be lower triangular, as required by
            LAMMPS; :func:`lower_triangular` rotates other structures.
        elements: chemical symbols, in the order of the LAMMPS atom types.

    Raises:
        StructureError: no atoms, an element that is not in ``elements``, or a cell that LAMMPS does
            not support.
    """
    if len(atoms) == 0:
        raise StructureError(
            "a LAMMPS run needs at least one atom, the structure has none", code="EKD-STRUCTURE-002"
        )
    types = {atomic_number(name): index + 1 for index, name in enumerate(elements)}
    absent = sorted({symbol(number) for number in atoms.numbers if number not in types})
    if absent:
        raise StructureError(
            f"the structure has {', '.join(absent)}, the model supports {', '.join(elements)}; "
            "choose a structure of these elements, or train on data with the others",
            code="EKD-STRUCTURE-003",
        )
    low, high, tilt = _box(atoms)
    lines = [
        "LAMMPS data file written by ekd",
        "",
        f"{len(atoms)} atoms",
        f"{len(elements)} atom types",
        "",
        *(f"{low[k]:.17g} {high[k]:.17g} {'xyz'[k]}lo {'xyz'[k]}hi" for k in range(3)),
    ]
    if any(tilt):
        lines.append("{:.17g} {:.17g} {:.17g} xy xz yz".format(*tilt))
    lines += ["", "Masses", ""]
    lines += [f"{types[z]} {atomic_masses[z]:.10g}  # {symbol(z)}" for z in types]
    lines += ["", "Atoms  # atomic", ""]
    lines += [
        f"{i} {types[z]} {x:.17g} {y:.17g} {zz:.17g}"
        for i, (z, (x, y, zz)) in enumerate(
            zip(atoms.numbers.tolist(), atoms.positions.tolist(), strict=True), start=1
        )
    ]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def lower_triangular(atoms: Atoms) -> Atoms:
    """Return the structure, rotated so that its cell is lower triangular."""
    cell, rotation = atoms.cell.standard_form()
    turned = atoms.copy()
    turned.set_cell(cell)
    turned.positions = atoms.positions @ rotation.T
    return turned


def external_degrees_of_freedom(atoms: Atoms) -> int:
    """Return the number of translations and rotations: 3 for an atom, 5 if linear, 6 otherwise."""
    if len(atoms) == 1:
        return 3
    moments = atoms.get_moments_of_inertia()
    return 5 if moments.min() < 1e-6 * moments.max() else 6


def _box(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    cell = np.asarray(atoms.cell)
    if atoms.pbc.any() and np.abs(np.triu(cell, k=1)).max() > 1e-12 * np.abs(cell).max():
        raise StructureError(
            "LAMMPS needs a lower triangular cell (a along x, b in the xy plane); rotate the "
            "structure with ekd.lammps.inputs.lower_triangular",
            code="EKD-STRUCTURE-014",
        )
    margin = 20.0
    low = np.where(atoms.pbc, 0.0, atoms.positions.min(axis=0) - margin)
    high = np.where(atoms.pbc, np.diag(cell), atoms.positions.max(axis=0) + margin)
    tilt = (cell[1, 0], cell[2, 0], cell[2, 1]) if atoms.pbc.all() else (0.0, 0.0, 0.0)
    return low, high, tilt


def _write_script(
    folder: Path, name: str, variables: Mapping[str, object], target: str | None = None
) -> Path:
    head = "\n".join(_variable(key, value) for key, value in variables.items())
    body = resources.files("ekd.lammps").joinpath("scripts", name).read_text()
    path = folder / (target or name)
    with atomic_write(path) as temporary:
        temporary.write_text(f"# Written by ekd. Start it in this folder.\n{head}\n\n{body}")
    return path


def _variable(name: str, value: object) -> str:
    if isinstance(value, str):
        text = f'string "{value}"'
    elif isinstance(value, Sequence):
        text = f'string "{" ".join(map(str, value))}"'
    else:
        text = f"equal {value}"
    return f"variable        {name} {text}"


def _n_steps(duration: float, timestep: float) -> int:
    return max(1, round(duration / timestep))


def _relative(path: Path, folder: Path) -> str:
    relative = os.path.relpath(path.resolve(), folder.resolve())
    if any(character in relative for character in " \"'$"):
        raise LammpsError(
            f"LAMMPS cannot use the path '{relative}': it has a space, a quote or a dollar sign; "
            "choose another folder",
            code="EKD-LAMMPS-008",
        )
    return relative
