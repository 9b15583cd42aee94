"""Snapshots of Langevin dynamics by the calculator."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from numpy.typing import NDArray

from ekd.config import PoolConfig
from ekd.pool.labels import evaluate, explain

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

    The run starts from the structure with velocities of twice the temperature, half of which go
    into the bonds. It ends early where the calculator fails, or a force exceeds
    ``config.max_force``.

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
    positions = np.full((config.n_snapshots, len(atoms), 3), np.nan)
    moving = atoms.copy()
    momenta = np.sqrt(2.0 * units.kB * temperature * moving.get_masses())[:, None]
    moving.set_momenta(momenta * random.standard_normal(moving.positions.shape))
    moving.calc = calculator
    dynamics = Langevin(
        moving,
        config.timestep * _PICOSECOND,
        temperature_K=temperature,
        friction=FRICTION / _PICOSECOND,
        fixcm=False,
        rng=random,
    )
    n_between = max(1, round(config.interval / config.timestep))
    try:
        for index in range(config.n_snapshots):
            for _ in range(n_between):
                dynamics.step()
                _, forces = evaluate(moving, calculator)
                largest = np.linalg.norm(forces, axis=1).max()
                if largest > config.max_force:
                    return positions, f"a force exceeds {config.max_force:g} eV/Å in the MD"
            positions[index] = moving.positions
    except Exception as error:  # code of others: anything may happen
        return positions, explain(error)
    return positions, ""
