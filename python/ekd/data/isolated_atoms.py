"""Frames that are marked as isolated atoms: reference energies, not configurations."""

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
    """The configurations of a block, and the energies of its isolated atoms.

    Args:
        block: as it was read.
        path: of its file, for messages.

    Returns:
        the block without its isolated atoms; eV by atomic number.

    Raises:
        DataError: a frame is marked as an isolated atom and has more atoms than one, or two atoms
            of one element have different energies.
    """
    marked = block.isolated
    if marked is None or not marked.any():
        return block, {}
    if (sizes := block.sizes[marked]).max() > 1:
        raise DataError(
            f"'{path}' marks a frame of {sizes.max()} atoms with config_type=IsolatedAtom; "
            "expected one atom, correct the mark",
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
    """Add energies of isolated atoms to those that are known.

    Args:
        energies: eV by atomic number; it is changed.
        others: to be added.
        path: of the file that has the others.

    Raises:
        DataError: an element has another energy there.
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
    """The error of files that hold no configuration beside isolated atoms."""
    return DataError(
        f"'{names}' holds isolated atoms alone, which are reference energies and no "
        "configurations; merge it with the data: ekd prepare DATA ATOMS --output MERGED.h5",
        code="EKD-DATA-008",
    )
