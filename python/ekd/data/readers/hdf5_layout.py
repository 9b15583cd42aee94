"""Names and units of the arrays in groups of an HDF5 file."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ekd.data.hdf5_checks import require_possible_size
from ekd.data.readers.annotations import is_wanted
from ekd.data.readers.hdf5_heaps import Attributes
from ekd.data.readers.hdf5_walk import identity_of, place_of
from ekd.data.readers.keys import find, find_cell, is_periodic_name
from ekd.data.readers.source import (
    Request,
)
from ekd.data.readers.stated_units import (
    factors,
    listed_units,
    unit_attribute,
    unit_name,
    unread_unit,
)
from ekd.errors import DataError


@dataclass(frozen=True)
class GroupLayout:
    """Names and units of the arrays of a group."""

    name: str
    n_configs: int
    is_single: bool  # one configuration, whose arrays lack the axis of configurations
    positions: str
    numbers: str
    cell: str | None
    pbc: str | None
    sizes: Mapping[str, float]  # in eV, Å and eV/Å


@dataclass(frozen=True)
class GroupAttributes:
    """Units of ``energy``, ``positions``, ``forces``, and labels (one number or text) by key."""

    units: dict[str, str] = field(default_factory=dict)
    labels: dict[str, NDArray[Any]] = field(default_factory=dict)


class Layout:
    """Determines the names and units of the arrays in groups.

    Args:
        path: path of the file.
        request: what to read from the file.
        energy: key of the energy.
        numbers_key: name of the atomic numbers in the layout.

    Attributes:
        unread_units: attributes about units that could not be interpreted, by key.
    """

    def __init__(self, path: Path, request: Request, energy: str, numbers_key: str) -> None:
        self.path = path
        self.energy_key = energy
        self.numbers_key = numbers_key
        self.unread_units: dict[str, str] = {}
        self._request = request
        self._said: dict[str, GroupAttributes] = {}

    def describe(self, groups: list[tuple[str, h5py.Group]]) -> list[GroupLayout]:
        """Describe every group, except those whose arrays are links to those of an earlier one."""
        described: list[GroupLayout] = []
        stated: list[dict[str, tuple[str, str | None]]] = []
        seen = set()
        for name, group in groups:
            positions = find("positions", group, self._request.keys)
            assert positions is not None
            # Opening an array takes as long as reading a small one, so open each only once.
            keys = filter(None, (positions, self.energy_key, self._request.forces))
            opened_arrays = {key: group[key] for key in keys if key in group}
            coordinates = array_of(opened_arrays, self.path, name, positions)
            if self.energy_key in opened_arrays:
                arrays = identity_of(coordinates), identity_of(opened_arrays[self.energy_key])
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
            members = ChainMap(group, dict(Attributes(group)))
            cell, pbc = find_cell(members, self._request.keys, self.path, place_of(name))
            if cell is not None and cell in group:
                opened_arrays[cell] = group[cell]
            above = self.attributes(group).units
            units = {
                what: (
                    f"{name}/{key}".lstrip("/"),
                    self._stated_unit(opened_arrays, name, key) or above.get(what),
                )
                for what, key in (
                    ("energy", self.energy_key),
                    ("positions", positions),
                    ("cell", cell),
                    ("forces", self._request.forces),
                )
                if key is not None and (key in opened_arrays or what in ("energy", "cell"))
            }
            # A group without an energy is not used, so its units do not matter.
            stated.append(units if self.energy_key in opened_arrays else {})
            sizes = factors(self._request, units, "Hartree", self.path)
            shape = coordinates.shape
            single = len(shape) == 2 and shape == (*getattr(group[numbers], "shape", ()), 3)
            n_configs = 1 if single else shape[0] if shape else 0
            described.append(
                GroupLayout(name, n_configs, single, positions, numbers, cell, pbc, sizes)
            )
        for what, key in (self._request.keys or {}).items():
            if not any(key in group or key in group.attrs for _, group in groups):
                raise DataError(
                    f"no group of '{self.path}' has '{key}', given in keys for the {what}; "
                    "correct the name, or leave it out",
                    code="EKD-DATA-034",
                )
        self._check_one_unit(described, stated)
        return described

    def check_above(self, file: h5py.File, groups: list[GroupLayout]) -> None:
        """Refuse lattice vectors in parents of groups, which would be read as non-periodic."""
        holders = {group.name for group in groups}
        above: dict[str, str] = {}
        for group in groups:
            if group.cell is None and group.pbc is None:
                parts = group.name.split("/")
                for depth in range(len(parts)):
                    above.setdefault("/".join(parts[:depth]), group.name)
        for name in above.keys() - holders:
            parent = file[name or "/"]
            attributes = Attributes(parent)
            for key in (*parent, *attributes):
                if not is_periodic_name(key):
                    continue
                value = parent[key] if key in parent else np.asarray(attributes[key])
                if isinstance(value, h5py.Group) or not np.asarray(value).any():
                    continue
                raise DataError(
                    f"'{key}' in '{self.path}' is in {place_of(name)}, above the group "
                    f"'{above[name]}', where it is not read; put it beside the positions in each "
                    "periodic group, and 'pbc' = false beside the positions in the others",
                    code="EKD-DATA-036",
                )

    def _stated_unit(self, arrays: Mapping[str, Any], name: str, key: str) -> str | None:
        if key not in arrays:
            return None
        return unit_attribute(Attributes(arrays[key]), self.path, f"{name}/{key}".lstrip("/"))

    def attributes(self, group: h5py.Group) -> GroupAttributes:
        """Attributes of a group and its parents; the closest one takes precedence."""
        if (known := self._said.get(group.name)) is not None:
            return known
        above = GroupAttributes() if group.name == "/" else self.attributes(group.parent)
        found = self._own_attributes(group)
        self._said[group.name] = said = (
            GroupAttributes(above.units | found.units, above.labels | found.labels)
            if found
            else above
        )
        return said

    def _own_attributes(self, group: h5py.Group) -> GroupAttributes | None:
        found = GroupAttributes({}, {})
        for key, value in Attributes(group).items():
            if is_wanted(key, self._request) and np.size(value) == 1:
                found.labels[key] = np.reshape(value, -1)
            if (what := unit_name(key)) is None and not unread_unit(key):
                continue
            where = f"the attribute '{key}' of {place_of(group.name.lstrip('/'))}"
            text = unit_attribute({"units": value}, self.path, where)
            if text and what is not None:
                found.units[what] = text
            elif text and (listed := listed_units(text)) is not None:
                found.units.update({**listed, **found.units})
            elif text and self._request.energy_unit is None:
                self.unread_units[key] = text
        return found if found.units or found.labels else None

    def _check_one_unit(
        self, groups: list[GroupLayout], stated: list[dict[str, tuple[str, str | None]]]
    ) -> None:
        """Refuse a file where some arrays state a unit and others have another one by default."""
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
                    f"but '{silent[0]}' states no unit; add the attribute 'units' to the latter",
                    code="EKD-DATA-037",
                )


def array_of(group: Mapping[str, Any], path: Path, name: str, key: str) -> h5py.Dataset:
    """Return an array of a group.

    Raises:
        DataError: it is a group instead of an array, or is larger than its file can hold.
    """
    dataset = group[key]
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(
            f"'{key}' of {place_of(name)} in '{path}' is a group; expected an array",
            code="EKD-DATA-029",
        )
    require_possible_size(dataset)
    return dataset
