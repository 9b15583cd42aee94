"""Snapshots of Langevin dynamics by the calculator."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ekd.config import PoolConfig
from ekd.pool.labels import explain

FRICTION = 10.0
"""1/ps."""

_PICOSECOND = 1e3 * units.fs


def snapshots(
    atoms: Atoms,
    calculator: Calculator,
    temperature: float,
    config: PoolConfig,
    random: np.random.Generator,
) -> tuple[NDArray[np.float64], str]:
    """Positions on a run, and why it ended early.

    The integrator is BAOAB (Leimkuhler and Matthews, Appl. Math. Res. eXpress 2013, 34 (2013)). The
    run starts from the structure with velocities of twice the temperature, half of which go into
    the bonds. It ends early where the calculator fails, or a force exceeds ``config.max_force``.

    Args:
        atoms: where it starts.
        calculator: used for this run alone.
        temperature: K.
        config: number of snapshots, interval and timestep.
        random: source of velocities and noise.

    Returns:
        [n_snapshots, n_atoms, 3] Å, NaN from where the run ended; and the reason, empty if it
        reached its end.
    """
    saved = np.full((config.n_snapshots, len(atoms), 3), np.nan)
    n_between = max(1, round(config.interval / config.timestep))
    step = config.timestep * _PICOSECOND
    decay = np.exp(-FRICTION * config.timestep)
    noise = np.sqrt(1.0 - decay**2)
    moving = atoms.copy()
    moving.calc = calculator
    masses = moving.get_masses()[:, None]
    thermal = np.sqrt(units.kB * temperature / masses)
    positions = moving.positions.copy()
    velocities = np.sqrt(2.0) * thermal * random.standard_normal(positions.shape)
    try:
        # ase.md.langevin does the same and costs as much again as GFN2-xTB of a small molecule.
        accelerations = moving.get_forces() / masses
        for count in range(1, n_between * config.n_snapshots + 1):
            velocities += 0.5 * step * accelerations
            positions += 0.5 * step * velocities
            velocities *= decay
            velocities += noise * thermal * random.standard_normal(positions.shape)
            positions += 0.5 * step * velocities
            moving.positions = positions
            forces = moving.get_forces()
            if not np.linalg.norm(forces, axis=1).max() <= config.max_force:  # nor finite
                return saved, f"a force exceeds {config.max_force:g} eV/Å in the MD"
            accelerations = forces / masses
            velocities += 0.5 * step * accelerations
            if count % n_between == 0:
                saved[count // n_between - 1] = positions
    except Exception as error:  # code of others: anything may happen
        return saved, explain(error)
    return saved, ""
