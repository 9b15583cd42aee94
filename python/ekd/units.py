"""Units of energy in eV, of length in Å and of force in eV/Å (CODATA 2018), by name.

Each reader converts units once.
"""

from __future__ import annotations

import re
import unicodedata

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

_Unit = tuple[float, int, int, int]  # size in eV and Å; powers of energy, length and mol

_KINDS = {"energy": (1, 0, 0), "length": (0, 1, 0), "force": (1, -1, 0)}

_NAMES: dict[str, _Unit] = {
    name: unit
    for names, unit in (
        ("ev electronvolt electronvolts electron_volt electron_volts", (1.0, 1, 0, 0)),
        ("mev", (1e-3, 1, 0, 0)),
        ("hartree hartrees ha eh e_h", (HARTREE, 1, 0, 0)),
        ("kcal kilocalorie kilocalories", (KCAL_PER_MOL, 1, 0, 1)),
        ("kj kilojoule kilojoules", (KJ_PER_MOL, 1, 0, 1)),
        ("å angstrom angstroms ångström ang a", (1.0, 0, 1, 0)),
        ("bohr bohrs a0 a_0 bohr_radius", (BOHR, 0, 1, 0)),
        ("nm nanometer nanometers nanometre nanometres", (10.0, 0, 1, 0)),
        ("mol mole moles", (1.0, 0, 0, 1)),
    )
    for name in names.split()
}

_ATOMIC = {"energy": HARTREE, "length": BOHR, "force": HARTREE / BOHR}
_ATOMIC_NAMES = ("au", "a.u.", "atomic units", "atomic_units")

_KNOWN = {
    "energy": "eV, meV, Hartree, Ha, kcal/mol, kJ/mol",
    "length": "Å, Angstrom, Ang, A, Bohr, nm",
    "force": "eV/Å, Hartree/Bohr, kcal/mol/Å, kJ/mol/nm, or another energy per length",
}

_TOKEN = re.compile(r"\s*(?:([^\W\d][\w.]*)|([+-]?\d+)|(\*\*|[()*/^·]))")


def energy_unit(name: str) -> float:
    """Return the size of an energy unit in eV; names are case-insensitive.

    Raises:
        DataError: the unit is unknown.

    >>> energy_unit("hartree")
    27.211386245988
    """
    return _size(name, "energy", "energy unit")


def length_unit(name: str) -> float:
    """Return the size of a unit of length in Å; names are case-insensitive.

    Raises:
        DataError: the unit is unknown.

    >>> length_unit("bohr")
    0.529177210903
    """
    return _size(name, "length", "unit of length")


def force_unit(name: str) -> float:
    """Return the size of a unit of force in eV/Å: an energy per length, such as ``kcal/mol/Å``.

    Products, quotients, powers and parentheses are supported: ``kcal/mol/Å``, ``kJ/(mol*nm)``,
    ``kJ mol^-1 nm^-1``.

    Raises:
        DataError: the unit is unknown.

    >>> force_unit("meV/nm")
    0.0001
    """
    return _size(name, "force", "unit of force")


def _size(name: str, kind: str, called: str) -> float:
    # NFKC unifies the two characters that look like Å, and converts superscripts to digits.
    text = unicodedata.normalize("NFKC", name).replace("−", "-").strip().casefold()
    if text in _ATOMIC_NAMES:
        return _ATOMIC[kind]
    try:
        size, *powers = _parse(text)
    except ValueError:
        powers = []
    if tuple(powers) != _KINDS[kind]:
        raise DataError(
            f"unknown {called} '{name}'; use one of {_KNOWN[kind]}", code="EKD-DATA-051"
        )
    return size


def _parse(text: str) -> _Unit:
    """Parse a product into its size and powers.

    Raises:
        ValueError: it is not a product, or has an unknown name.
    """
    tokens, end = [], 0
    while end < len(text):
        if (match := _TOKEN.match(text, end)) is None:
            raise ValueError(text)
        tokens.append(match.group().strip())
        end = match.end()
    unit = _product(tokens)
    if tokens:
        raise ValueError(text)
    return unit


def _product(tokens: list[str]) -> _Unit:
    """Parse a product at the front of the tokens, and remove it."""
    unit = _power(tokens)
    while tokens and tokens[0] != ")":
        sign = 1
        if tokens[0] in ("*", "·", "/"):
            sign = -1 if tokens.pop(0) == "/" else 1
        unit = _times(unit, _power(tokens), sign)
    return unit


def _power(tokens: list[str]) -> _Unit:
    if not tokens:
        raise ValueError("a unit is missing")
    if (token := tokens.pop(0)) == "(":
        unit = _product(tokens)
        if not tokens or tokens.pop(0) != ")":
            raise ValueError("a bracket is open")
    elif token in _NAMES:
        unit = _NAMES[token]
    else:
        raise ValueError(token)
    marked = bool(tokens) and tokens[0] in ("^", "**")
    if marked:
        tokens.pop(0)
    if tokens and re.fullmatch(r"[+-]?\d", tokens[0]):
        return _times((1.0, 0, 0, 0), unit, int(tokens.pop(0)))
    if marked:
        raise ValueError("a power is missing")
    return unit


def _times(first: _Unit, second: _Unit, power: int) -> _Unit:
    """Return the first unit times a power of the second."""
    size, *powers = second
    energy, length, amount = (a + power * b for a, b in zip(first[1:], powers, strict=True))
    factor = size**power if power >= 0 else 1 / size**-power
    return first[0] * factor, energy, length, amount
