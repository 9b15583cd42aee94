"""Counts collected while a file is read, summed over its blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_VALUES = 1000
_ENOUGH = 10
_FINE = 1e-4  # eV; a coarser resolution is reported
_COARSE = 1e-2
_MAX_DECIMALS = 4

Counts = dict[str, Counter[str]]


@dataclass
class Observed:
    """Counts for one or several blocks.

    Attributes:
        n_kept: configurations that are kept, without isolated atoms.
        n_unselected: configurations left out by ``where``.
        n_other_states: configurations left out by ``states='neutral'``.
        states: configurations by stated charge and spin, as JSON.
        methods: configurations by key and value, for keys that distinguish levels of theory.
        types: configurations by key and value, for keys such as ``config_type``.
        where: configurations by key and value, for keys of the selection.
        energies: configurations by key of other energies.
        unused: configurations by property that is not read, such as stress.
        free_energy: largest difference of the free energy from the energy (eV).
        n_free_energies: configurations where this difference exceeds 1 meV.
        unread_units: texts about units that could not be interpreted, by key.
        precision: precision of the energies, see :class:`Precision`.
    """

    n_kept: int = 0
    n_unselected: int = 0
    n_other_states: int = 0
    states: Counter[str] = field(default_factory=Counter)
    methods: Counts = field(default_factory=dict)
    types: Counts = field(default_factory=dict)
    where: Counts = field(default_factory=dict)
    energies: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    free_energy: float = 0.0
    n_free_energies: int = 0
    unread_units: dict[str, str] = field(default_factory=dict)
    precision: Precision = field(default_factory=lambda: Precision())

    @property
    def n_left_out(self) -> int:
        """Configurations with an energy that are not selected."""
        return self.n_unselected + self.n_other_states

    def count(self, what: str, key: str, values: Iterable[str | None]) -> None:
        """Count values of a key; None is not counted."""
        counts: Counter[str] = getattr(self, what).setdefault(key, Counter())
        for value in values:
            if value is not None and (value in counts or len(counts) < _MAX_VALUES):
                counts[value] += 1

    def add(self, other: Observed) -> None:
        """Add the counts of another block of the same file."""
        for name in ("n_kept", "n_unselected", "n_other_states", "n_free_energies"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("states", "energies", "unused"):
            getattr(self, name).update(getattr(other, name))
        for name in ("methods", "types", "where"):
            for key, counts in getattr(other, name).items():
                getattr(self, name).setdefault(key, Counter()).update(counts)
        self.free_energy = max(self.free_energy, other.free_energy)
        self.unread_units = other.unread_units | self.unread_units
        self.precision.add(other.precision)

    def to_json(self) -> dict[str, Any]:
        """Return all counts as JSON types."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        return content | {"precision": dict(vars(self.precision))}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Observed:
        """Restore the result of :meth:`to_json`."""
        values = dict(content)
        for name in ("states", "energies", "unused"):
            values[name] = Counter(values[name])
        for name in ("methods", "types", "where"):
            values[name] = {key: Counter(counts) for key, counts in values[name].items()}
        values["precision"] = Precision(**values["precision"])
        return cls(**values)


@dataclass
class Precision:
    """Precision of the energies in a file.

    Attributes:
        n: number of energies.
        largest: largest absolute value, in the unit of the file.
        bits: bits of the floating-point type of the stored energies, at most 64.
        single: whether all values are exact in single precision, whatever type they are stored as.
        decimals: required decimals, counted up to four.
        size: energy unit of the file in eV; the largest, if there are several.
    """

    n: int = 0
    largest: float = 0.0
    bits: int = 64
    single: bool = True
    decimals: int = 0
    size: float = 0.0

    @classmethod
    def of(cls, energies: NDArray[Any], size: float) -> Precision:
        """Determine the precision of stored energies; values that are not finite are ignored.

        Args:
            energies: energies in the unit of the file.
            size: size of this unit in eV.
        """
        bits = 8 * energies.dtype.itemsize if energies.dtype.kind == "f" else 64
        values = energies[np.isfinite(energies)].astype(np.float64)
        if not len(values):
            return cls()
        decimals = next(
            (k for k in range(_MAX_DECIMALS) if np.array_equal(values, np.round(values, k))),
            _MAX_DECIMALS,
        )
        return cls(
            n=len(values),
            largest=float(np.abs(values).max()),
            bits=min(bits, 64),
            single=bool((values == values.astype(np.float32)).all()),
            decimals=decimals,
            size=size,
        )

    def add(self, other: Precision) -> None:
        """Include the energies of another block."""
        if other.n:
            self.single &= other.single
        self.n += other.n
        for name in ("largest", "decimals", "size"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        self.bits = min(self.bits, other.bits)

    def step(self) -> tuple[str, float] | None:
        """Return why the energies are coarse, and their resolution (eV).

        None: they are not, or there are too few to decide.
        """
        enough = self.n >= _ENOUGH
        kinds: dict[int, tuple[str, type[np.floating[Any]]]] = {
            16: ("half precision", np.float16),
            32: ("single precision", np.float32),
        }
        bits = 32 if self.bits == 64 and enough and self._was_single() else self.bits
        if self.n and bits in kinds:
            name, kind = kinds[bits]
            step = float(np.spacing(np.array(self.largest, dtype=kind))) * self.size
            if step >= _FINE:
                return name, step
        step = 10.0**-self.decimals * self.size
        if enough and self.decimals < _MAX_DECIMALS and step >= _COARSE:
            return f"given with {self.decimals} decimals", step
        return None

    def _was_single(self) -> bool:
        return self.single and self.decimals == _MAX_DECIMALS
