"""Common parts of all readers: requests, blocks and errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data.readers.keys import KNOWN
from ekd.data.readers.observed import Observed
from ekd.errors import DataError
from ekd.units import energy_unit, length_unit

ATOMS_PER_BLOCK = 200_000
"""Larger data are split by readers: some tens of MB, for files of any size."""

_PER_ATOM = ("per_atom", "peratom", "/atom")
_NO_TOTAL_ENERGIES = (
    *("unit", "kinetic", "std", "error", "uncertainty", "variance", "per_atom", "homo", "lumo"),
    *("gap", "zero_point", "zpe", "relative", "formation", "atomization", "interaction", "binding"),
    *("correlation", "repulsion", "dispersion", "weight", "cutoff", "thermal", "strain"),
)

_STRUCTURE = {name for names in KNOWN.values() for name in names}


@dataclass(frozen=True)
class Request:
    """What to read from a file, and its units. None: default of the format."""

    energy: str | None = None
    """key of the energy"""
    forces: str | None = None
    """key of the forces; None: energies only"""
    energy_unit: str | None = None
    length_unit: str | None = None
    gradients: bool = False
    """the key of the forces contains gradients, whose sign is reversed"""
    format: str | None = None
    """name of an ASE format; None: determined by suffix and content"""
    keys: Mapping[str, str] | None = None
    """keys of ``positions``, ``numbers``, ``cell``, ``pbc`` in HDF5 and ``.npz``"""
    where: Mapping[str, Any] | None = None
    """required values, or lists of values, by key of the configurations"""
    states: str | None = None
    """charged and open-shell configurations: ``neutral`` leaves them out, ``all`` keeps them; None:
    a mixture is refused"""

    def to_json(self) -> dict[str, Any]:
        """Return all settings, including None; keys and selections only if given."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("keys", "where", "states"):
            if not content[name]:
                del content[name]  # as in prepared files from before these settings existed
            elif name != "states":
                content[name] = dict(content[name])
        return content


@dataclass(frozen=True, eq=False)
class Block:
    """Some configurations of a file, in eV and Å.

    Configurations that lack an energy or are not selected by the request are left out.
    """

    n_read: int
    """configurations of the file that the block covers, including those left out"""
    sizes: NDArray[np.int64]
    """[n_configs] number of atoms of each configuration"""
    atomic_numbers: NDArray[np.int64]
    """[n_atoms]"""
    positions: NDArray[np.float64]
    """[n_atoms, 3] Å"""
    energies: NDArray[np.float64]
    """[n_configs] eV"""
    groups: NDArray[np.str_]
    """[n_configs] name of the HDF5 group, or chemical formula"""
    forces: NDArray[np.float64] | None = None
    """[n_atoms, 3] eV/Å; NaN where a configuration has none; None if not requested"""
    cells: NDArray[np.float64] | None = None
    """[n_configs, 3, 3] Å; None: no configuration is periodic"""
    pbc: NDArray[np.bool_] | None = None
    """[n_configs, 3]; None exactly where ``cells`` is"""
    isolated: NDArray[np.bool_] | None = None
    """[n_configs] whether the file marks it as an isolated atom; None: not part of the format"""
    seen: Observed = field(default_factory=Observed)
    """counts for all configurations, including those left out"""

    def __len__(self) -> int:
        return len(self.energies)


class Source(ABC):
    """A file that can be read block by block.

    Attributes:
        path: the file.
        energy_key: key of the energy that is read.
        level_of_theory: level of theory stated in the file, otherwise the key of the energy.
        has_forces: whether the blocks have forces.
        n_configs: configurations of the file, including those without an energy; None: unknown
            until all are read.
    """

    path: Path
    energy_key: str
    level_of_theory: str
    has_forces: bool
    n_configs: int | None

    @abstractmethod
    def blocks(self, start: int = 0) -> Iterator[Block]:
        """Yield all configurations except the first ``start``, in the order of the file.

        Raises:
            DataError: the file is damaged, or an array has an unexpected shape.
        """

    def verdict(self, seen: Observed) -> list[str]:
        """Check the counts collected from all configurations.

        Returns:
            warnings, each with a remedy.

        Raises:
            DataError: the file mixes configurations that should not be mixed.
        """
        return []


def units(request: Request, energy: str, length: str = "Å") -> tuple[float, float, float]:
    """Factors for energies (to eV), lengths (to Å), forces (to eV/Å), with format defaults.

    Raises:
        DataError: a unit is unknown.
    """
    in_ev = energy_unit(request.energy_unit or energy)
    in_angstrom = length_unit(request.length_unit or length)
    return in_ev, in_angstrom, (-1.0 if request.gradients else 1.0) * in_ev / in_angstrom


def join(blocks: Sequence[Block]) -> Block:
    """Concatenate one or more blocks of a file."""

    def rows(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(block, name) for block in blocks])

    seen = Observed()
    for block in blocks:
        seen.add(block.seen)
    periodic = any(block.pbc is not None for block in blocks)
    none = np.zeros((0, 3))
    return Block(
        n_read=sum(block.n_read for block in blocks),
        sizes=rows("sizes"),
        atomic_numbers=rows("atomic_numbers"),
        positions=rows("positions"),
        energies=rows("energies"),
        groups=rows("groups"),
        forces=np.concatenate([none if b.forces is None else b.forces for b in blocks])
        if any(block.forces is not None for block in blocks)
        else None,
        cells=np.concatenate([cells_of(block) for block in blocks]) if periodic else None,
        pbc=np.concatenate([pbc_of(block) for block in blocks]) if periodic else None,
        isolated=None if blocks[0].isolated is None else rows("isolated"),
        seen=seen,
    )


