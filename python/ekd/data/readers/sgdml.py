"""sGDML and MD17 archives (``.npz``), http://www.sgdml.org, and others with similar arrays.

``R`` [m, n, 3] and ``z`` [n], energies ``E`` [m] or [m, 1], forces ``F`` [m, n, 3], units as text
in ``r_unit`` and ``e_unit``, level of theory in ``theory``; ``lattice`` [3, 3] has the lattice
vectors as columns. rMD17 and similar data sets use other names and state no units.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.formula import Formula
from numpy.typing import NDArray

from ekd.data.readers.annotations import choose, is_wanted
from ekd.data.readers.cells import read_cells
from ekd.data.readers.keys import find, find_cell
from ekd.data.readers.numbers import PADDING, read_numbers
from ekd.data.readers.observed import Observed, Precision
from ekd.data.readers.padding import check_padding
from ekd.data.readers.source import (
    Block,
    Request,
    Source,
    check_names,
    mismatch,
    other_energies,
    rows_per_block,
    unknown_key,
)
from ekd.data.readers.stated_units import decoded, factors
from ekd.data.readers.verdict import judge
from ekd.elements import symbol
from ekd.errors import DataError

SUFFIXES = (".npz",)

_ENERGIES = ("E", "energies", "energy")
_WHERE = "the archive"
_TOTAL_CHARGE = "Q"
"""The total charge of configurations in archives of PhysNet."""


class SGDMLSource(Source):
    """An archive of one molecule, or of several with the same number of atoms.

    Raises:
        DataError: not an archive, an array or the energy unit is missing, or shapes disagree.
    """

    def __init__(self, path: Path, request: Request) -> None:
        self.path = path
        self.has_forces = request.forces is not None
        self._request = request
        arrays, pickled = _load(path)
        self.energy_key = request.energy or next(filter(arrays.__contains__, _ENERGIES), "E")
        check_names(path, self.energy_key, request)
        positions, numbers = (
            find(what, arrays, request.keys) or _expected(what, request, default)
            for what, default in (("positions", "R"), ("numbers", "z"))
        )
        periodic = [(request.keys or {}).get(what) for what in ("cell", "pbc")]
        named = filter(None, [self.energy_key, request.forces, *periodic])
        for key in (positions, numbers, *named):
            if key in pickled:
                raise DataError(
                    f"'{key}' in '{path}' holds pickled Python objects, which are not read, "
                    "because they could run code; save arrays of numbers: molecules of different "
                    "sizes as (m, n) with 0 after the last atom, or in HDF5 as one group each",
                    code="EKD-DATA-086",
                )
            if key not in arrays:
                raise unknown_key(path, key, arrays)
        e_unit = _text(arrays.get("e_unit"))
        if not e_unit and not request.energy_unit:
            raise DataError(
                f"'{path}' has no 'e_unit'; give energy_unit (archives of MD17 and rMD17 are in "
                "kcal/mol)",
                code="EKD-DATA-043",
            )
        stated: dict[str, tuple[str, str | None]] = {
            "energy": (self.energy_key, e_unit or None),
            "positions": (positions, _text(arrays.get("r_unit")) or None),
        }
        if request.forces is not None:
            stated["forces"] = (request.forces, _text(arrays.get("f_unit")) or None)
        sizes = factors(request, stated, "eV", path)
        self._units = sizes["energy"], sizes["positions"], sizes.get("forces", 1.0)
        theory = _text(arrays.get("theory"))
        self.level_of_theory = theory if theory not in ("", "unknown") else self.energy_key

        self._numbers = read_numbers(numbers, arrays[numbers], path, _WHERE)
        self._positions = self._numeric(arrays, positions)
        energies = self._numeric(arrays, self.energy_key)
        self._forces = None if request.forces is None else self._numeric(arrays, request.forces)
        if self._numbers.ndim == 1 and self._positions.shape == (len(self._numbers), 3):
            self._positions = self._positions[None]  # one configuration
            energies = energies[None] if energies.ndim == 0 else energies
            if self._forces is not None and self._forces.ndim == 2:
                self._forces = self._forces[None]
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
        # Other programs write scalars with trailing axes of length one.
        if energies.shape[:1] != shape[:1] or energies.size != shape[0]:
            expected = f"({shape[0]},)"
            raise mismatch(path, _WHERE, self.energy_key, energies.shape, expected)
        self._stored = energies.reshape(-1)
        self._energies = self._stored.astype(np.float64)
        if self._forces is not None and self._forces.shape != shape:
            found = self._forces.shape
            raise mismatch(path, _WHERE, str(request.forces), found, str(shape))
        cell, pbc = find_cell(arrays, request.keys, path, _WHERE)
        self._periodic = read_cells(
            None if cell is None else (cell, _rows(cell, arrays[cell])),
            None if pbc is None else (pbc, arrays[pbc]),
            shape[0],
            path,
            _WHERE,
        )
        self._labels = self._described(arrays)
        self._others = [
            key
            for key in other_energies(arrays, self.energy_key)
            if request.energy is None
            and arrays[key].dtype.kind in "fiu"
            and arrays[key].shape[:1] == shape[:1]
            and arrays[key].size == shape[0]
        ]
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
            numbers = (
                np.broadcast_to(self._numbers, (len(energies), n_atoms))
                if self._numbers.ndim == 1
                else self._numbers[rows]
            )
            atoms = numbers[kept] != PADDING
            chosen, seen = choose(
                self._request,
                {key: column[rows][kept] for key, column in self._labels.items()},
                atoms.sum(axis=1),
                numbers[kept][atoms],
            )
            kept[kept] = chosen
            atoms = atoms[chosen]
            seen.energies.update(dict.fromkeys(self._others, len(energies)))
            seen.precision = Precision.of(self._stored[rows][kept], in_ev)
            positions = self._positions[rows][kept]
            check_padding(positions, atoms, self.path, _WHERE)
            cells = pbc = None
            if self._periodic is not None and (one := self._periodic[1][rows][kept]).any():
                cells, pbc = self._periodic[0][rows][kept] * in_angstrom, one
            yield Block(
                n_read=len(energies),
                sizes=atoms.sum(axis=1),
                atomic_numbers=numbers[kept][atoms],
                positions=positions[atoms].astype(np.float64) * in_angstrom,
                energies=energies[kept] * in_ev,
                groups=self._formulas[rows][kept],
                forces=None
                if self._forces is None
                else self._forces[rows][kept][atoms].astype(np.float64) * force,
                cells=cells,
                pbc=pbc,
                seen=seen,
            )

    def verdict(self, seen: Observed) -> list[str]:
        """See :meth:`Source.verdict`."""
        return judge(self._request, seen, self.path, self.energy_key)

    def _described(self, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Labels of the configurations, by key."""
        m = len(self._energies)
        columns = {}
        for key, array in arrays.items():
            name = "total_charge" if key == _TOTAL_CHARGE else key
            if is_wanted(name, self._request) and array.shape in ((), (1,), (m,), (m, 1)):
                columns[name] = np.broadcast_to(array.reshape(-1), m)
        columns.pop("theory", None)  # one for all: the level of theory
        return columns

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
    """Return lattice vectors as rows; ``lattice`` stores them as columns."""
    if key == "lattice" and array.shape[-1:] == (9,):
        array = array.reshape(-1, 3, 3)
    if key == "lattice" and array.shape[-2:] == (3, 3):
        array = np.swapaxes(array.reshape(-1, 3, 3), 1, 2)
    return array


