"""Energies and forces by a calculator of ASE that may fail."""

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
    """Of some geometries.

    Attributes:
        energies: [n_configs] eV; NaN where the calculator failed.
        forces: [n_atoms, 3] eV/Å; NaN where the calculator failed.
        messages: [n_configs] what went wrong; empty: nothing.
    """

    energies: Array
    forces: Array
    messages: NDArray[np.str_]


def calculate(data: Dataset, make: Callable[[], Calculator], reuse: bool) -> Results:
    """Calculate one geometry after the other.

    Every exception of the calculator, and every energy or force that is not finite, is noted and
    ends no more than its geometry.

    Args:
        data: the geometries.
        make: makes the calculator.
        reuse: one calculator for all of them; otherwise each has a new one, so that no result
            depends on what was calculated before. After a failure a new one is made in any case.
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
    """What an exception says, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:_LONGEST]


def _calculators(make: Callable[[], Calculator], reuse: bool) -> Iterator[Calculator]:
    if reuse:
        calculator = make()
        while True:
            yield calculator
    while True:
        yield make()
