"""The molecules of a pool: from ASE by name, from the G2 set of ASE, and from files."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule as build
from ase.build.molecule import extra
from ase.collections import g2

from ekd.data import Dataset
from ekd.distillation import read_structures
from ekd.elements import symbol
from ekd.errors import ConfigError, StructureError


def named(names: Sequence[str], elements: Collection[int] | None) -> list[Atoms]:
    """Return molecules of ``ase.build.molecule``, in the order of their names.

    Args:
        names: names of molecules in ASE, e.g. ``CH3CH2OH``.
        elements: allowed atomic numbers; None: all.

    Raises:
        ConfigError: a name is unknown, or a molecule has unpaired electrons.
        StructureError: a molecule contains an element that is not allowed.
    """
    found = []
    for name in names:
        if name not in known_names():
            raise ConfigError(
                f"ASE has no molecule '{name}'; {_near(name, elements)}. Others can be given as "
                "files in structures",
                code="EKD-CONFIG-029",
            )
        atoms = build(name)
        if is_open_shell(atoms):
            raise ConfigError(
                f"the molecule '{name}' has unpaired electrons, but a pool may only contain closed "
                f"shells; {_near(name, elements)}",
                code="EKD-CONFIG-030",
            )
        _check_elements(f"the molecule '{name}'", atoms, elements)
        found.append(_plain(atoms))
    return found


def chosen(elements: Collection[int], max_heavy_atoms: int) -> list[Atoms]:
    """Return closed-shell molecules of ASE's G2 set without single atoms, small ones first.

    Args:
        elements: allowed atomic numbers.
        max_heavy_atoms: largest number of atoms other than hydrogen.

    Raises:
        ConfigError: there is no such molecule.
    """
    found = [
        (len(atoms), name, atoms)
        for name in g2.names
        if len(atoms := g2[name]) > 1
        and not is_open_shell(atoms)
        and set(atoms.numbers.tolist()) <= set(elements)
        and int((atoms.numbers > 1).sum()) <= max_heavy_atoms
    ]
    if not found:
        raise ConfigError(
            f"the G2 set of ASE has no closed-shell molecule of {_symbols(elements)} with at most "
            f"{max_heavy_atoms} heavy atoms; give molecules, give files in structures, or set "
            "molecules = [] to use only the training configurations",
            code="EKD-CONFIG-031",
        )
    return [_plain(atoms) for _, _, atoms in sorted(found, key=lambda entry: entry[:2])]


def from_files(paths: Sequence[Path], elements: Collection[int] | None) -> list[Atoms]:
    """Read all structures of the files; energies are ignored.

    Args:
        paths: files in any ASE format.
        elements: allowed atomic numbers; None: all.

    Raises:
        DataError: a file is missing, cannot be read, or has no structures.
        StructureError: a structure contains an element that is not allowed.
    """
    found = []
    for path in paths:
        structures: Dataset = read_structures(path)
        for index in range(len(structures)):
            atoms = structures.atoms(index)
            _check_elements(f"structure {index} of '{path}'", atoms, elements)
            found.append(atoms)
    return found


def known_names() -> list[str]:
    """Return all names that ``ase.build.molecule`` accepts."""
    return [*g2.names, *extra]


def is_open_shell(atoms: Atoms) -> bool:
    """Whether a molecule has unpaired electrons in ASE, or an odd number of electrons."""
    return bool(np.any(atoms.get_initial_magnetic_moments())) or int(atoms.numbers.sum()) % 2 == 1


def _plain(atoms: Atoms) -> Atoms:
    return Atoms(numbers=atoms.numbers, positions=atoms.positions)


def _check_elements(what: str, atoms: Atoms, elements: Collection[int] | None) -> None:
    unknown = set() if elements is None else set(atoms.numbers.tolist()) - set(elements)
    if unknown:
        assert elements is not None
        raise StructureError(
            f"{what} contains {_symbols(unknown)}, but the data contain only {_symbols(elements)}; "
            "a network trained on these data supports no other element, so leave it out",
            code="EKD-STRUCTURE-017",
        )


def _near(name: str, elements: Collection[int] | None) -> str:
    """Suggest similar names of usable molecules."""

    def fits(other: str) -> bool:
        atoms = build(other)
        return not is_open_shell(atoms) and (
            elements is None or set(atoms.numbers.tolist()) <= set(elements)
        )

    usable = [other for other in known_names() if fits(other)]
    alike = {other.lower(): other for other in usable}
    near = [alike[key] for key in difflib.get_close_matches(name.lower(), alike, n=5, cutoff=0.4)]
    if near:
        return f"similar names: {', '.join(near)}"
    return f"some of the names: {', '.join(sorted(usable, key=len)[:8])}"


def _symbols(elements: Collection[int]) -> str:
    return ", ".join(symbol(number) for number in sorted(elements))
