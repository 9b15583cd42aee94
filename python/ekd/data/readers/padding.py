"""Molecules of different sizes in one array, padded after the last atom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd.errors import DataError


def check_padding(
    positions: NDArray[np.floating], atoms: NDArray[np.bool_], path: Path, where: str
) -> None:
    """Refuse padding (atomic number 0) with nonzero positions.

    Args:
        positions: [m, n, 3].
        atoms: [m, n] mask of the atoms.
        path: the file, for errors.
        where: the group, for errors.

    Raises:
        DataError: an entry without an atomic number has a nonzero position.
    """
    rest = positions[~atoms]
    if np.nan_to_num(rest).any():
        raise DataError(
            f"{where} in '{path}' has atomic numbers 0 or -1 at positions that are not zero: these "
            "are ghost atoms, or the numbers are indices of elements; expected atomic numbers, and "
            "0 or -1 only after the last atom, with positions of zero",
            code="EKD-DATA-046",
        )
