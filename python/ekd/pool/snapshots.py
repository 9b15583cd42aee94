"""Snapshots of Langevin dynamics with the calculator."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ekd.config import PoolConfig
from ekd.distillation.langevin import Langevin
from ekd.pool.calculation import explain

FRICTION = 10.0
"""1/ps."""


def snapshots(
    atoms: Atoms,
    calculator: Calculator,
    temperature: float,
    config: PoolConfig,
    random: np.random.Generator,
) -> tuple[NDArray[np.float64], str]:
    """Run MD and return snapshots, with the reason if it ended early.

    The integrator is :class:`ekd.distillation.langevin.Langevin`, whose cost is small compared to
    GFN2-xTB for a small molecule. The initial velocities correspond to twice the temperature,
    because half of the kinetic energy goes into the bonds. The run ends early if the calculator
    fails or a force exceeds ``config.max_force``.

    Args:
        atoms: initial structure.
        calculator: calculator used only for this run.
        temperature: K.
        config: number of snapshots, interval and timestep.
        random: source of velocities and noise.

    Returns:
        [n_snapshots, n_atoms, 3] Å, NaN after an early end; and the reason, empty if the run is
        complete.
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
            if not np.linalg.norm(forces, axis=1).max() <= config.max_force:  # also if not finite
                return saved, f"a force exceeds {config.max_force:g} eV/Å in the MD"
            velocities = langevin.kick(velocities, forces)
            if count % n_between == 0:
                saved[count // n_between - 1] = positions
    except Exception as error:  # external code may raise anything
        return saved, explain(error)
    return saved, ""
