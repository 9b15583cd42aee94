"""The layout of pyanitools: ANI-1, COMP6, and their successors ANI-2x and COMP6v2.

Nested groups with ``species``, ``coordinates`` [m, n, 3] (Å), ``energies`` [m] (Hartree) and
sometimes ``forces`` [m, n, 3]. ``species`` holds chemical symbols [n], as bytes or text; the
successors group molecules by size and hold atomic numbers [m, n] instead. ``smiles``, one text or
an array of its characters, says to people which molecule a group is.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ekd.data.readers.hdf5_groups import GroupSource
from ekd.data.readers.source import Request, mismatch
from ekd.elements import atomic_number
from ekd.errors import DataError


class PyanitoolsSource(GroupSource):
    """A file in this layout.

    Raises:
        DataError: no group has the key of the energy.
    """

    def __init__(self, path: Path, request: Request) -> None:
        super().__init__(path, request, request.energy or "energies")

    def _atomic_numbers(self, group: h5py.Group) -> NDArray[np.int64]:
        name = group.name.strip("/")
        if "species" not in group:
            raise DataError(
                f"group '{name}' of '{self.path}' has no 'species', only {', '.join(group)}"
            )
        species = np.asarray(group["species"])
        if species.dtype.kind in "iu" and species.ndim in (1, 2):
            return species.astype(np.int64)
        if species.ndim != 1:
            raise mismatch(self.path, name, "species", species.shape, "(n,) symbols")
        symbols = [_text(entry).strip() for entry in species]
        try:
            numbers = {symbol: atomic_number(symbol) for symbol in set(symbols)}
        except DataError as error:
            raise DataError(f"'species' of {name} in '{self.path}': {error}") from None
        return np.array([numbers[symbol] for symbol in symbols], dtype=np.int64)

    def _label(self, group: h5py.Group) -> str:
        name = super()._label(group)
        smiles = group.get("smiles")
        if not isinstance(smiles, h5py.Dataset):
            return name
        parts = [_text(entry).strip() for entry in np.asarray(smiles).reshape(-1)]
        if len(parts) > 1 and max(map(len, parts)) > 1:
            return name  # one for every configuration: none that names the group
        return f"{name} {''.join(parts)}".strip()


def _text(entry: object) -> str:
    return entry.decode("ascii", "replace") if isinstance(entry, bytes) else str(entry)
