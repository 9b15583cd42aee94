"""Configurations of any sizes in flat arrays: no padding, no list of objects."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.formula import Formula
from numpy.typing import ArrayLike, NDArray

from ekd.elements import symbol
from ekd.errors import DataError


@dataclass(frozen=True)
class Provenance:
    """Where a dataset comes from."""

    path: str
    """The file that was read."""
    sha256: str
    """Checksum of that file."""
    level_of_theory: str
    """As the file states it, otherwise the key of the energy."""
    n_dropped: int
    """Configurations of the file that have no energy under the key."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Structures with energies, and forces where they are known.

    The atoms of configuration ``c`` are rows ``offsets[c]`` to ``offsets[c + 1]`` of the arrays
    per atom.

    Raises:
        DataError: there is no configuration, or the arrays disagree in shape.
    """

    atomic_numbers: NDArray[np.int64]
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

    def __post_init__(self) -> None:
        n_configs = len(self.offsets) - 1
        if n_configs < 1:
            raise DataError(f"'{self.provenance.path}' has no configurations")
        if (self.cells is None) != (self.pbc is None):
            raise DataError("cells and pbc are given together or not at all")
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
                raise DataError(f"{name} has shape {array.shape}, expected {shape} by the offsets")

    def __len__(self) -> int:
        return len(self.energies)

    @property
    def n_atoms(self) -> int:
        """Atoms of all configurations together."""
        return len(self.atomic_numbers)

    @cached_property
    def n_atoms_per_config(self) -> NDArray[np.int64]:
        """[n_configs] atoms of each configuration."""
        return np.diff(self.offsets)

    @cached_property
    def config_index(self) -> NDArray[np.int64]:
        """[n_atoms] configuration that each atom belongs to."""
        return np.repeat(np.arange(len(self)), self.n_atoms_per_config)

    @cached_property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, in rising order."""
        return tuple(int(number) for number in np.unique(self.atomic_numbers))

    @cached_property
    def composition(self) -> NDArray[np.int64]:
        """[n_configs, n_elements] atoms of each element, columns as in ``elements``."""
        species = np.searchsorted(self.elements, self.atomic_numbers)
        n_elements = len(self.elements)
        flat = self.config_index * n_elements + species
        counts = np.bincount(flat, minlength=len(self) * n_elements)
        return counts.reshape(len(self), n_elements)

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
        """SHA-256 over structures and energies: binds labels to the data they were made for.

        Forces are left out: reading true forces too does not make labels invalid.
        """
        digest = hashlib.sha256()
        for array, kind in (
            (self.offsets, "<i8"),
            (self.atomic_numbers, "<i8"),
            (self.positions, "<f8"),
            (self.energies, "<f8"),
            (self.cells, "<f8"),
            (self.pbc, "|b1"),
        ):
            if array is not None:
                digest.update(np.ascontiguousarray(array, dtype=kind).tobytes())
        return digest.hexdigest()

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
