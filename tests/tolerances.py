"""All tolerances of the tests, by comparison and precision.

Bounds are only as wide as needed for rounding errors of the comparison. A test that needs more has
its own entry here, with a reason.
"""

from __future__ import annotations

from typing import NamedTuple


class Tolerance(NamedTuple):
    """Bounds on ``|found - expected| <= atol + rtol * |expected|``."""

    rtol: float
    atol: float
    reason: str

    @property
    def bounds(self) -> dict[str, float]:
        """Keyword arguments of ``numpy.testing.assert_allclose`` and ``torch.testing``."""
        return {"rtol": self.rtol, "atol": self.atol}


_TABLE = {
    "kernel": {
        "float64": Tolerance(1e-10, 1e-10, "the same sums in another order, on values near one"),
        "float32": Tolerance(1e-5, 1e-5, "as above: about a hundred roundings of 6e-8"),
    },
    "message": {
        "float64": Tolerance(1e-10, 1e-10, "as above, of some hundred products"),
        "float32": Tolerance(1e-4, 1e-4, "as above, of some hundred products"),
    },
    "runtime": {
        "float64": Tolerance(1e-12, 1e-12, "the same sums in another order; atol for small forces"),
        "float32": Tolerance(1e-4, 1e-4, "as above, in single precision, through whole networks"),
    },
    "lammps": {
        "float64": Tolerance(1e-9, 1e-9, "LAMMPS wraps and rotates cells: positions are rounded"),
        "float32": Tolerance(1e-4, 1e-4, "rounding of pair vectors, through a whole network"),
    },
    "finite_difference": {
        "float64": Tolerance(0.0, 1e-5, "eV/Å at steps of 1e-4 Å: third derivatives up to 1e3"),
    },
    "hippynn": {
        "float64": Tolerance(1e-10, 1e-10, "same formula and weights; atol for vanishing forces"),
    },
    "symmetry": {
        "float64": Tolerance(1e-9, 1e-9, "rotated or shifted coordinates are rounded"),
        "float32": Tolerance(1e-4, 1e-4, "as above, in single precision"),
    },
    "file": {
        "float64": Tolerance(1e-14, 0.0, "a unit conversion rounds once or twice"),
    },
    "constants": {
        "float64": Tolerance(1e-7, 0.0, "ASE takes its constants from CODATA 2014"),
    },
    "processes": {
        "float64": Tolerance(1e-8, 0.0, "sums over two processes, through some tens of steps"),
    },
    "migration": {
        "float64": Tolerance(
            1e-8, 1e-8, "other orders of sums, other processors, through training"
        ),
    },
    "least_squares": {
        "float64": Tolerance(1e-9, 1e-9, "eps times the condition of a composition matrix, 1e3"),
    },
}


def tolerance(comparison: str, dtype: object = "float64") -> Tolerance:
    """Look a tolerance up; ``dtype`` may be a name, or a dtype of numpy or torch."""
    return _TABLE[comparison][str(dtype).removeprefix("torch.")]
