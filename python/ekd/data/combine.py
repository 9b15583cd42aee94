"""Concatenation of datasets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data.dataset import Dataset
from ekd.data.mapped import chain


def concatenate(first: Dataset, *others: Dataset) -> Dataset:
    """Concatenate the configurations of several datasets; the provenance is the first one's.

    Forces are kept only if all datasets have them. If any dataset has periodic cells, the
    configurations of the others become non-periodic in all directions. Mapped arrays stay on disk.
    """
    parts = [first, *others]
    starts = np.cumsum([0, *(part.n_atoms for part in parts)])
    offsets = [part.offsets[1:] + start for part, start in zip(parts, starts, strict=False)]

    def joined(name: str) -> NDArray[Any]:
        return chain([getattr(part, name) for part in parts])

    def joined_cells(name: str, shape: tuple[int, ...], dtype: type) -> NDArray[Any] | None:
        arrays = [getattr(part, name) for part in parts]
        if all(array is None for array in arrays):
            return None
        blank: list[NDArray[Any]] = [np.zeros((len(part), *shape), dtype) for part in parts]
        return chain([b if a is None else a for a, b in zip(arrays, blank, strict=True)])

    return replace(
        first,
        atomic_numbers=joined("atomic_numbers"),
        positions=joined("positions"),
        offsets=np.concatenate([[0], *offsets]),
        energies=joined("energies"),
        groups=joined("groups"),
        forces=None if any(part.forces is None for part in parts) else joined("forces"),
        cells=joined_cells("cells", (3, 3), float),
        pbc=joined_cells("pbc", (3,), bool),
    )