def _formula(numbers: NDArray[np.int64]) -> str:
    atoms = numbers[numbers != PADDING]
    counts = dict(zip(*np.unique(atoms, return_counts=True), strict=True))
    names = {symbol(int(number)): int(count) for number, count in counts.items()}
    return str(Formula.from_dict(names).format("hill"))


def _load(path: Path) -> tuple[dict[str, NDArray[Any]], set[str]]:
    """Arrays by name, and the names of those that are pickled objects."""
    arrays: dict[str, NDArray[Any]] = {}
    pickled: set[str] = set()
    try:
        # Pickled objects could run code, and no needed array is pickled.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if len(set(archive.files)) < len(archive.files):
                raise ValueError("an array occurs twice")
            for name in archive.files:
                if name in ("perms", "idxs_train"):
                    continue
                try:
                    array = np.asarray(archive[name])
                except ValueError as error:
                    if "allow_pickle" not in str(error):
                        raise
                    pickled.add(name)
                    continue
                if array.dtype.kind == "U":
                    array.tolist()  # fails if the array contains invalid characters
                arrays[name] = array
    except (
        *(OSError, ValueError, EOFError, AttributeError, TypeError, SystemError),
        *(zipfile.BadZipFile, zlib.error, RuntimeError),  # damaged, encrypted, or an unknown method
        tokenize.TokenError,  # in the header of an array
    ) as error:
        raise DataError(
            f"'{path}' cannot be read as an npz archive: {error}", code="EKD-DATA-027"
        ) from None
    return arrays, pickled


def _text(array: NDArray[Any] | None) -> str:
    """Text of an array of bytes or characters; empty if there is no array."""
    if array is None:
        return ""
    entry = array.reshape(-1)[0] if array.size else ""
    return decoded(entry if isinstance(entry, bytes) else str(entry)).strip()
