"""Units stated in a file, and their agreement with given units."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ekd.data.readers.source import Request
from ekd.errors import DataError
from ekd.units import energy_unit, force_unit, length_unit

_ATTRIBUTES = ("unit", "units")

SIZES: dict[str, Callable[[str], float]] = {
    "energy": energy_unit,
    "length": length_unit,
    "forces": force_unit,
}


_NAMES = {
    "energy": ("energy", "energies", "e", "total_energy"),
    "positions": (
        *("length", "lengths", "distance", "distances", "position", "positions", "r"),
        *("coordinate", "coordinates", "geometry"),
    ),
    "forces": ("force", "forces", "gradient", "gradients", "f"),
}


def unit_name(key: str) -> str | None:
    """Quantity (energy, positions, forces) of a key such as ``energy_unit``, or None."""
    name = key.casefold()
    for what, quantities in _NAMES.items():
        for quantity in quantities:
            forms = [f"{quantity}_{ending}" for ending in _ATTRIBUTES]
            if name in (*forms, *(f"{ending}_{quantity}" for ending in _ATTRIBUTES)):
                return what
    return None


def unread_unit(key: str) -> bool:
    """Whether a key states a unit without naming the quantity."""
    return key.casefold() in _ATTRIBUTES


def listed_units(text: str) -> dict[str, str] | None:
    """Parse text such as ``energy: Hartree; coordinates: Angstrom``.

    Returns:
        names of units, by those of energy, positions and forces that occur; None: other text.
    """
    found: dict[str, str] = {}
    for part in filter(str.strip, re.split(r"[;,\n]", text)):
        match = re.fullmatch(r"\s*([^\W\d]\w*)\s*(?:[:=]|\bin\b)\s*(\S.*?)\s*", part)
        if match is None:
            return None
        if (what := unit_name(f"{match[1]}_unit")) is not None:
            found[what] = match[2]
    return found or None


def unit_attribute(attributes: Mapping[str, Any], path: Path, array: str) -> str | None:
    """Text of an attribute ``units`` or ``unit`` of an HDF5 array, or None.

    Raises:
        DataError: the attribute is not text, or there are two that differ.
    """
    found: set[str] = set()
    for name in attributes:
        if name.casefold() in _ATTRIBUTES:
            value = np.asarray(attributes[name])
            entry = value.reshape(-1)[0] if value.size == 1 else value
            if not isinstance(entry, (bytes, str)):
                raise DataError(
                    f"the attribute '{name}' of '{array}' in '{path}' is {entry!r}; expected the "
                    "name of a unit; correct the attribute, or delete it",
                    code="EKD-DATA-050",
                )
            found.add(decoded(entry).strip())
    found.discard("")
    if len(found) > 1:
        raise DataError(
            f"'{array}' in '{path}' has attributes that state {' and '.join(sorted(found))}; "
            "delete the wrong one",
            code="EKD-DATA-048",
        )
    return next(iter(found), None)


def decoded(name: bytes | str) -> str:
    """Text of a file, from UTF-8 or, if it is not, Latin-1, as older files encode Å."""
    if isinstance(name, str):  # h5py escapes bytes that are not UTF-8
        name = name.encode(errors="surrogateescape")
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")  # encoding of Å in older files


def agreed(
    kind: str, stated: str | None, given: str | None, default: float, path: Path, array: str
) -> float:
    """Size of a unit in eV, Å or eV/Å: stated in the file, given by the user, or the default.

    Args:
        kind: ``energy``, ``length`` or ``forces``.
        stated: unit stated in the file.
        given: unit given by the user; an unknown unit in the file is then ignored.
        default: size if neither is specified.
        path: the file, for errors.
        array: the name of the array, for errors.

    Raises:
        DataError: a unit is unknown, or the two differ.
    """
    size = SIZES[kind]
    expected = None if given is None else size(given)
    if stated is None:
        return default if expected is None else expected
    try:
        found = size(stated)
    except DataError as error:
        if expected is not None:
            return expected
        remedy = "" if kind == "forces" else f"give {kind}_unit, or "
        raise DataError(
            f"'{array}' in '{path}' states its unit: {error}; {remedy}correct the unit in the file",
            code="EKD-DATA-050",
        ) from None
    if expected is not None and not math.isclose(found, expected, rel_tol=1e-4):
        raise DataError(
            f"'{array}' in '{path}' is in {stated} according to the file, but {kind}_unit is "
            f"'{given}'; leave {kind}_unit out, or correct the unit in the file",
            code="EKD-DATA-049",
        )
    return found


def factors(
    request: Request,
    stated: Mapping[str, tuple[str, str | None]],
    energy: str,
    path: Path,
) -> dict[str, float]:
    """Conversion factors to eV, Å and eV/Å for arrays of a file or group.

    Forces without a stated unit are in energy unit per unit of the positions.

    Args:
        request: given units.
        stated: names and units of the arrays ``energy``, ``positions``, and optionally ``cell``,
            ``forces``.
        energy: default unit of the energy; the default length unit is Å.
        path: the file, for errors.

    Raises:
        DataError: see :func:`agreed`.
    """
    sizes: dict[str, float] = {}
    for what, kind, given, default in (
        ("energy", "energy", request.energy_unit, energy_unit(energy)),
        ("positions", "length", request.length_unit, 1.0),
        ("cell", "length", request.length_unit, None),
        ("forces", "forces", None, None),
    ):
        if what in stated:
            if what == "cell":
                default = sizes["positions"]
            if what == "forces":
                default = sizes["energy"] / sizes["positions"]
            array, unit = stated[what]
            assert default is not None
            sizes[what] = agreed(kind, unit, given, default, path, array)
    if "forces" in sizes and request.gradients:
        sizes["forces"] *= -1
    return sizes
