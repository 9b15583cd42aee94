"""Units of energy in eV and of length in Å (CODATA 2018). Each reader converts once."""

from __future__ import annotations

from ekd.errors import DataError

_ELEMENTARY_CHARGE = 1.602176634e-19  # C, exact in the SI of 2019
_AVOGADRO = 6.02214076e23  # 1/mol, exact in the SI of 2019

HARTREE = 27.211386245988
"""eV per Hartree."""

KJ_PER_MOL = 1e3 / (_AVOGADRO * _ELEMENTARY_CHARGE)
"""eV per kJ/mol."""

KCAL_PER_MOL = 4.184 * KJ_PER_MOL
"""eV per kcal/mol (thermochemical calorie, 4.184 J)."""

BOHR = 0.529177210903
"""Å per Bohr."""

_ENERGY_UNITS = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": HARTREE,
    "Ha": HARTREE,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
}

_LENGTH_UNITS = {
    "Å": 1.0,
    "Angstrom": 1.0,
    "Ang": 1.0,
    "A": 1.0,
    "Bohr": BOHR,
    "nm": 10.0,
}


def energy_unit(name: str) -> float:
    """Return the size of an energy unit in eV; upper and lower case are the same.

    Raises:
        DataError: the unit is unknown.

    >>> energy_unit("hartree")
    27.211386245988
    """
    for known, size in _ENERGY_UNITS.items():
        if name.casefold() == known.casefold():
            return size
    raise DataError(f"unknown energy unit '{name}'; use one of {', '.join(_ENERGY_UNITS)}")


def length_unit(name: str) -> float:
    """Return the size of a unit of length in Å; upper and lower case are the same.

    Raises:
        DataError: the unit is unknown.

    >>> length_unit("bohr")
    0.529177210903
    """
    for known, size in _LENGTH_UNITS.items():
        if name.casefold() == known.casefold():
            return size
    raise DataError(f"unknown unit of length '{name}'; use one of {', '.join(_LENGTH_UNITS)}")
