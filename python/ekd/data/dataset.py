"""Configurations of any size in flat arrays, without padding or lists of objects."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from ase.formula import Formula
from numpy.typing import ArrayLike, NDArray

from ekd.data import mapped
from ekd.elements import symbol
from ekd.errors import DataError

FINGERPRINTED = (
    ("offsets", "<i8"),
    ("atomic_numbers", "<i8"),
    ("positions", "<f8"),
    ("energies", "<f8"),
    ("cells", "<f8"),
    ("pbc", "|b1"),
)
"""Arrays that :attr:`Dataset.fingerprint` hashes, with their types, in this order."""

_ROWS = 1_000_000  # atoms processed at once


@dataclass(frozen=True)
class Provenance:
    """Where a dataset comes from."""

    path: str
    """The file that was read."""
    sha256: str
    """Checksum of the file; for a prepared file, the checksum of its content."""
    level_of_theory: str
    """As stated in the file, otherwise the key of the energy."""
    n_dropped: int
    """Configurations without an energy under the key; for a prepared file, all configurations that
    were left out."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Structures with energies and optional forces.

    The atoms of configuration ``c`` are rows ``offsets[c]`` to ``offsets[c + 1]`` of the per-atom
    arrays. These arrays may be mapped from a file instead of being in memory, which changes only
    the memory they take.

    Raises:
        DataError: there is no configuration, the arrays disagree in shape, or an element has no
            reference energy although others have one.
    """

    atomic_numbers: NDArray[np.integer[Any]]
    """[n_atoms]"""
    positions: NDArray[np.float64]
    """[n_atoms, 3] Å"""
    offsets: NDArray[np.int64]
    """[n_configs + 1]"""
    energies: NDArray[np.float64]
    """[n_configs] eV"""
    groups: NDArray[np.str_]
    """[n_configs] name of the HDF5 group, or chemical formula"""
    provenance: Provenance
    forces: NDArray[np.float64] | None = None
    """[n_atoms, 3] eV/Å"""
    cells: NDArray[np.float64] | None = None
    """[n_configs, 3, 3] Å, rows are lattice vectors; None: no configuration is periodic"""
    pbc: NDArray[np.bool_] | None = None
    """[n_configs, 3] periodic directions; None exactly where ``cells`` is"""
    reference_energies: Mapping[int, float] | None = None
    """energies of isolated atoms or given values, eV by atomic number; None: fitted"""

    def __repr__(self) -> str:
        forces = "no forces" if self.forces is None else "forces"
        path = self.provenance.path
        return f"<Dataset '{path}': {len(self)} configurations, {self.n_atoms} atoms, {forces}>"

    def __post_init__(self) -> None:
        n_configs = len(self.offsets) - 1
        if n_configs < 1:
            raise DataError(
                f"'{self.provenance.path}' has no configurations; check that the file is complete",
                code="EKD-DATA-003",
            )
        if (self.cells is None) != (self.pbc is None):
            raise DataError("cells and pbc are given together or not at all", code="EKD-DATA-004")
        n_atoms = int(self.offsets[-1])
        expected = {
            "atomic_numbers": (n_atoms,),
            "positions": (n_atoms, 3),
            "energies": (n_configs,),
            "groups": (n_configs,),
            "forces": (n_atoms, 3),
            "cells": (n_configs, 3, 3),
            "pbc": (n_configs, 3),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise DataError(
                    f"{name} has shape {array.shape}, expected {shape} according to the offsets",
                    code="EKD-DATA-005",
                )
        if self.reference_energies is not None:
            missing = [symbol(z) for z in self.elements if z not in self.reference_energies]
            if missing:
                known = (
                    ", ".join(symbol(z) for z in sorted(self.reference_energies)) or "no element"
                )
                raise DataError(
                    f"there are reference energies of {known}, and none of {', '.join(missing)}, "
                    f"which '{self.provenance.path}' also contains; give reference_energies of all "
                    "elements (eV), or add the isolated atoms that are missing",
                    code="EKD-DATA-006",
                )

    def __len__(self) -> int:
        return len(self.energies)

    @property
    def n_atoms(self) -> int:
        """Total number of atoms in all configurations."""
        return len(self.atomic_numbers)

    @cached_property
    def n_atoms_per_config(self) -> NDArray[np.int64]:
        """[n_configs] number of atoms in each configuration."""
        return np.diff(self.offsets)

    @cached_property
    def config_index(self) -> NDArray[np.int64]:
        """[n_atoms] configuration that each atom belongs to."""
        return np.repeat(np.arange(len(self)), self.n_atoms_per_config)

    @cached_property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, in ascending order."""
        found = [np.unique(part) for part in mapped.row_blocks(self.atomic_numbers)]
        return tuple(int(number) for number in np.unique(np.concatenate(found)))

    @cached_property
    def composition(self) -> NDArray[np.int64]:
        """[n_configs, n_elements] number of atoms of each element, columns as in ``elements``."""
        n_elements = len(self.elements)
        counts = np.zeros((len(self), n_elements), dtype=np.int64)
        step = max(1, _ROWS * len(self) // self.n_atoms)
        for first in range(0, len(self), step):
            sizes = self.n_atoms_per_config[first : first + step]
            start = self.offsets[first]
            numbers = self.atomic_numbers[start : start + sizes.sum()]
            flat = np.repeat(np.arange(len(sizes)), sizes) * n_elements
            flat += np.searchsorted(self.elements, numbers)
            found = np.bincount(flat, minlength=len(sizes) * n_elements)
            counts[first : first + step] = found.reshape(-1, n_elements)
        return counts

    @cached_property
    def formulas(self) -> NDArray[np.str_]:
        """[n_configs] chemical formula in Hill order."""
        rows, inverse = np.unique(self.composition, axis=0, return_inverse=True)
        symbols = [symbol(number) for number in self.elements]
        names = [
            Formula.from_dict(
                {name: int(count) for name, count in zip(symbols, row, strict=True) if count}
            ).format("hill")
            for row in rows
        ]
        return np.asarray(names, dtype=np.str_)[inverse.reshape(-1)]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over structures and energies, which ties labels to the data they were made for.

        Forces are left out, so labels stay valid if the reference forces are read as well.
        """
        digest = hashlib.sha256()
        for name, kind in FINGERPRINTED:
            array = getattr(self, name)
            if array is not None:
                for part in mapped.row_blocks(array):
                    digest.update(np.ascontiguousarray(part, dtype=kind).data)
        return digest.hexdigest()

    @property
    def is_mapped(self) -> bool:
        """Whether the per-atom arrays stay on disk."""
        return mapped.is_mapped(self.positions)

    def read_ahead(self, configs: NDArray[np.int64]) -> None:
        """Announce which configurations are needed next; has an effect only on mapped arrays."""
        starts, stops = self.offsets[configs], self.offsets[configs + 1]
        mapped.read_ahead(self.positions, starts, stops)
        mapped.read_ahead(self.atomic_numbers, starts, stops)
        mapped.read_ahead(self.cells, configs, configs + 1)

    def subset(self, indices: ArrayLike) -> Dataset:
        """Return the configurations of an index array or Boolean mask, in that order."""
        chosen = np.arange(len(self))[np.asarray(indices)]
        counts = self.n_atoms_per_config[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], counts)
        return replace(
            self,
            atomic_numbers=self.atomic_numbers[rows],
            positions=self.positions[rows],
            offsets=offsets,
            energies=self.energies[chosen],
            groups=self.groups[chosen],
            forces=None if self.forces is None else self.forces[rows],
            cells=None if self.cells is None else self.cells[chosen],
            pbc=None if self.pbc is None else self.pbc[chosen],
        )

    def atoms(self, index: int) -> Atoms:
        """Return one configuration as an ``ase.Atoms`` without a calculator."""
        index = range(len(self))[index]
        rows = slice(self.offsets[index], self.offsets[index + 1])
        return Atoms(
            numbers=self.atomic_numbers[rows],
            positions=self.positions[rows],
            cell=None if self.cells is None else self.cells[index],
            pbc=None if self.pbc is None else self.pbc[index],
        )

    def __getstate__(self) -> dict[str, Any]:
        return mapped.detach(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(mapped.attach(state))
