"""Chemical symbols and atomic numbers."""

from __future__ import annotations

from ase.data import atomic_numbers as _numbers
from ase.data import chemical_symbols as _symbols

from ekd.errors import DataError


def symbol(atomic_number: int) -> str:
    """Return the symbol of an element.

    Raises:
        DataError: there is no element with this atomic number.

    >>> symbol(8)
    'O'
    """
    if not 0 < atomic_number < len(_symbols):
        raise DataError(
            f"no element has atomic number {atomic_number}; expected 1 to {len(_symbols) - 1}",
            code="EKD-DATA-046",
        )
    return str(_symbols[atomic_number])


def atomic_number(symbol: str) -> int:
    """Return the atomic number of an element.

    Raises:
        DataError: there is no element with this symbol.

    >>> atomic_number("O")
    8
    """
    number = int(_numbers.get(symbol, 0))  # 0 is ASE's dummy atom 'X'
    if number == 0:
        raise DataError(
            f"'{symbol}' is not a chemical symbol; write it as in 'H' or 'Cl'", code="EKD-DATA-047"
        )
    return number
