"""Relaxation of structures with a model before the runs."""

from __future__ import annotations

import warnings

from ase import Atoms
from ase.optimize import FIRE

from ekd.dynamics.forces import Copies, CopiesCalculator

_FORCE = 0.05  # eV/Å, convergence criterion
_STEPS = 500  # packed boxes need tens of steps


def relaxed(atoms: Atoms, copies: Copies) -> Atoms:
    """Relax positions at constant cell until forces are small, in at most 500 steps.

    If the model cannot evaluate the structure, it is returned unchanged, and its runs will fail.

    Args:
        atoms: starting structure, which is not changed.
        copies: evaluator of the structure.
    """
    found = atoms.copy()
    calculator = CopiesCalculator(copies, atoms.positions, 1)
    found.calc = calculator
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        FIRE(found, logfile=None).run(fmax=_FORCE, steps=_STEPS)
    found.calc = None
    return atoms.copy() if any(calculator.lost) else found
