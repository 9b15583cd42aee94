"""Snapshots of Langevin dynamics by the calculator."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ekd.config import PoolConfig
from ekd.distillation.langevin import Langevin
from ekd.pool.labels import explain

FRICTION = 10.0
"""1/ps."""


def snapshots(
    atoms: Atoms,
    calculator: Calculator,
    temperature: float,
    config: PoolConfig,
    random: np.random.Generator,
) -> tuple[NDArray[np.float64], str]:
    """Positions on a run, and why it ended early.

    The integrator is :class:`ekd.distillation.langevin.Langevin`, whose steps cost little beside
    GFN2-xTB of a small molecule. The run starts from the structure with velocities of twice the
    temperature, half of which go into the bonds. It ends early where the calculator fails, or a
    force exceeds ``config.max_force``.

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
    langevin = Langevin(atoms.numbers, temperature, config.timestep, FRICTION, random)
    moving = atoms.copy()
    moving.calc = calculator
    positions = moving.positions.copy()
    velocities = langevin.velocities(factor=np.sqrt(2.0))
    try:
        forces = moving.get_forces()
        for count in range(1, n_between * config.n_snapshots + 1):
            positions, velocities = langevin.drift(positions, velocities, forces)
            moving.positions = positions
            forces = moving.get_forces()
            if not np.linalg.norm(forces, axis=1).max() <= config.max_force:  # nor finite
                return saved, f"a force exceeds {config.max_force:g} eV/Å in the MD"
            velocities = langevin.kick(velocities, forces)
            if count % n_between == 0:
                saved[count // n_between - 1] = positions
    except Exception as error:  # code of others: anything may happen
        return saved, explain(error)
    return saved, ""
