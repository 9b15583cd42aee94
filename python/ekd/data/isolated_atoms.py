"""Frames marked as isolated atoms, which are reference energies instead of configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ekd.elements import symbol
from ekd.errors import DataError

if TYPE_CHECKING:
    from ekd.data.readers.source import Block

_SAME = 1e-6  # eV


def is_isolated_atom(info: Mapping[str, Any]) -> bool:
    """Whether the comment line of a frame says ``config_type=IsolatedAtom``, in any spelling."""
    kind = str(info.get("config_type", ""))
    return kind.replace("_", "").replace("-", "").lower() == "isolatedatom"


def take_out(block: Block, path: Path) -> tuple[Block, dict[int, float]]:
    """Separate the isolated atoms of a block from its configurations.

    Args:
        block: block as read from the file.
        path: path of the file, for error messages.

    Returns:
        the block without isolated atoms; energies of the isolated atoms, eV by atomic number.

    Raises:
        DataError: a frame marked as an isolated atom has several atoms, or two atoms of the same
            element have different energies.
    """
    marked = block.isolated
    if marked is None or not marked.any():
        return block, {}
    if (sizes := block.sizes[marked]).max() > 1:
        raise DataError(
            f"'{path}' marks a frame of {sizes.max()} atoms with config_type=IsolatedAtom; "
            "expected one atom; correct the mark",
            code="EKD-DATA-009",
        )
    per_atom = np.repeat(marked, block.sizes)
    energies: dict[int, float] = {}
    numbers = block.atomic_numbers[per_atom].tolist()
    for number, energy in zip(numbers, block.energies[marked].tolist(), strict=True):
        merge(energies, {number: energy}, path)

    def rows(name: str, chosen: Any) -> Any:
        values = getattr(block, name)
        return None if values is None else values[chosen]

    per_config = ("sizes", "energies", "groups", "cells", "pbc", "isolated")
    kept = {name: rows(name, ~marked) for name in per_config}
    kept |= {name: rows(name, ~per_atom) for name in ("atomic_numbers", "positions", "forces")}
    return replace(block, **kept), energies


def merge(energies: dict[int, float], others: Mapping[int, float], path: Path) -> None:
    """Add energies of isolated atoms to known ones.

    Args:
        energies: known energies, eV by atomic number; changed in place.
        others: energies to add.
        path: path of the file that contains the others.

    Raises:
        DataError: the energies of an element differ.
    """
    for number, energy in others.items():
        known = energies.setdefault(number, energy)
        if abs(known - energy) > _SAME:
            raise DataError(
                f"isolated atoms of {symbol(number)} have two energies, {known:.6f} and "
                f"{energy:.6f} eV, the second in '{path}'; keep the one at the level of theory of "
                "the data",
                code="EKD-DATA-010",
            )


def only_isolated_atoms(names: str) -> DataError:
    """Return the error for files that contain only isolated atoms."""
    return DataError(
        f"'{names}' contains only isolated atoms, which are reference energies, not "
        "configurations; merge it with the data: ekd prepare DATA ATOMS --output MERGED.h5",
        code="EKD-DATA-008",
    )
