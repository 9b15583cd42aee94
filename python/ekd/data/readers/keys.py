"""Names of positions, atomic numbers and cells in a file: known names or given ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ekd.errors import DataError

KNOWN = {
    "positions": ("coordinates", "coords", "positions", "conformations", "R"),
    "numbers": ("atomic_numbers", "species", "nuclear_charges", "numbers", "symbols", "z"),
    "cell": (
        *("cell", "cells", "lattice", "lattices", "lattice_vector", "lattice_vectors"),
        *("cell_vector", "cell_vectors", "unit_cell", "unit_cells", "unitcell"),
        *("box", "boxes", "box_vector", "box_vectors", "simulation_cell"),
    ),
    "pbc": ("pbc", "pbcs", "periodic", "periodicity"),
}
"""Known names by quantity; the first that exists is read. Only one for cell or pbc may exist."""

_OTHER_CELLS = {
    *("cell_lengths", "cell_angles", "cell_parameters", "cell_params", "cellpar", "cellpars"),
    *("lattice_lengths", "lattice_angles", "lattice_parameters", "lattice_params", "latt_params"),
    *("lattice_constant", "lattice_constants", "box_length", "box_lengths", "box_angles"),
    *("box_size", "box_sizes", "unit_cell_lengths", "unit_cell_angles"),
}

_LENGTHS = ("length", "lengths", "size", "sizes", "constants")


def check_keys(keys: Mapping[str, str] | None) -> None:
    """Refuse invalid names of quantities.

    Raises:
        DataError: not a mapping of text, or a key other than positions, numbers, cell and pbc.
    """
    example = "e.g. keys={'positions': 'coords', 'numbers': 'nuclear_charges'}"
    if keys is not None and not isinstance(keys, Mapping):
        raise DataError(f"keys is {keys!r}; expected a dictionary, {example}", code="EKD-DATA-038")
    for quantity, key in (keys or {}).items():
        if quantity not in KNOWN:
            raise DataError(
                f"keys has an entry '{quantity}'; expected {', '.join(KNOWN)}, {example}",
                code="EKD-DATA-038",
            )
        if not isinstance(key, str) or not key:
            raise DataError(
                f"keys has {key!r} for the {quantity}; expected a name, {example}",
                code="EKD-DATA-038",
            )


def find(quantity: str, names: Collection[str], keys: Mapping[str, str] | None) -> str | None:
    """Name of the positions or atomic numbers in a file or group, or None."""
    known = (keys[quantity],) if keys and quantity in keys else KNOWN[quantity]
    return next((name for name in known if name in names), None)


def is_periodic_name(name: str) -> bool:
    """Whether the name of an array indicates periodicity."""
    return name.casefold() in {*KNOWN["cell"], *KNOWN["pbc"], *_OTHER_CELLS}


def find_cell(
    arrays: Mapping[str, Any], keys: Mapping[str, str] | None, path: Path, where: str
) -> tuple[str | None, str | None]:
    """Names of ``cell`` and ``pbc`` in a file or group, None if missing.

    No cell is searched for if nothing is periodic according to ``pbc``.

    Args:
        arrays: available arrays by name.
        keys: given names.
        path: the file, for errors.
        where: the group, for errors.

    Raises:
        DataError: several arrays match, or there are lattice parameters of a kind that is not read.
    """
    pbc = _find_one("pbc", arrays, keys, path, where)
    value = None if pbc is None else np.asarray(arrays[pbc])
    if value is not None and value.dtype.kind in "bfiu" and not value.any():
        return None, pbc
    return _find_one("cell", arrays, keys, path, where), pbc


def _find_one(
    quantity: str, names: Collection[str], keys: Mapping[str, str] | None, path: Path, where: str
) -> str | None:
    if keys and quantity in keys:
        return keys[quantity] if keys[quantity] in names else None
    found = sorted(name for name in names if name.casefold() in KNOWN[quantity])
    if len(found) > 1:
        raise DataError(
            f"{where} in '{path}' has {' and '.join(map(repr, found))}; name the one to read with "
            f"keys={{'{quantity}': '{found[0]}'}}",
            code="EKD-DATA-039",
        )
    if found:
        return found[0]
    others = sorted(name for name in names if name.casefold() in _OTHER_CELLS)
    if quantity == "cell" and others:
        # Lengths alone may belong to orthorhombic cells, which only the user can know.
        lengths = len(others) == 1 and others[0].casefold().endswith(_LENGTHS)
        raise DataError(
            f"{where} in '{path}' is periodic with {' and '.join(map(repr, others))}, which is not "
            "read; expected lattice vectors as rows, 'cell' (3, 3) or (m, 3, 3), or 'pbc' = false "
            "if nothing is periodic"
            + (f"; if all angles are right, keys={{'cell': '{others[0]}'}}" if lengths else ""),
            code="EKD-DATA-032",
        )
    return None
