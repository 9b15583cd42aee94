"""Energies and forces of an ASE calculator that may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ekd.data import Dataset

Array = NDArray[np.float64]

_LONGEST = 200  # characters of a message


@dataclass(frozen=True)
class Results:
    """Results for some geometries.

    Attributes:
        energies: [n_configs] eV; NaN where the calculator failed.
        forces: [n_atoms, 3] eV/Å; NaN where the calculator failed.
        messages: [n_configs] error message; empty if there was none.
    """

    energies: Array
    forces: Array
    messages: NDArray[np.str_]


def calculate(data: Dataset, make: Callable[[], Calculator], reuse: bool) -> Results:
    """Calculate geometries one after the other.

    An exception of the calculator, or an energy or force that is not finite, is recorded and
    affects only its geometry.

    Args:
        data: the geometries.
        make: creates the calculator.
        reuse: use one calculator for all geometries; otherwise each has a new one, so results do
            not depend on previous calculations. After a failure, a new one is always created.
    """
    energies = np.full(len(data), np.nan)
    forces = np.full((data.n_atoms, 3), np.nan)
    messages = []
    calculators = _calculators(make, reuse)
    for index in range(len(data)):
        atoms = data.atoms(index)
        try:
            energy, force = evaluate(atoms, next(calculators))
        except Exception as error:  # code of others: anything may happen
            messages.append(explain(error))
            calculators = _calculators(make, reuse)
        else:
            energies[index] = energy
            forces[data.offsets[index] : data.offsets[index + 1]] = force
            messages.append("")
    return Results(energies, forces, np.array(messages, dtype=np.str_))


def evaluate(atoms: Atoms, calculator: Calculator) -> tuple[float, Array]:
    """Energy (eV) and forces ([n_atoms, 3] eV/Å) of a structure.

    Raises:
        ValueError: they are not finite, or the forces have a wrong shape.
        Exception: whatever the calculator raises.
    """
    atoms.calc = calculator
    energy = float(atoms.get_potential_energy())
    forces = np.asarray(atoms.get_forces(), dtype=np.float64)
    if forces.shape != atoms.positions.shape:
        raise ValueError(f"forces of shape {forces.shape}, expected {atoms.positions.shape}")
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise ValueError("energy or forces are not finite")
    return energy, forces


def explain(error: Exception) -> str:
    """Return the message of an exception on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:_LONGEST]


def _calculators(make: Callable[[], Calculator], reuse: bool) -> Iterator[Calculator]:
    if reuse:
        calculator = make()
        while True:
            yield calculator
    while True:
        yield make()