def cells_of(block: Block) -> NDArray[np.float64]:
    """Cells, zero for non-periodic configurations: [n_configs, 3, 3] Å."""
    return np.zeros((len(block), 3, 3)) if block.cells is None else block.cells


def pbc_of(block: Block) -> NDArray[np.bool_]:
    """Periodic directions of every configuration: [n_configs, 3]."""
    return np.zeros((len(block), 3), dtype=bool) if block.pbc is None else block.pbc


def rows_per_block(n_atoms: int) -> int:
    """Number of configurations of this size per block."""
    return max(1, ATOMS_PER_BLOCK // max(n_atoms, 1))


def config_ranges(
    offsets: NDArray[np.int64], start: int = 0, n_atoms: int = ATOMS_PER_BLOCK
) -> Iterator[tuple[int, int]]:
    """Yield ranges of configurations with at most ``n_atoms``, or a single larger one."""
    n_configs = len(offsets) - 1
    while start < n_configs:
        stop = int(np.searchsorted(offsets, offsets[start] + n_atoms, "right")) - 1
        stop = min(max(stop, start + 1), n_configs)
        yield start, stop
        start = stop


def check_numbers(path: Path, numbers: NDArray[np.int64]) -> None:
    """Refuse invalid atomic numbers.

    Raises:
        DataError: a number is outside of 1 to 118.
    """
    bad = numbers[(numbers < 1) | (numbers > 118)]
    if len(bad):
        hint = (
            ". 0 and -1 are ghost atoms, which models do not support, or pad arrays (m, n) after "
            "the last atom, where they are ignored"
            if bad[0] in (0, -1)
            else ""
        )
        raise DataError(
            f"'{path}' has an atom of atomic number {bad[0]}; expected 1 to 118{hint}",
            code="EKD-DATA-046",
        )


def check_names(path: Path, energy: str, request: Request) -> None:
    """Refuse keys whose names indicate another quantity.

    Raises:
        DataError: the energy is per atom, or the forces are gradients.
    """
    if any(word in energy.casefold().replace("-", "_") for word in _PER_ATOM):
        raise DataError(
            f"'{energy}' in '{path}' is an energy per atom, judging by its name; expected "
            "total energies: multiply it by the number of atoms, or rename the key if it is "
            "a total energy",
            code="EKD-DATA-077",
        )
    forces = request.forces
    if forces is not None and "grad" in forces.casefold() and not request.gradients:
        raise DataError(
            f"'{forces}' in '{path}' holds gradients, judging by its name, which are minus the "
            "forces; reverse their sign with gradients=True, or rename the key if it holds forces",
            code="EKD-DATA-078",
        )


def other_energies(names: Iterable[str], energy: str) -> list[str]:
    """Names of total energies among names of scalars, except the one that is read."""
    return [
        name
        for name in names
        if name not in (energy, "free_energy")
        and ("energ" in name.casefold() or name == "E")
        and not any(word in name.casefold() for word in _NO_TOTAL_ENERGIES)
    ]


def incomplete(vectors: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[n_configs] whether any vector of a configuration is not finite."""
    bad = ~np.isfinite(vectors).all(axis=1)
    config = np.repeat(np.arange(len(sizes)), sizes)
    return np.bincount(config[bad], minlength=len(sizes)) > 0


def flat_cells(cells: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[n_configs] whether the lattice vectors of the periodic directions are linearly dependent."""
    periodic = np.where(pbc[:, :, None] & np.isfinite(cells), cells, 0.0)
    return np.asarray(np.linalg.matrix_rank(periodic) < pbc.sum(axis=1))


def unknown_key(path: Path, key: str, present: Iterable[str]) -> DataError:
    """Return the error for a key that does not exist in the file."""
    known = ", ".join(sorted(set(present) - _STRUCTURE)) or "none"
    return DataError(f"'{path}' has no key '{key}'; its keys are: {known}", code="EKD-DATA-034")


def no_energies(path: Path, key: str, n_configs: int) -> DataError:
    """Return the error for a file in which no configuration has the energy."""
    return DataError(
        f"all {n_configs} values of '{key}' in '{path}' are missing or NaN; name another energy",
        code="EKD-DATA-044",
    )


def nothing_selected(path: Path, n_configs: int) -> DataError:
    """Return the error for a file in which no configuration is selected."""
    return DataError(
        f"where and states leave out all {n_configs} configurations of '{path}' that have an "
        "energy; select others",
        code="EKD-DATA-082",
    )


def mismatch(path: Path, where: str, key: str, found: object, expected: str) -> DataError:
    """Return the error for an array with an unexpected shape."""
    return DataError(
        f"'{key}' of {where} in '{path}' has shape {found}; expected {expected}",
        code="EKD-DATA-045",
    )
