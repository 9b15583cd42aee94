"""HDF5 with one group per molecule, the common part of the ANI layouts.

Any group with ``coordinates`` [m, n, 3], at any depth, contains m configurations of n atoms. Each
property is an array [m, ...] in the same group, NaN where it was not computed. The layouts differ
in how a group specifies its atoms.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ekd.data.hdf5_checks import require_possible_size
from ekd.data.readers.annotations import choose, is_wanted
from ekd.data.readers.cells import read_cells
from ekd.data.readers.hdf5_heaps import Attributes, values_of
from ekd.data.readers.hdf5_layout import GroupLayout, Layout, array_of
from ekd.data.readers.hdf5_storage import check_stored, missing_value
from ekd.data.readers.hdf5_walk import molecule_groups, opened, place_of
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
from ekd.data.readers.verdict import judge
from ekd.errors import DataError


class GroupSource(Source):
    """A file of such groups.

    Raises:
        DataError: no group has the key of the energy or of the forces; a group does not specify
            its atoms; units are unknown or contradict each other.
    """

    numbers_key: str
    """Name of the atomic numbers in the layout."""

    def __init__(self, path: Path, request: Request, energy: str) -> None:
        check_names(path, energy, request)
        self.path = path
        self.energy_key = energy
        self._forces_key = request.forces
        self.has_forces = request.forces is not None
        self._request = request
        self._layout = Layout(path, request, energy, self.numbers_key)
        with opened(path) as file:
            level = Attributes(file).get("level_of_theory", energy)
            self.level_of_theory = level.decode() if isinstance(level, bytes) else str(level)
            groups = list(molecule_groups(file, request.keys))
            for key in filter(None, (energy, request.forces)):
                if not any(key in group for _, group in groups):
                    raise unknown_key(path, key, {name for _, group in groups for name in group})
            self._groups = self._layout.describe(groups)
            self._layout.check_above(file, self._groups)
        self.n_configs = sum(group.n_configs for group in self._groups)

    def verdict(self, seen: Observed) -> list[str]:
        """See :meth:`Source.verdict`."""
        seen.unread_units |= self._layout.unread_units
        return judge(self._request, seen, self.path, self.energy_key)

    def _label(self, group: h5py.Group, name: str) -> str:
        """Label of the configurations of a group; by default the name of the group."""
        return name

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """See :meth:`Source.blocks`."""
        with opened(self.path) as file:
            for group in self._groups:
                if start < group.n_configs or group.n_configs == 0:
                    yield from self._read_group(file[group.name or "/"], group, start)
                start = max(0, start - group.n_configs)

    def _read_group(self, group: h5py.Group, described: GroupLayout, start: int) -> Iterator[Block]:
        name, sizes = described.name, described.sizes
        label = self._label(group, name)
        numbers = read_numbers(
            described.numbers,
            self._array(group, name, described.numbers),
            self.path,
            place_of(name),
        )
        coordinates = self._stored(group, name, described.positions)
        if described.is_single:
            coordinates = np.asarray(coordinates)[None]
        shape = coordinates.shape
        n_atoms = numbers.shape[-1]
        if len(shape) != 3 or shape[1:] != (n_atoms, 3):
            raise mismatch(
                self.path, place_of(name), described.positions, shape, f"(m, {n_atoms}, 3)"
            )
        if numbers.ndim == 2 and len(numbers) == 1:
            numbers = numbers[0]
        if numbers.ndim == 2 and len(numbers) != shape[0]:
            expected = f"({shape[0]}, {n_atoms})"
            raise mismatch(self.path, place_of(name), described.numbers, numbers.shape, expected)
        energies = self._property(group, name, self.energy_key, shape[:1], described.is_single)
        missing = missing_value(energies)
        forces = self._forces_key and self._property(
            group, name, self._forces_key, shape, described.is_single
        )
        periodic = self._cells(group, described)
        labels = self._labels(group, shape[0])
        others = self._other_energies(group, shape[:1])
        every = numbers if numbers.ndim == 2 else numbers[None]
        step = rows_per_block(n_atoms)
        for first in range(start, shape[0], step):
            rows = slice(first, min(first + step, shape[0]))
            stored = np.asarray(energies[rows]).reshape(-1)
            values = stored.astype(np.float64)
            if missing is not None:
                values[values == missing] = np.nan
            kept = np.isfinite(values)
            n_rows = rows.stop - rows.start
            mine = np.broadcast_to(every, (n_rows, n_atoms)) if len(every) == 1 else every[rows]
            atoms = mine[kept] != PADDING
            chosen_rows, seen = choose(
                self._request,
                {key: column[rows][kept] for key, column in labels.items()},
                atoms.sum(axis=1),
                mine[kept][atoms],
            )
            kept[kept] = chosen_rows
            seen.energies.update(dict.fromkeys(others, n_rows))
            seen.precision = Precision.of(stored[kept], sizes["energy"])
            atoms = atoms[chosen_rows]

            def chosen(
                array: h5py.Dataset | NDArray[np.float64],
                rows: slice = rows,
                kept: NDArray[np.bool_] = kept,
            ) -> NDArray[np.float64]:
                # Read nothing if no configuration is kept, as in most of the ANI-1x file.
                part = array[rows][kept] if kept.any() else np.empty((0, *array.shape[1:]))
                return np.asarray(part, dtype=np.float64)

            cells = pbc = None
            if periodic is not None and (one := periodic[1][rows][kept]).any():
                cells, pbc = periodic[0][rows][kept] * sizes["cell"], one
            positions = chosen(coordinates)
            check_padding(positions, atoms, self.path, place_of(name))
            yield Block(
                n_read=n_rows,
                sizes=atoms.sum(axis=1),
                atomic_numbers=mine[kept][atoms],
                positions=positions[atoms] * sizes["positions"],
                energies=values[kept] * sizes["energy"],
                groups=np.full(len(atoms), label),
                forces=None if forces is None else chosen(forces)[atoms] * sizes.get("forces", 1.0),
                cells=cells,
                pbc=pbc,
                seen=seen,
            )

    def _labels(self, group: h5py.Group, n_configs: int) -> dict[str, NDArray[Any]]:
        """Labels of the configurations, from arrays or attributes of the group or its parents.

        The closest one takes precedence.
        """
        columns: dict[str, NDArray[Any]] = {}
        for key in filter(self._wanted, group):
            dataset = group[key]
            shape = dataset.shape if isinstance(dataset, h5py.Dataset) else None
            if shape in ((), (1,), (n_configs,), (n_configs, 1)):
                columns[key] = np.broadcast_to(values_of(dataset).reshape(-1), n_configs)
        for key, value in self._layout.attributes(group).labels.items():
            columns.setdefault(key, np.broadcast_to(value, n_configs))
        return columns

    def _wanted(self, key: str) -> bool:
        return is_wanted(key, self._request)

    def _other_energies(self, group: h5py.Group, shape: tuple[int, ...]) -> list[str]:
        """Keys of other energies, if the energy to read was not specified."""
        if self._request.energy is not None:
            return []
        return [
            key
            for key in other_energies(group, self.energy_key)
            if isinstance(group[key], h5py.Dataset) and group[key].shape == shape
        ]

    def _cells(
        self, group: h5py.Group, described: GroupLayout
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
        def array(key: str | None) -> tuple[str, NDArray[Any]] | None:
            if key is None:
                return None
            if key not in group:
                return key, np.asarray(Attributes(group)[key])
            return key, self._array(group, described.name, key)

        return read_cells(
            array(described.cell),
            array(described.pbc),
            described.n_configs,
            self.path,
            place_of(described.name),
        )

    def _array(self, group: h5py.Group, name: str, key: str) -> NDArray[Any]:
        """Read all values of an array of any type."""
        dataset = array_of(group, self.path, name, key)
        check_stored(dataset, self.path, f"'{key}' of {place_of(name)}")
        return values_of(dataset)

    def _stored(self, group: h5py.Group, name: str, key: str) -> h5py.Dataset:
        """Return a numeric array after checking that all its values are stored."""
        dataset = array_of(group, self.path, name, key)
        if dataset.dtype.kind not in "fiu":
            raise DataError(
                f"'{key}' of {place_of(name)} in '{self.path}' is of type {dataset.dtype}; "
                "expected numbers",
                code="EKD-DATA-029",
            )
        check_stored(dataset, self.path, f"'{key}' of {place_of(name)}")
        return dataset

    def _property(
        self, group: h5py.Group, name: str, key: str, shape: tuple[int, ...], is_single: bool
    ) -> h5py.Dataset | NDArray[Any]:
        """Return a property, NaN if the group lacks it, that is, it was not computed."""
        if key not in group:
            return np.broadcast_to(np.float64(np.nan), shape)
        dataset = group[key]
        found = getattr(dataset, "shape", "no array")
        if not isinstance(dataset, h5py.Dataset):
            raise mismatch(self.path, place_of(name), key, found, str(shape))
        require_possible_size(dataset)
        if is_single and found in ((), shape[1:]):
            return np.asarray(self._stored(group, name, key))[None]
        # Other programs write scalars with trailing axes of length one.
        trailing = found[len(shape) :] if len(shape) == 1 else ()
        if found[: len(shape)] != shape or len(found) != len(shape) + len(trailing):
            raise mismatch(self.path, place_of(name), key, found, str(shape))
        if any(length != 1 for length in trailing):
            raise mismatch(self.path, place_of(name), key, found, str(shape))
        return self._stored(group, name, key)
