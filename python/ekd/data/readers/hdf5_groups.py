"""HDF5 with one group per molecule, what the layouts of ANI have in common.

Any group with ``coordinates`` [m, n, 3], at any depth, holds m configurations of n atoms; each
property is an array [m, ...] beside them, NaN where it was not computed. The layouts differ in how
a group says which atoms these are.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
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
from ekd.errors import DataError

SUFFIXES = (".h5", ".hdf5", ".hdf")


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises:
        DataError: it is no HDF5 file, or damaged; also where the block finds out.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"'{path}' cannot be read as HDF5: {error}") from None


def molecule_groups(parent: h5py.Group) -> Iterator[h5py.Group]:
    """Groups that hold configurations, at any depth, in the order of their names."""
    if "coordinates" in parent:
        yield parent
    for child in parent.values():
        if isinstance(child, h5py.Group):
            yield from molecule_groups(child)


class GroupSource(Source):
    """A file of such groups.

    Raises:
        DataError: no group has the key of the energy, or of the forces.
    """

    def __init__(self, path: Path, request: Request, energy: str) -> None:
        self.path = path
        self.energy_key = energy
        self._forces_key = request.forces
        self.has_forces = request.forces is not None
        self._units = units(request, energy="Hartree")
        with opened(path) as file:
            level = file.attrs.get("level_of_theory", energy)
            self.level_of_theory = level.decode() if isinstance(level, bytes) else str(level)
            groups = list(molecule_groups(file))
            for key in filter(None, (energy, request.forces)):
                if not any(key in group for group in groups):
                    raise unknown_key(path, key, {name for group in groups for name in group})
            self._groups = [(group.name, len(group["coordinates"])) for group in groups]
        self.n_configs = sum(n_configs for _, n_configs in self._groups)

    @abstractmethod
    def _atomic_numbers(self, group: h5py.Group) -> NDArray[np.int64]:
        """Atomic numbers of the atoms, [n]; or of every configuration, [m, n]."""

    def _label(self, group: h5py.Group) -> str:
        """What the configurations of a group are called: by default as the group is."""
        return str(group.name.strip("/"))

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """See :meth:`Source.blocks`."""
        with opened(self.path) as file:
            for name, n_configs in self._groups:
                if start < n_configs or n_configs == 0:
                    yield from self._read_group(file[name], start)
                start = max(0, start - n_configs)

    def _read_group(self, group: h5py.Group, start: int) -> Iterator[Block]:
        name, label = group.name.strip("/"), self._label(group)
        numbers = self._atomic_numbers(group)
        coordinates = group["coordinates"]
        shape = coordinates.shape
        n_atoms = numbers.shape[-1]
        if len(shape) != 3 or shape[1:] != (n_atoms, 3):
            raise mismatch(self.path, name, "coordinates", shape, f"(m, {n_atoms}, 3)")
        if numbers.ndim == 2 and len(numbers) != shape[0]:
            expected = f"({shape[0]}, {n_atoms})"
            raise mismatch(self.path, name, "atomic numbers", numbers.shape, expected)
        check_numbers(self.path, numbers.reshape(-1))
        in_ev, in_angstrom, force = self._units
        energies = self._property(group, self.energy_key, shape[:1])
        forces = self._forces_key and self._property(group, self._forces_key, shape)
        step = rows_per_block(n_atoms)
        for first in range(start, shape[0], step):
            rows = slice(first, min(first + step, shape[0]))
            values = np.asarray(energies[rows], dtype=np.float64)
            kept = np.isfinite(values)
            m = int(kept.sum())

            def chosen(
                array: h5py.Dataset | NDArray[np.float64],
                rows: slice = rows,
                kept: NDArray[np.bool_] = kept,
            ) -> NDArray[np.float64]:
                # Nothing is read where nothing is kept: of ANI-1x that is most of the file.
                part = array[rows][kept] if kept.any() else np.empty((0, *array.shape[1:]))
                return np.asarray(part, dtype=np.float64).reshape(-1, 3)

            yield Block(
                n_read=rows.stop - rows.start,
                sizes=np.full(m, n_atoms, dtype=np.int64),
                atomic_numbers=np.tile(numbers, m)
                if numbers.ndim == 1
                else numbers[rows][kept].reshape(-1),
                positions=chosen(coordinates) * in_angstrom,
                energies=values[kept] * in_ev,
                groups=np.full(m, label),
                forces=None if forces is None else chosen(forces) * force,
            )

    def _property(
        self, group: h5py.Group, key: str, shape: tuple[int, ...]
    ) -> h5py.Dataset | NDArray[np.float64]:
        """A property; a group that lacks it has not computed it, which is what NaN means."""
        if key not in group:
            return np.broadcast_to(np.float64(np.nan), shape)
        dataset = group[key]
        if not isinstance(dataset, h5py.Dataset) or dataset.shape != shape:
            found = getattr(dataset, "shape", "no array")
            raise mismatch(self.path, group.name.strip("/"), key, found, str(shape))
        return dataset
