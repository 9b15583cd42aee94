"""Neighbour lists, from the C++ cell list that training, the ASE calculator and tests share.

A list is full (``i -> j`` and ``j -> i``), sorted by centre, and holds every pair with
``0 < distance < cutoff``, once per periodic image::

    pair_vectors = positions[j] - positions[i] + cell_shifts @ cell
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ekd import _native
from ekd.errors import StructureError


@dataclass(frozen=True)
class NeighborList:
    """All pairs of one structure, or of a batch of structures.

    Attributes:
        pairs: int64 (2, n_pairs); row 0 holds the centres, ascending, row 1 their neighbours.
        cell_shifts: int64 (n_pairs, 3); lattice vectors added to the neighbour's position.
        pair_vectors: float64 (n_pairs, 3); from centre to neighbour, Å.
        pair_offsets: int64 (n_structures + 1); the pairs of structure s are
            ``pair_offsets[s]:pair_offsets[s + 1]``.
    """

    pairs: NDArray[np.int64]
    cell_shifts: NDArray[np.int64]
    pair_vectors: NDArray[np.float64]
    pair_offsets: NDArray[np.int64]


def neighbor_list(
    positions: ArrayLike,
    cutoff: float,
    cell: ArrayLike | None = None,
    pbc: ArrayLike | bool = False,
) -> NeighborList:
    """Pairs of one structure: any triclinic cell, any mix of periodic directions, any size.

    Args:
        positions: (n_atoms, 3), Å.
        cutoff: Å.
        cell: (3, 3), rows are lattice vectors, Å; only those of periodic directions are used.
        pbc: one flag, or one per direction.

    Raises:
        StructureError: no atoms, atoms on top of each other (closer than 1e-3 Å), positions that
            are not finite, a periodic direction without a cell vector, a degenerate cell.
    """
    positions = np.asarray(positions, dtype=np.float64)
    offsets = np.array([0, len(positions)], dtype=np.int64)
    cells = None if cell is None else np.asarray(cell, dtype=np.float64)[None]
    flags = np.broadcast_to(np.asarray(pbc, dtype=bool), (3,))[None]
    return batched_neighbor_list(positions, offsets, cutoff, cells, flags)


def batched_neighbor_list(
    positions: ArrayLike,
    offsets: ArrayLike,
    cutoff: float,
    cells: ArrayLike | None = None,
    pbc: ArrayLike | None = None,
) -> NeighborList:
    """Pairs of many structures at once; atom indices count through the whole batch.

    Args:
        positions: (n_atoms, 3), Å, one structure after the other.
        offsets: (n_structures + 1); structure s owns atoms ``offsets[s]:offsets[s + 1]``.
        cutoff: Å.
        cells: (n_structures, 3, 3), or None where nothing is periodic.
        pbc: (n_structures, 3), or None where nothing is periodic.

    Raises:
        StructureError: as for :func:`neighbor_list`, naming the structure; or arrays whose shapes
            do not fit together.
    """
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    if positions.size == 0:
        raise StructureError("no atoms; a structure needs at least one atom")
    n_structures = len(offsets) - 1
    if cells is not None:
        cells = _shaped("cells", cells, np.float64, (n_structures, 3, 3))
    if pbc is not None:
        pbc = _shaped("pbc", np.asarray(pbc, dtype=bool), np.uint8, (n_structures, 3))
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise StructureError(f"positions have shape {positions.shape}, expected (n_atoms, 3)")
    if n_structures < 1 or offsets[0] != 0 or offsets[-1] != len(positions):
        raise StructureError(
            f"offsets run from {offsets[:1]} to {offsets[-1:]}, expected 0 to {len(positions)}, "
            "the number of atoms"
        )
    return NeighborList(*_native.core().neighbor_list(positions, offsets, cutoff, cells, pbc))


def _shaped(
    name: str, values: ArrayLike, dtype: type[np.generic], shape: tuple[int, ...]
) -> NDArray[np.generic]:
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.shape != shape:
        raise StructureError(f"{name} have shape {array.shape}, expected {shape}")
    return array
