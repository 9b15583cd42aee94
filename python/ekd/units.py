"""Energy units in eV (CODATA 2018). Each reader converts once, on the way in."""

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

_ENERGY_UNITS = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": HARTREE,
    "Ha": HARTREE,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
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
