"""Molecules of several sizes in one array, filled up behind the last atom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd.errors import DataError


def check_padding(
    positions: NDArray[np.floating], atoms: NDArray[np.bool_], path: Path, where: str
) -> None:
    """Refuse what is called padding by its atomic number 0, and has a position.

    Args:
        positions: [m, n, 3].
        atoms: [m, n] what is an atom.
        path: the file, for errors.
        where: the group, for errors.

    Raises:
        DataError: something without an atomic number is somewhere else than at zero.
    """
    rest = positions[~atoms]
    if np.nan_to_num(rest).any():
        raise DataError(
            f"{where} in '{path}' has atomic numbers 0 or -1 at positions that are not zero: these "
            "are ghost atoms, or the numbers are indices of elements; expected atomic numbers, and "
            "0 or -1 at zero behind the last atom alone",
            code="EKD-DATA-046",
        )
