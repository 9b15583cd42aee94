"""Lattice vectors and periodic directions in the array shapes found in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd.data.readers.source import mismatch
from ekd.errors import DataError

Array = NDArray[np.float64]


def read_cells(
    cell: tuple[str, NDArray[np.generic]] | None,
    pbc: tuple[str, NDArray[np.generic]] | None,
    n_configs: int,
    path: Path,
    where: str,
) -> tuple[Array, NDArray[np.bool_]] | None:
    """Return cells [n_configs, 3, 3] in the unit of the file, and pbc [n_configs, 3].

    A cell without ``pbc`` is periodic in all directions, unless it is zero.

    Args:
        cell: key and array of lattice vectors as rows: (3, 3), (m, 3, 3), (9), (m, 9); or of edge
            lengths of orthorhombic cells: (3), (m, 3).
        pbc: key and array: one value, (3), (m, 3) or (m, 1).
        n_configs: m.
        path: the file, for errors.
        where: the group, for errors.

    Returns:
        None: nothing is periodic.

    Raises:
        DataError: an array has another shape or type, or periodic directions lack a cell.
    """
    periodic = None if pbc is None else _directions(*pbc, n_configs, path, where)
    if cell is None:
        if periodic is not None and periodic.any():
            assert pbc is not None
            raise DataError(
                f"{where} in '{path}' is periodic by '{pbc[0]}', but has no lattice vectors; add "
                "'cell' (3, 3) or (m, 3, 3), or name them with keys={'cell': ...}",
                code="EKD-DATA-031",
            )
        return None
    vectors = _vectors(*cell, n_configs, path, where)
    if periodic is None:
        periodic = np.repeat((vectors != 0).any(axis=(1, 2))[:, None], 3, axis=1)
    return (vectors, periodic) if periodic.any() else None


def _vectors(
    key: str, array: NDArray[np.generic], m: int, path: Path, where: str
) -> NDArray[np.float64]:
    if array.dtype.kind not in "fiu":
        raise DataError(
            f"'{key}' of {where} in '{path}' is of type {array.dtype}; expected lattice vectors, "
            "numbers (3, 3) or (m, 3, 3)",
            code="EKD-DATA-029",
        )
    values, shape = array.astype(np.float64), array.shape
    if shape == (3, 3) and m == 3 and (values > 0).all():
        raise DataError(
            f"'{key}' of {where} in '{path}' may be one cell or edge lengths of {m}; write lattice "
            f"vectors as ({m}, 3, 3)",
            code="EKD-DATA-030",
        )
    if shape in ((3, 3), (9,), (1, 3, 3), (1, 9)):
        values = values.reshape(1, 3, 3)
    elif shape in ((m, 3, 3), (m, 9)):
        values = values.reshape(m, 3, 3)
    elif shape in ((3,), (1, 3), (m, 3)):
        values = values.reshape(-1, 3)[:, :, None] * np.eye(3)
    else:
        expected = f"(3, 3) or ({m}, 3, 3), or of lengths (3,) or ({m}, 3)"
        raise mismatch(path, where, key, shape, expected)
    return np.broadcast_to(values, (m, 3, 3))


def _directions(
    key: str, array: NDArray[np.generic], m: int, path: Path, where: str
) -> NDArray[np.bool_]:
    if array.dtype.kind not in "bfiu" or not np.isin(array, (0, 1)).all():
        found = f"of type {array.dtype}" if array.dtype.kind not in "fiu" else "not 0 or 1"
        raise DataError(
            f"'{key}' of {where} in '{path}' is {found}; expected true or false for each direction",
            code="EKD-DATA-029",
        )
    if array.shape not in ((), (1,), (3,), (1, 3), (m, 3), (m, 1)):
        raise mismatch(path, where, key, array.shape, f"(), (3,) or ({m}, 3)")
    return np.broadcast_to(array.astype(bool), (m, 3))
