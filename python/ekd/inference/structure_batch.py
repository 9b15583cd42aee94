"""Conversion of many structures to one set of arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ekd.errors import StructureError
from ekd.neighbor_list import as_array


class AtomsLike(Protocol):
    """The attributes of :class:`ase.Atoms` that are used."""

    numbers: Any
    positions: Any
    cell: Any
    pbc: Any


StructureLike: TypeAlias = (
    AtomsLike
    | tuple[ArrayLike, ArrayLike]
    | tuple[ArrayLike, ArrayLike, ArrayLike | None]
    | tuple[ArrayLike, ArrayLike, ArrayLike | None, ArrayLike | bool]
)
"""A structure: :class:`ase.Atoms`, or the arguments of :meth:`ekd.ExportedModel.evaluate`."""


@dataclass(frozen=True)
class StructureArrays:
    """Concatenated structures.

    Attributes:
        atomic_numbers: (n_atoms).
        positions: (n_atoms, 3), Å.
        offsets: (n_structures + 1); structure s owns atoms ``offsets[s]:offsets[s + 1]``.
        cells: (n_structures, 3, 3), Å; zeros for structures without a cell.
        pbc: (n_structures, 3).
    """

    atomic_numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    offsets: NDArray[np.int64]
    cells: NDArray[np.float64]
    pbc: NDArray[np.bool_]


def as_arrays(structures: Iterable[StructureLike]) -> StructureArrays:
    """Concatenate structures.

    Raises:
        StructureError: a single structure instead of several; or an invalid structure, one without
            atoms, or arrays of a wrong shape, with the index of the structure.
    """
    if hasattr(structures, "numbers"):
        raise StructureError(
            f"found one structure, {type(structures).__name__}, expected several; give a list of "
            "structures, or use evaluate() for one",
            code="EKD-STRUCTURE-007",
        )
    atomic_numbers = [np.empty(0, dtype=np.int64)]
    positions = [np.empty((0, 3))]
    cells, pbc, offsets = [], [], [0]
    for place, structure in enumerate(structures):
        numbers, coordinates, cell, flags = _checked(structure, place)
        atomic_numbers.append(numbers)
        positions.append(coordinates)
        cells.append(_NO_CELL if cell is None else cell)
        pbc.append(flags if flags.shape == (3,) else np.broadcast_to(flags, 3))
        offsets.append(offsets[-1] + len(numbers))
    n_structures = len(cells)
    return StructureArrays(
        np.concatenate(atomic_numbers),
        np.concatenate(positions),
        np.array(offsets, dtype=np.int64),
        np.array(cells, dtype=np.float64).reshape(n_structures, 3, 3),
        np.array(pbc, dtype=np.bool_).reshape(n_structures, 3),
    )


_NO_CELL = np.zeros((3, 3))


def _checked(
    structure: StructureLike, place: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.bool_]]:
    """Return atomic numbers, positions, cell and pbc after checking their shapes."""
    numbers, positions, cell, pbc = _parts(structure, place)
    try:
        numbers, positions = as_array(numbers, np.int64), as_array(positions, np.float64)
        cell = None if cell is None else as_array(cell, np.float64)
        pbc = as_array(pbc, np.bool_)
    except (TypeError, ValueError) as error:
        raise StructureError(
            f"structure {place} has an array that does not contain numbers ({error}); give "
            "atomic_numbers (n_atoms), positions (n_atoms, 3), a cell (3, 3) and pbc",
            code="EKD-STRUCTURE-006",
        ) from None
    if numbers.ndim != 1:
        _refuse("atomic_numbers", place, numbers, "(n_atoms)")
    if len(numbers) == 0:
        raise StructureError(
            f"no atoms of structure {place}; a structure needs at least one atom",
            code="EKD-STRUCTURE-002",
        )
    if positions.shape != (len(numbers), 3):
        _refuse("positions", place, positions, f"({len(numbers)}, 3), a row for each atom")
    if cell is not None and cell.shape != (3, 3):
        _refuse("cell", place, cell, "(3, 3)")
    if pbc.shape not in ((), (1,), (3,)):
        _refuse("pbc", place, pbc, "() or (3), one flag or three")
    return numbers, positions, cell, pbc


def _parts(structure: StructureLike, place: int) -> tuple[Any, Any, Any, Any]:
    if isinstance(structure, (tuple, list)):
        if 2 <= len(structure) <= 4:
            cell = structure[2] if len(structure) > 2 else None
            pbc = structure[3] if len(structure) > 3 else False
            return structure[0], structure[1], cell, pbc
        found = f"{type(structure).__name__} of {len(structure)}"
    elif all(hasattr(structure, name) for name in ("numbers", "positions", "cell", "pbc")):
        cell = structure.cell
        # The array attribute of ase.Cell avoids the copy of a conversion.
        return structure.numbers, structure.positions, getattr(cell, "array", cell), structure.pbc
    else:
        found = type(structure).__name__
    raise StructureError(
        f"structure {place} is a {found}; give ase.Atoms, or a tuple: atomic_numbers, positions "
        "and, for periodic structures, cell and pbc",
        code="EKD-STRUCTURE-006",
    )


def _refuse(name: str, place: int, array: NDArray[Any], expected: str) -> NoReturn:
    raise StructureError(
        f"{name} of structure {place}: found shape {array.shape}, expected {expected}",
        code="EKD-STRUCTURE-004",
    )
