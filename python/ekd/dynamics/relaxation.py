"""The nearest minimum of a model's energy, where runs may start."""

from __future__ import annotations

import warnings

from ase import Atoms
from ase.optimize import FIRE

from ekd.dynamics.forces import Copies, CopiesCalculator

_FORCE = 0.05  # eV/Å, largest at the end
_STEPS = 500  # a packed box loses its strain in some tens


def relaxed(atoms: Atoms, copies: Copies) -> Atoms:
    """Follow the forces down, with the cell as it is, until they are small or 500 steps are done.

    A start that the model cannot evaluate is returned as it is: its runs tell what is wrong.

    Args:
        atoms: where to start; it does not change.
        copies: what evaluates it.
    """
    found = atoms.copy()
    calculator = CopiesCalculator(copies, atoms.positions, 1)
    found.calc = calculator
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        FIRE(found, logfile=None).run(fmax=_FORCE, steps=_STEPS)
    found.calc = None
    return atoms.copy() if any(calculator.lost) else found
