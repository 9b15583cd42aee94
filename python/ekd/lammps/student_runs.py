"""LAMMPS runs that test a student.

A molecule at constant energy, a box of water at constant temperature, and a comparison of both
structures with the ASE calculator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ekd.config import LammpsConfig, NVEConfig, WaterConfig
from ekd.errors import DynamicsError, LammpsError
from ekd.evaluation.trajectories import energy_drift, intact_waters
from ekd.lammps import inputs
from ekd.lammps.comparison import compare_with_ase
from ekd.lammps.logs import Table, read_dump_frame, read_rdf, read_speed, read_thermo
from ekd.lammps.run import start
from ekd.lammps.structures import molecule, rattled, sheared, water_box


def run(
    folder: Path,
    model: Path,
    known: Collection[str],
    config: LammpsConfig,
    seed: int,
    progress: bool = True,
) -> dict[str, Any]:
    """Run all tests and return the results, ready for JSON.

    Structures with elements that the model does not support are omitted. A run that fails, because
    atoms are lost or energies are not finite, is a result: it is reported in ``failures``, and the
    other runs continue.

    Args:
        folder: folder for the runs, with one subfolder each.
        model: the exported student.
        known: chemical symbols that the model supports.
        config: the section ``[lammps]``.
        seed: seed of velocities and structures.
        progress: show progress bars.

    Returns:
        ``nve`` and ``water``: measurements and time series, None if omitted or failed;
        ``failures``: ``reason``, ``time`` (ps reached) and ``duration`` (ps) of failed runs, by
        name; ``lammps_minus_ase``: largest differences (energy eV/atom, force eV/Å, relative
        pressure), None if nothing could be compared; ``comparisons``: the same for each structure
        and number of ranks.

    Raises:
        LammpsError: LAMMPS is not installed, or a run cannot start.
    """
    failures: dict[str, dict[str, Any]] = {}

    def attempt(name: str, duration: float, work: Callable[[Path], Any]) -> Any:
        try:
            return work(folder / name)
        except DynamicsError as error:
            time = _time_reached(folder / name / f"{name}.log")
            failures[name] = {"reason": error.reason, "time": time, "duration": duration}
            return None

    result: dict[str, Any] = {"nve": None, "water": None, "mpi_ranks": config.mpi_ranks}
    structures: dict[str, Atoms] = {}
    isolated = molecule(config.nve.molecule)
    if set(isolated.symbols) <= set(known):
        result["nve"] = attempt(
            "nve",
            config.nve.duration,
            lambda place: run_nve(place, isolated, model, config.nve, seed, progress),
        )
        structures["molecule"] = rattled(isolated, seed=seed)
    if {"H", "O"} <= set(known):
        box = water_box(config.water.n_molecules, config.water.density, seed)
        result["water"] = attempt(
            "water",
            config.water.duration,
            lambda place: run_water(
                place, box, model, config.water, seed, config.mpi_ranks, progress
            ),
        )
        structures["water"] = box
        structures["triclinic"] = sheared(box)
    ranks = sorted({1, config.mpi_ranks})
    differences = [
        asdict(difference)
        for name, atoms in structures.items()
        for difference in compare_with_ase(
            folder / "comparison", name, atoms, model, _elements(atoms), ranks
        )
    ]
    result["failures"] = failures
    result["comparisons"] = differences
    result["lammps_minus_ase"] = {
        name: max((d[name] for d in differences if d[name] is not None), default=None)
        for name in ("energy", "force", "pressure")
    }
    return result


def run_nve(
    folder: Path,
    atoms: Atoms,
    model: Path,
    config: NVEConfig,
    seed: int,
    progress: bool = True,
) -> dict[str, Any]:
    """Run a molecule at constant energy and measure the drift of its total energy.

    Raises:
        DynamicsError: the run failed, or its energies are not finite.
        LammpsError: it cannot start.
    """
    script = inputs.nve(folder, atoms, model, _elements(atoms), config, seed)
    start(script, n_ranks=1, title=f"NVE of {config.molecule}", progress=progress)
    thermo = read_thermo(script.log)[-1]
    _require_finite(thermo, script)
    drift = energy_drift(thermo["Time"], thermo["TotEng"], len(atoms))
    return {
        "molecule": config.molecule,
        "n_atoms": len(atoms),
        "duration": config.duration,
        "timestep": config.timestep,
        "drift_per_atom_per_ps": drift.slope,
        "max_deviation_per_atom": drift.max_deviation,
        "atom_steps_per_second": read_speed(script.log),
        "time": thermo["Time"].tolist(),
        "total_energy": thermo["TotEng"].tolist(),
        "temperature": thermo["Temp"].tolist(),
    }


def run_water(
    folder: Path,
    atoms: Atoms,
    model: Path,
    config: WaterConfig,
    seed: int,
    n_ranks: int,
    progress: bool = True,
) -> dict[str, Any]:
    """Run a box of water at constant temperature and measure its structure.

    Raises:
        DynamicsError: the run failed, or its energies are not finite.
        LammpsError: it cannot start.
    """
    script = inputs.water(folder, atoms, model, _elements(atoms), config, seed)
    start(script, n_ranks, title=f"water on {n_ranks} MPI ranks", progress=progress)
    _, equilibration, production = read_thermo(script.log)
    thermo = _joined(equilibration, production)
    _require_finite(thermo, script)
    frame = read_dump_frame(folder / "trajectory.dump")
    final = atoms.copy()
    final.positions[:] = np.column_stack([frame[axis] for axis in "xyz"])
    r, g = read_rdf(folder / "rdf.dat")
    return {
        "n_molecules": config.n_molecules,
        "n_ranks": n_ranks,
        "duration": config.duration,
        "timestep": config.timestep,
        "target_temperature": config.temperature,
        "mean_temperature": float(production["Temp"].mean()),
        "intact_share": intact_waters(final),
        "atom_steps_per_second": read_speed(script.log),
        "equilibration": float(production["Time"][0]),
        "time": thermo["Time"].tolist(),
        "temperature": thermo["Temp"].tolist(),
        "r": r.tolist(),
        "g": g.tolist(),
    }


def _elements(atoms: Atoms) -> list[str]:
    """Return symbols in order of first occurrence, which is the order of the LAMMPS types."""
    return list(dict.fromkeys(atoms.symbols))


def _require_finite(thermo: Table, run: inputs.Run) -> None:
    """Check for values that are not finite, which LAMMPS may not report.

    Raises:
        DynamicsError: a temperature or an energy is not finite.
    """
    for name in ("Temp", "TotEng"):
        if not np.isfinite(thermo[name]).all():
            raise DynamicsError(
                f"'{name}' is not finite", f"see '{run.log}'", code="EKD-LAMMPS-007"
            )


def _time_reached(log: Path) -> float:
    """Return the last time in a log, ps; 0 if the run failed before the dynamics."""
    try:
        table = read_thermo(log)[-1]
    except LammpsError:
        return 0.0
    return float(table["Time"][-1]) if "Time" in table else 0.0


def _joined(*tables: Table) -> Table:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
