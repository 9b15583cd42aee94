"""The layout of pyanitools: ANI-1, COMP6, and their successors ANI-2x and COMP6v2.

Nested groups with ``species``, ``coordinates`` [m, n, 3] (Å), ``energies`` [m] (Hartree) and
sometimes ``forces`` [m, n, 3]. ``species`` holds chemical symbols [n], as bytes or text; the
successors group molecules by size and hold atomic numbers [m, n] instead. ``smiles``, one text or
an array of characters, names the molecule of a group for users.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from ekd.data.readers.hdf5_groups import GroupSource
from ekd.data.readers.hdf5_heaps import values_of
from ekd.data.readers.numbers import text
from ekd.data.readers.source import Request


class PyanitoolsSource(GroupSource):
    """A file in this layout.

    Raises:
        DataError: no group has the key of the energy.
    """

    numbers_key = "species"

    def __init__(self, path: Path, request: Request) -> None:
        super().__init__(path, request, request.energy or "energies")

    def _label(self, group: h5py.Group, name: str) -> str:
        smiles = group.get("smiles")
        if not isinstance(smiles, h5py.Dataset):
            return name
        parts = [text(entry).strip() for entry in values_of(smiles).reshape(-1)]
        if len(parts) > 1 and max(map(len, parts)) > 1:
            return name  # one text per configuration, none for the group
        return f"{name} {''.join(parts)}".strip()
