"""sGDML and MD17 archives (``.npz``), one molecule or cell each: http://www.sgdml.org.

``R`` [m, n, 3] and ``z`` [n], energies ``E`` [m] or [m, 1], forces ``F`` [m, n, 3], units as text
in ``r_unit`` and ``e_unit``, level of theory in ``theory``; ``lattice`` [3, 3] has the lattice
vectors as columns.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.formula import Formula
from numpy.typing import NDArray

from ekd.data.readers.source import (
    Block,
    Request,
    Source,
    check_numbers,
    mismatch,
    rows_per_block,
    units,
    unknown_key,
)
from ekd.elements import symbol
from ekd.errors import DataError

SUFFIXES = (".npz",)


class SGDMLSource(Source):
    """An archive of one molecule.

    Raises:
        DataError: it is no archive, lacks an array or the unit of the energy, or shapes disagree.
    """

    def __init__(self, path: Path, request: Request) -> None:
        self.path = path
        self.energy_key = request.energy or "E"
        self.has_forces = request.forces is not None
        arrays = _load(path)
        for key in ("R", "z", self.energy_key, *filter(None, [request.forces])):
            if key not in arrays:
                raise unknown_key(path, key, arrays)
        e_unit = request.energy_unit or _text(arrays.get("e_unit"))
        if not e_unit:
            raise DataError(
                f"'{path}' has no 'e_unit'; give energy_unit (archives of MD17 are in kcal/mol)"
            )
        self._units = units(request, energy=e_unit, length=_text(arrays.get("r_unit")) or "Å")
        theory = _text(arrays.get("theory"))
        self.level_of_theory = theory if theory not in ("", "unknown") else self.energy_key

        self._numbers = self._numeric(arrays, "z").astype(np.int64).reshape(-1)
        check_numbers(path, self._numbers)
        self._positions = self._numeric(arrays, "R")
        shape = self._positions.shape
        n_atoms = len(self._numbers)
        if len(shape) != 3 or shape[1:] != (n_atoms, 3):
            raise mismatch(path, "the archive", "R", shape, f"(m, {n_atoms}, 3)")
        self.n_configs = shape[0]
        energies = self._numeric(arrays, self.energy_key)
        if energies.shape not in ((shape[0],), (shape[0], 1)):
            expected = f"({shape[0]},)"
            raise mismatch(path, "the archive", self.energy_key, energies.shape, expected)
        self._energies = energies.reshape(-1).astype(np.float64)
        self._forces = None
        if request.forces is not None:
            self._forces = self._numeric(arrays, request.forces)
            if self._forces.shape != shape:
                found = self._forces.shape
                raise mismatch(path, "the archive", request.forces, found, str(shape))
        self._cell = None
        if "lattice" in arrays:
            lattice = self._numeric(arrays, "lattice")
            if lattice.shape != (3, 3):
                raise mismatch(path, "the archive", "lattice", lattice.shape, "(3, 3)")
            self._cell = lattice.T.astype(np.float64)
        counts = dict(zip(*np.unique(self._numbers, return_counts=True), strict=True))
        self._formula = Formula.from_dict(
            {symbol(int(number)): int(count) for number, count in counts.items()}
        ).format("hill")

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """See :meth:`Source.blocks`."""
        in_ev, in_angstrom, force = self._units
        n_atoms = len(self._numbers)
        step = rows_per_block(n_atoms)
        for first in range(start, len(self._energies), step):
            rows = slice(first, first + step)
            energies = self._energies[rows]
            kept = np.isfinite(energies)
            m = int(kept.sum())

            def vectors(
                array: NDArray[Any], rows: slice = rows, kept: NDArray[np.bool_] = kept
            ) -> NDArray[np.float64]:
                return array[rows][kept].reshape(-1, 3).astype(np.float64)

            cell = None if self._cell is None else self._cell * in_angstrom
            yield Block(
                n_read=len(energies),
                sizes=np.full(m, n_atoms, dtype=np.int64),
                atomic_numbers=np.tile(self._numbers, m),
                positions=vectors(self._positions) * in_angstrom,
                energies=energies[kept] * in_ev,
                groups=np.full(m, self._formula),
                forces=None if self._forces is None else vectors(self._forces) * force,
                cells=None if cell is None else np.tile(cell, (m, 1, 1)),
                pbc=None if cell is None else np.ones((m, 3), dtype=bool),
            )

    def _numeric(self, arrays: dict[str, NDArray[Any]], key: str) -> NDArray[Any]:
        array = arrays[key]
        if array.dtype.kind not in "fiu":
            raise DataError(f"'{key}' in '{self.path}' is of type {array.dtype}; expected numbers")
        return array


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # Pickled objects could run code, and nothing that is needed here is one.
        with np.load(path, allow_pickle=False) as archive:
            wanted = (name for name in archive.files if name not in ("perms", "idxs_train"))
            return {name: array for name in wanted if (array := _member(archive, name)) is not None}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"'{path}' cannot be read as an npz archive: {error}") from None


def _member(archive: Any, name: str) -> NDArray[Any] | None:
    try:
        return np.asarray(archive[name])
    except ValueError:  # a pickled object
        return None


def _text(array: NDArray[Any] | None) -> str:
    """Text that the archive holds as an array, as bytes or characters; empty where it does not."""
    if array is None:
        return ""
    entry = array.reshape(-1)[0] if array.size else ""
    return (entry.decode() if isinstance(entry, bytes) else str(entry)).strip()
