"""The arrays of the prepared file: the kept rows of the staged ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data import prepared
from ekd.data.readers.source import config_ranges
from ekd.preparation.staging import Staging


class KeptArrays:
    """The arrays of the prepared file: the kept rows of the staged ones."""

    def __init__(
        self, staging: Staging, offsets: NDArray[np.int64], kept: NDArray[np.bool_]
    ) -> None:
        self._staging = staging
        self._offsets = offsets
        self._kept = kept
        self._sizes = np.diff(offsets)
        groups = staging.array("group_index")[kept]
        used, self._group_index = np.unique(groups, return_inverse=True)
        self.group_names = [staging.group_names[index] for index in used]
        n_configs, n_atoms = int(kept.sum()), int(self._sizes[kept].sum())
        self.shapes: dict[str, tuple[int, ...]] = {
            "offsets": (n_configs + 1,),
            "atomic_numbers": (n_atoms,),
            "positions": (n_atoms, 3),
            "energies": (n_configs,),
            "group_index": (n_configs,),
        }
        if staging.array("pbc")[kept].any():
            self.shapes |= {"cells": (n_configs, 3, 3), "pbc": (n_configs, 3)}
        if len(staging.array("forces")):
            self.shapes["forces"] = (n_atoms, 3)

    @property
    def n_bytes(self) -> int:
        """Size of all arrays as stored."""
        return sum(prepared.row_bytes(name) * shape[0] for name, shape in self.shapes.items())

    def pieces(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield the rows of one array in pieces."""
        if name == "offsets":
            yield np.concatenate([[0], np.cumsum(self._sizes[self._kept])])
        elif name == "group_index":
            yield self._group_index.reshape(-1)
        elif name in ("energies", "cells", "pbc"):
            array = self._staging.array(name)
            for first, last in config_ranges(self._offsets):
                yield array[first:last][self._kept[first:last]]
        else:
            array = self._staging.array(name)
            for first, last in config_ranges(self._offsets):
                rows = np.repeat(self._kept[first:last], self._sizes[first:last])
                yield array[self._offsets[first] : self._offsets[last]][rows]
