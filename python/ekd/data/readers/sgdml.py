"""sGDML and MD17 archives (``.npz``), http://www.sgdml.org, and others with arrays like these.

``R`` [m, n, 3] and ``z`` [n], energies ``E`` [m] or [m, 1], forces ``F`` [m, n, 3], units as text
in ``r_unit`` and ``e_unit``, level of theory in ``theory``; ``lattice`` [3, 3] has the lattice
vectors as columns. rMD17 and its relatives have other names, and no units.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.formula import Formula
from numpy.typing import NDArray

from ekd.data.readers.cells import read_cells
from ekd.data.readers.keys import find, find_cell
from ekd.data.readers.numbers import read_numbers
from ekd.data.readers.source import (
    Block,
    Request,
    Source,
    mismatch,
    rows_per_block,
    units,
    unknown_key,
)
from ekd.elements import symbol
from ekd.errors import DataError

SUFFIXES = (".npz",)

_ENERGIES = ("E", "energies", "energy")
_WHERE = "the archive"


class SGDMLSource(Source):
    """An archive of one molecule, or of several with the same number of atoms.

    Raises:
        DataError: it is no archive, lacks an array or the unit of the energy, or shapes disagree.
    """

    def __init__(self, path: Path, request: Request) -> None:
        self.path = path
        self.has_forces = request.forces is not None
        arrays = _load(path)
        self.energy_key = request.energy or next(filter(arrays.__contains__, _ENERGIES), "E")
        positions, numbers = (
            find(what, arrays, request.keys) or _expected(what, request, default)
            for what, default in (("positions", "R"), ("numbers", "z"))
        )
        periodic = [(request.keys or {}).get(what) for what in ("cell", "pbc")]
        named = filter(None, [self.energy_key, request.forces, *periodic])
        for key in (positions, numbers, *named):
            if key not in arrays:
                raise unknown_key(path, key, arrays)
        e_unit = request.energy_unit or _text(arrays.get("e_unit"))
        if not e_unit:
            raise DataError(
                f"'{path}' has no 'e_unit'; give energy_unit (archives of MD17 and rMD17 are in "
                "kcal/mol)",
                code="EKD-DATA-043",
            )
        self._units = units(request, energy=e_unit, length=_text(arrays.get("r_unit")) or "Å")
        theory = _text(arrays.get("theory"))
        self.level_of_theory = theory if theory not in ("", "unknown") else self.energy_key

        self._numbers = read_numbers(numbers, arrays[numbers], path, _WHERE)
        self._positions = self._numeric(arrays, positions)
        shape = self._positions.shape
        self._n_atoms = n_atoms = self._numbers.shape[-1]
        if len(shape) != 3 or shape[1:] != (n_atoms, 3):
            raise mismatch(path, _WHERE, positions, shape, f"(m, {n_atoms}, 3)")
        self.n_configs = shape[0]
        if self._numbers.ndim == 2 and len(self._numbers) == 1:
            self._numbers = self._numbers[0]
        if self._numbers.ndim == 2 and len(self._numbers) != shape[0]:
            expected = f"({shape[0]}, {n_atoms})"
            raise mismatch(path, _WHERE, numbers, self._numbers.shape, expected)
        energies = self._numeric(arrays, self.energy_key)
        if energies.shape not in ((shape[0],), (shape[0], 1)):
            expected = f"({shape[0]},)"
            raise mismatch(path, _WHERE, self.energy_key, energies.shape, expected)
        self._energies = energies.reshape(-1).astype(np.float64)
        self._forces = None
        if request.forces is not None:
            self._forces = self._numeric(arrays, request.forces)
            if self._forces.shape != shape:
                found = self._forces.shape
                raise mismatch(path, _WHERE, request.forces, found, str(shape))
        cell, pbc = find_cell(arrays, request.keys, path, _WHERE)
        self._periodic = read_cells(
            None if cell is None else (cell, _rows(cell, arrays[cell])),
            None if pbc is None else (pbc, arrays[pbc]),
            shape[0],
            path,
            _WHERE,
        )
        if self._numbers.ndim == 1:
            self._formulas = np.full(shape[0], _formula(self._numbers))
        else:
            rows, inverse = np.unique(np.sort(self._numbers, axis=1), axis=0, return_inverse=True)
            self._formulas = np.array([_formula(row) for row in rows])[inverse.reshape(-1)]

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """See :meth:`Source.blocks`."""
        in_ev, in_angstrom, force = self._units
        n_atoms = self._n_atoms
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

            cells = pbc = None
            if self._periodic is not None and (one := self._periodic[1][rows][kept]).any():
                cells, pbc = self._periodic[0][rows][kept] * in_angstrom, one
            yield Block(
                n_read=len(energies),
                sizes=np.full(m, n_atoms, dtype=np.int64),
                atomic_numbers=np.tile(self._numbers, m)
                if self._numbers.ndim == 1
                else self._numbers[rows][kept].reshape(-1),
                positions=vectors(self._positions) * in_angstrom,
                energies=energies[kept] * in_ev,
                groups=self._formulas[rows][kept],
                forces=None if self._forces is None else vectors(self._forces) * force,
                cells=cells,
                pbc=pbc,
            )

    def _numeric(self, arrays: dict[str, NDArray[Any]], key: str) -> NDArray[Any]:
        array = arrays[key]
        if array.dtype.kind not in "fiu":
            raise DataError(
                f"'{key}' in '{self.path}' is of type {array.dtype}; expected numbers",
                code="EKD-DATA-029",
            )
        return array


def _expected(what: str, request: Request, default: str) -> str:
    return (request.keys or {}).get(what, default)


def _rows(key: str, array: NDArray[Any]) -> NDArray[Any]:
    """Lattice vectors as rows: of ``lattice`` they are columns."""
    if key == "lattice" and array.shape[-1:] == (9,):
        array = array.reshape(-1, 3, 3)
    if key == "lattice" and array.shape[-2:] == (3, 3):
        array = np.swapaxes(array.reshape(-1, 3, 3), 1, 2)
    return array


def _formula(numbers: NDArray[np.int64]) -> str:
    counts = dict(zip(*np.unique(numbers, return_counts=True), strict=True))
    names = {symbol(int(number)): int(count) for number, count in counts.items()}
    return str(Formula.from_dict(names).format("hill"))


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # Pickled objects could run code, and nothing that is needed here is one.
        with np.load(path, allow_pickle=False) as archive:
            wanted = (name for name in archive.files if name not in ("perms", "idxs_train"))
            return {name: array for name in wanted if (array := _member(archive, name)) is not None}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"'{path}' cannot be read as an npz archive: {error}", code="EKD-DATA-027"
        ) from None


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
