"""HDF5 with one group per molecule, what the layouts of ANI have in common.

Any group with ``coordinates`` [m, n, 3], at any depth, holds m configurations of n atoms; each
property is an array [m, ...] beside them, NaN where it was not computed. The layouts differ in how
a group says which atoms these are.
"""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ekd.data.hdf5 import require_possible_size
from ekd.data.readers.cells import read_cells
from ekd.data.readers.hdf5_storage import check_stored, missing_value
from ekd.data.readers.keys import find, find_cell, is_periodic_name
from ekd.data.readers.labels import choose, is_wanted
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
from ekd.data.readers.stated_units import (
    factors,
    listed_units,
    unit_attribute,
    unit_name,
    unread_unit,
)
from ekd.data.readers.verdict import judge
from ekd.errors import DataError

SUFFIXES = (".h5", ".hdf5", ".hdf")

Keys = Mapping[str, str] | None


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises:
        DataError: it is no HDF5 file, or damaged; also where the block finds out.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (
        OSError,
        RuntimeError,  # a RecursionError, too
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:
        raise DataError(f"'{path}' cannot be read as HDF5: {error}", code="EKD-DATA-027") from None


def molecule_groups(file: h5py.File, keys: Keys = None) -> Iterator[tuple[str, h5py.Group]]:
    """Groups that hold configurations, with their paths, at any depth, in the order of their names.

    A group that can be reached in several ways, by hard, soft or external links, comes once.

    Args:
        file: an open file.
        keys: names of positions and atomic numbers, where they have others than usual.

    Raises:
        DataError: a link leads nowhere.
    """
    yield from _walk("", file, keys, set())


def _walk(
    name: str, group: h5py.Group, keys: Keys, seen: set[tuple[str, int]]
) -> Iterator[tuple[str, h5py.Group]]:
    if (identity := _identity(group)) in seen:
        return
    seen.add(identity)
    if _holds_configurations(group, keys):
        yield name, group
    for key in group:
        if isinstance(child := _child(group, name, key), h5py.Group):
            yield from _walk(f"{name}/{key}".lstrip("/"), child, keys, seen)


def _holds_configurations(group: h5py.Group, keys: Keys) -> bool:
    positions = find("positions", group, keys)
    if positions == "coordinates" or (keys and "positions" in keys):
        return positions is not None
    # The other names are of positions only where there are atoms.
    return positions is not None and find("numbers", group, keys) is not None


def _child(group: h5py.Group, name: str, key: str) -> Any:
    try:
        return group[key]
    except (KeyError, OSError) as error:
        link = group.get(key, getlink=True)
        if isinstance(link, h5py.HardLink):
            raise
        file = f" in '{link.filename}'" if isinstance(link, h5py.ExternalLink) else ""
        raise DataError(
            f"'{f'{name}/{key}'.lstrip('/')}' in '{group.file.filename}' is a link to "
            f"'{link.path}'{file}, which cannot be opened ({error}); restore what it leads to, or "
            "delete the link",
            code="EKD-DATA-033",
        ) from None


def _identity(item: h5py.Group | h5py.Dataset) -> tuple[str, int]:
    """What an object of HDF5 is, however it was reached: its file, and where it is in there."""
    file = os.path.realpath(os.fsdecode(h5py.h5f.get_name(item.id)))
    return file, h5py.h5o.get_info(item.id).addr


@dataclass(frozen=True)
class _Group:
    """Where a group keeps what, and in which units."""

    name: str
    n_configs: int
    is_single: bool  # one configuration, whose arrays lack the axis of configurations
    positions: str
    numbers: str
    cell: str | None
    pbc: str | None
    sizes: Mapping[str, float]  # in eV, Å and eV/Å


@dataclass(frozen=True)
class _Attributes:
    """Units by ``energy``, ``positions``, ``forces``; and values of one number or text, by key."""

    units: dict[str, str] = field(default_factory=dict)
    labels: dict[str, NDArray[Any]] = field(default_factory=dict)


class GroupSource(Source):
    """A file of such groups.

    Raises:
        DataError: no group has the key of the energy, or of the forces; a group does not say
            which atoms it has; units are unknown or contradict each other.
    """

    numbers_key: str
    """What the layout calls the atomic numbers."""

    def __init__(self, path: Path, request: Request, energy: str) -> None:
        check_names(path, energy, request)
        self.path = path
        self.energy_key = energy
        self._forces_key = request.forces
        self.has_forces = request.forces is not None
        self._request = request
        self._said: dict[str, _Attributes] = {}
        self._unread: dict[str, str] = {}
        with opened(path) as file:
            level = file.attrs.get("level_of_theory", energy)
            self.level_of_theory = level.decode() if isinstance(level, bytes) else str(level)
            groups = list(molecule_groups(file, request.keys))
            for key in filter(None, (energy, request.forces)):
                if not any(key in group for _, group in groups):
                    raise unknown_key(path, key, {name for _, group in groups for name in group})
            self._groups = self._described(groups)
            self._check_above(file)
        self.n_configs = sum(group.n_configs for group in self._groups)

    def _described(self, groups: list[tuple[str, h5py.Group]]) -> list[_Group]:
        """Every group, but those whose configurations are those of one before, by links."""
        described: list[_Group] = []
        stated: list[dict[str, tuple[str, str | None]]] = []
        seen = set()
        for name, group in groups:
            positions = find("positions", group, self._request.keys)
            assert positions is not None
            # Opening an array takes as long as reading a small one: each is opened once here.
            keys = filter(None, (positions, self.energy_key, self._forces_key))
            opened_arrays = {key: group[key] for key in keys if key in group}
            coordinates = self._dataset(opened_arrays, name, positions)
            if self.energy_key in opened_arrays:
                arrays = _identity(coordinates), _identity(opened_arrays[self.energy_key])
                if arrays in seen:
                    continue
                seen.add(arrays)
            numbers = find("numbers", group, self._request.keys)
            if numbers is None:
                expected = (self._request.keys or {}).get("numbers", self.numbers_key)
                raise DataError(
                    f"group '{name}' of '{self.path}' has no '{expected}', only {', '.join(group)}",
                    code="EKD-DATA-034",
                )
            members = ChainMap(group, group.attrs)
            cell, pbc = find_cell(members, self._request.keys, self.path, _where(name))
            if cell is not None and cell in group:
                opened_arrays[cell] = group[cell]
            above = self._attributes(group).units
            units = {
                what: (
                    f"{name}/{key}".lstrip("/"),
                    self._stated_unit(opened_arrays, name, key) or above.get(what),
                )
                for what, key in (
                    ("energy", self.energy_key),
                    ("positions", positions),
                    ("cell", cell),
                    ("forces", self._forces_key),
                )
                if key is not None and (key in opened_arrays or what in ("energy", "cell"))
            }
            # Without an energy nothing of the group is used, in whatever unit it is.
            stated.append(units if self.energy_key in opened_arrays else {})
            sizes = factors(self._request, units, "Hartree", self.path)
            shape = coordinates.shape
            single = len(shape) == 2 and shape == (*getattr(group[numbers], "shape", ()), 3)
            n_configs = 1 if single else shape[0] if shape else 0
            described.append(_Group(name, n_configs, single, positions, numbers, cell, pbc, sizes))
        for what, key in (self._request.keys or {}).items():
            if not any(key in group or key in group.attrs for _, group in groups):
                raise DataError(
                    f"no group of '{self.path}' has '{key}', which keys name for the {what}; "
                    "correct the name, or leave it out",
                    code="EKD-DATA-034",
                )
        self._check_one_unit(described, stated)
        return described

    def _check_above(self, file: h5py.File) -> None:
        """Refuse lattice vectors that lie above groups, which would be read as clusters."""
        holders = {group.name for group in self._groups}
        above: dict[str, str] = {}
        for group in self._groups:
            if group.cell is None and group.pbc is None:
                parts = group.name.split("/")
                for depth in range(len(parts)):
                    above.setdefault("/".join(parts[:depth]), group.name)
        for name in above.keys() - holders:
            parent = file[name or "/"]
            for key in (*parent, *parent.attrs):
                if not is_periodic_name(key):
                    continue
                value = parent[key] if key in parent else np.asarray(parent.attrs[key])
                if isinstance(value, h5py.Group) or not np.asarray(value).any():
                    continue
                raise DataError(
                    f"'{key}' in '{self.path}' lies in {_where(name)}, above the group "
                    f"'{above[name]}', and is not read there; put it beside the positions of each "
                    "group that is periodic, and 'pbc' = false beside those of the others",
                    code="EKD-DATA-036",
                )

    def _stated_unit(self, arrays: Mapping[str, Any], name: str, key: str) -> str | None:
        if key not in arrays:
            return None
        return unit_attribute(arrays[key].attrs, self.path, f"{name}/{key}".lstrip("/"))

    def _attributes(self, group: h5py.Group) -> _Attributes:
        """What attributes of a group say, and of those above it; what is nearer goes first."""
        if (known := self._said.get(group.name)) is not None:
            return known
        above = _Attributes() if group.name == "/" else self._attributes(group.parent)
        found = self._own_attributes(group)
        self._said[group.name] = said = (
            _Attributes(above.units | found.units, above.labels | found.labels) if found else above
        )
        return said

    def _own_attributes(self, group: h5py.Group) -> _Attributes | None:
        found = _Attributes({}, {})
        for key in group.attrs:
            value = group.attrs[key]
            if self._wanted(key) and np.size(value) == 1:
                found.labels[key] = np.reshape(value, -1)
            if (what := unit_name(key)) is None and not unread_unit(key):
                continue
            where = f"the attribute '{key}' of {_where(group.name.lstrip('/'))}"
            text = unit_attribute({"units": value}, self.path, where)
            if text and what is not None:
                found.units[what] = text
            elif text and (listed := listed_units(text)) is not None:
                found.units.update({**listed, **found.units})
            elif text and self._request.energy_unit is None:
                self._unread[key] = text
        return found if found.units or found.labels else None

    def verdict(self, seen: Observed) -> list[str]:
        """See :meth:`Source.verdict`."""
        seen.unread_units |= self._unread
        return judge(self._request, seen, self.path, self.energy_key)

    def _check_one_unit(
        self, groups: list[_Group], stated: list[dict[str, tuple[str, str | None]]]
    ) -> None:
        """Refuse arrays of which some state a unit, and others are in another one by default."""
        for what in ("energy", "positions", "cell", "forces"):
            silent = with_unit = None
            for group, units in zip(groups, stated, strict=True):
                if what not in units:
                    continue
                array, unit = units[what]
                if unit is None:
                    silent = silent or (array, group.sizes[what])
                else:
                    with_unit = with_unit or (array, group.sizes[what], unit)
            if silent and with_unit and not np.isclose(silent[1], with_unit[1], rtol=1e-4, atol=0):
                raise DataError(
                    f"'{with_unit[0]}' in '{self.path}' states that it is in {with_unit[2]}, "
                    f"'{silent[0]}' states no unit; add the attribute 'units' to that one, too",
                    code="EKD-DATA-037",
                )

    def _label(self, group: h5py.Group, name: str) -> str:
        """What the configurations of a group are called: by default as the group is."""
        return name

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """See :meth:`Source.blocks`."""
        with opened(self.path) as file:
            for group in self._groups:
                if start < group.n_configs or group.n_configs == 0:
                    yield from self._read_group(file[group.name or "/"], group, start)
                start = max(0, start - group.n_configs)

    def _read_group(self, group: h5py.Group, described: _Group, start: int) -> Iterator[Block]:
        name, sizes = described.name, described.sizes
        label = self._label(group, name)
        numbers = read_numbers(
            described.numbers,
            self._array(group, name, described.numbers),
            self.path,
            _where(name),
        )
        coordinates = self._stored(group, name, described.positions)
        if described.is_single:
            coordinates = np.asarray(coordinates)[None]
        shape = coordinates.shape
        n_atoms = numbers.shape[-1]
        if len(shape) != 3 or shape[1:] != (n_atoms, 3):
            raise mismatch(
                self.path, _where(name), described.positions, shape, f"(m, {n_atoms}, 3)"
            )
        if numbers.ndim == 2 and len(numbers) == 1:
            numbers = numbers[0]
        if numbers.ndim == 2 and len(numbers) != shape[0]:
            expected = f"({shape[0]}, {n_atoms})"
            raise mismatch(self.path, _where(name), described.numbers, numbers.shape, expected)
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
                # Nothing is read where nothing is kept: of ANI-1x that is most of the file.
                part = array[rows][kept] if kept.any() else np.empty((0, *array.shape[1:]))
                return np.asarray(part, dtype=np.float64)

            cells = pbc = None
            if periodic is not None and (one := periodic[1][rows][kept]).any():
                cells, pbc = periodic[0][rows][kept] * sizes["cell"], one
            positions = chosen(coordinates)
            check_padding(positions, atoms, self.path, _where(name))
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
        """What is said of each configuration: by arrays of the group, or attributes of it or above.

        What is nearer goes first.
        """
        columns: dict[str, NDArray[Any]] = {}
        for key in filter(self._wanted, group):
            dataset = group[key]
            shape = dataset.shape if isinstance(dataset, h5py.Dataset) else None
            if shape in ((), (1,), (n_configs,), (n_configs, 1)):
                columns[key] = np.broadcast_to(np.asarray(dataset).reshape(-1), n_configs)
        for key, value in self._attributes(group).labels.items():
            columns.setdefault(key, np.broadcast_to(value, n_configs))
        return columns

    def _wanted(self, key: str) -> bool:
        return is_wanted(key, self._request)

    def _other_energies(self, group: h5py.Group, shape: tuple[int, ...]) -> list[str]:
        """Keys of other energies, where the one that is read was not named."""
        if self._request.energy is not None:
            return []
        return [
            key
            for key in other_energies(group, self.energy_key)
            if isinstance(group[key], h5py.Dataset) and group[key].shape == shape
        ]

    def _cells(
        self, group: h5py.Group, described: _Group
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
        def array(key: str | None) -> tuple[str, NDArray[Any]] | None:
            if key is None:
                return None
            if key not in group:
                return key, np.asarray(group.attrs[key])
            return key, self._array(group, described.name, key)

        return read_cells(
            array(described.cell),
            array(described.pbc),
            described.n_configs,
            self.path,
            _where(described.name),
        )

    def _dataset(self, group: Mapping[str, Any], name: str, key: str) -> h5py.Dataset:
        dataset = group[key]
        if not isinstance(dataset, h5py.Dataset):
            raise DataError(
                f"'{key}' of {_where(name)} in '{self.path}' is a group; expected an array",
                code="EKD-DATA-029",
            )
        require_possible_size(dataset)
        return dataset

    def _array(self, group: h5py.Group, name: str, key: str) -> NDArray[Any]:
        """All values of an array of any type."""
        dataset = self._dataset(group, name, key)
        check_stored(dataset, self.path, f"'{key}' of {_where(name)}")
        return np.asarray(dataset)

    def _stored(self, group: h5py.Group, name: str, key: str) -> h5py.Dataset:
        """An array of numbers, all of whose values are there."""
        dataset = self._dataset(group, name, key)
        if dataset.dtype.kind not in "fiu":
            raise DataError(
                f"'{key}' of {_where(name)} in '{self.path}' is of type {dataset.dtype}; expected "
                "numbers",
                code="EKD-DATA-029",
            )
        check_stored(dataset, self.path, f"'{key}' of {_where(name)}")
        return dataset

    def _property(
        self, group: h5py.Group, name: str, key: str, shape: tuple[int, ...], is_single: bool
    ) -> h5py.Dataset | NDArray[Any]:
        """A property; a group that lacks it has not computed it, which is what NaN means."""
        if key not in group:
            return np.broadcast_to(np.float64(np.nan), shape)
        dataset = group[key]
        found = getattr(dataset, "shape", "no array")
        if not isinstance(dataset, h5py.Dataset):
            raise mismatch(self.path, _where(name), key, found, str(shape))
        require_possible_size(dataset)
        if is_single and found in ((), shape[1:]):
            return np.asarray(self._stored(group, name, key))[None]
        # Axes of length one behind the others are those of scalars in other programs.
        trailing = found[len(shape) :] if len(shape) == 1 else ()
        if found[: len(shape)] != shape or len(found) != len(shape) + len(trailing):
            raise mismatch(self.path, _where(name), key, found, str(shape))
        if any(length != 1 for length in trailing):
            raise mismatch(self.path, _where(name), key, found, str(shape))
        return self._stored(group, name, key)


def _where(name: str) -> str:
    return name or "the root"
