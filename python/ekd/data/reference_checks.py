"""Checks whether the data determine the reference energies, and whether these are plausible."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from ekd.elements import symbol
from ekd.units import energy_unit

_HARTREE: float = energy_unit("Hartree")
_ABOVE_ZERO = 30.0
"""eV. Labels may have any zero, but energies of bonds and distortions are below this."""
_BELOW_ALL_ELECTRONS = 1.3
"""Factor for the all-electron energy: relativity lowers it by a tenth in uranium."""
_BINDING = (-15.0, 5.0)
"""eV per atom: range of energies of molecules and solids relative to their atoms."""
_ATOM_ABOVE_FIT = (-8.0, 20.0)
"""eV. Atoms lie above a fit to molecules by about the energy of their bonds."""

_REMEDY = (
    "give reference_energies = {H = ..., ...} (eV, in [data] of the configuration, or to "
    "ekd.load_dataset), or add isolated atoms at the level of theory of the data as frames with "
    "config_type=IsolatedAtom"
)


def of_fit(
    fitted: Mapping[int, float],
    elements: Sequence[int],
    composition: NDArray[np.integer[Any]],
    energies: NDArray[np.float64],
) -> list[str]:
    """Return warnings about fitted reference energies.

    Args:
        fitted: fitted energies, eV by atomic number.
        elements: atomic numbers, the columns of ``composition``.
        composition: [n_configs, n_elements] number of atoms of each element.
        energies: [n_configs] eV.

    Returns:
        warnings, each with a remedy.
    """
    warnings = []
    free = undetermined(elements, composition)
    if free:
        involved = sorted({number for combination in free for number in combination})
        values = ", ".join(f"{symbol(z)} {fitted[z]:.1f}" for z in involved)
        changes = "; ".join(map(_shift, free))
        warnings.append(
            f"the compositions of the data do not determine the reference energies of "
            f"{', '.join(map(symbol, involved))}, which were fitted as {values} eV: no energy of "
            f"the data changes with {changes}. Energies of other compositions will be wrong; "
            f"{_REMEDY}, or train on more compositions"
        )
    elif text := _of_atoms(fitted, elements, composition, energies):
        warnings.append(text)
    if not free and (text := of_values(fitted)):
        warnings.append(text)
    return warnings


def of_given(
    given: Mapping[int, float],
    elements: Sequence[int],
    composition: NDArray[np.integer[Any]],
    energies: NDArray[np.float64],
) -> list[str]:
    """Return warnings about given reference energies; arguments as for :func:`of_fit`.

    They are subtracted from the energies of the data; the remainder is the energy of the bonds.
    """
    values = np.array([given[number] for number in elements])
    left = float(np.median((energies - composition @ values) / composition.sum(axis=1)))
    if _BINDING[0] <= left <= _BINDING[1]:
        return []
    listed = ", ".join(f"{symbol(z)} {given[z]:.1f}" for z in elements)
    return [
        f"relative to the reference energies ({listed} eV), the median energy of the data is "
        f"{left:.1f} eV per atom, expected {_BINDING[0]:.0f} to {_BINDING[1]:.0f} eV: atoms and "
        "data are at different levels of theory, or in different units; compute the atoms in the "
        "same way as the data, or leave the reference energies out"
    ]


def of_values(energies: Mapping[int, float]) -> str | None:
    """Return a warning about impossible reference energies, whatever the data are, or None.

    The energy of an atom is never below its all-electron energy, nor far above zero, the value for
    labels relative to atoms. Pseudopotentials and semi-empirical methods lie in between.

    Args:
        energies: eV by atomic number.
    """
    impossible = {
        number: energy
        for number, energy in energies.items()
        if not lowest_energy(number) <= energy <= _ABOVE_ZERO
    }
    if not impossible:
        return None
    listed = ", ".join(
        f"{symbol(z)} {energy:.1f} (expected {lowest_energy(z):.0f} to {_ABOVE_ZERO:.0f})"
        for z, energy in impossible.items()
    )
    return (
        f"impossible reference energies, in eV: {listed}. The data do not determine them well, or "
        "contain isolated atoms at another level of theory, or their unit is not what was assumed. "
        f"Energies of other compositions will be wrong; {_REMEDY}, or check energy_unit"
    )


def lowest_energy(number: int) -> float:
    """Lower bound (eV) of the total energy of a neutral atom, with a margin for relativity."""
    return _BELOW_ALL_ELECTRONS * electronic_energy(number) - _ABOVE_ZERO


def electronic_energy(number: int) -> float:
    """Approximate total energy (eV) of all electrons of a neutral atom.

    Thomas-Fermi series with the corrections of Scott and Schwinger, accurate to a few percent.
    """
    z = float(number)
    hartree: float = 0.768745 * z ** (7 / 3) - z**2 / 2 + 0.269900 * z ** (5 / 3)
    return -_HARTREE * hartree


def undetermined(
    elements: Sequence[int], composition: NDArray[np.integer[Any]]
) -> list[dict[int, int]]:
    """Find joint changes of reference energies that leave all energies of the data unchanged.

    Args:
        elements: atomic numbers.
        composition: [n_configs, n_elements] number of atoms of each element.

    Returns:
        multiples by atomic number, the smallest integers; empty if all are determined. For water
        only, ``{1: 1, 8: -2}``: 1 eV more for hydrogen is 2 eV less for oxygen.
    """
    present = composition.sum(axis=0) > 0
    numbers = np.asarray(elements)[present].tolist()
    rows = np.unique(composition[:, present], axis=0)
    rank = int(np.linalg.matrix_rank(rows))
    if rank == len(numbers):
        return []
    # Rows that span the row space; the elimination is exact.
    order = qr(rows.T.astype(float), mode="r", pivoting=True)[1]
    matrix = [[Fraction(int(count)) for count in rows[k]] for k in order[:rank]]
    pivots: list[int] = []
    for column in range(len(numbers)):
        row = len(pivots)
        found = next((k for k in range(row, rank) if matrix[k][column]), None)
        if found is None:
            continue
        matrix[row], matrix[found] = matrix[found], matrix[row]
        matrix[row] = [value / matrix[row][column] for value in matrix[row]]
        for k in range(rank):
            if k != row and (factor := matrix[k][column]):
                pairs = zip(matrix[k], matrix[row], strict=True)
                matrix[k] = [value - factor * other for value, other in pairs]
        pivots.append(column)
    combinations = []
    for free in sorted(set(range(len(numbers))) - set(pivots)):
        vector = {numbers[p]: -matrix[k][free] for k, p in enumerate(pivots) if matrix[k][free]}
        vector[numbers[free]] = Fraction(1)
        scale = Fraction(math.lcm(*(value.denominator for value in vector.values())))
        scale /= math.gcd(*(int(value * scale) for value in vector.values()))
        first = vector[min(vector)]
        scale = scale if first > 0 else -scale
        combinations.append({z: int(vector[z] * scale) for z in sorted(vector)})
    return combinations


def _of_atoms(
    fitted: Mapping[int, float],
    elements: Sequence[int],
    composition: NDArray[np.integer[Any]],
    energies: NDArray[np.float64],
) -> str | None:
    """Compare single atoms in the data with a fit to all other configurations, if determined."""
    single = composition.sum(axis=1) == 1
    others = composition[~single]
    if not single.any() or single.all():
        return None
    if undetermined(elements, others):  # the fit needs the atoms: use their residuals
        reference = np.array([fitted.get(int(z), 0.0) for z in elements])
    else:
        reference = np.linalg.lstsq(others.astype(float), energies[~single], rcond=None)[0]
    above = energies[single] - composition[single] @ reference
    far = (above < _ATOM_ABOVE_FIT[0]) | (above > _ATOM_ABOVE_FIT[1])
    # If no molecule contains an element, its atom alone determines its reference energy.
    far &= (composition[single] @ others.sum(axis=0)) > 0
    if not far.any():
        return None
    kinds = composition[single][far].argmax(axis=1)
    listed = ", ".join(
        f"{symbol(int(elements[k]))} {distance:+.1f}"
        for k, distance in dict(zip(kinds.tolist(), above[far].tolist(), strict=True)).items()
    )
    return (
        f"single atoms among the configurations do not fit the molecules: {listed} eV from the "
        f"reference energies, expected {_ATOM_ABOVE_FIT[0]:.0f} to {_ATOM_ABOVE_FIT[1]:.0f}. They "
        "are at another level of theory, or in another unit, and distort the fit; remove them, or "
        "compute them in the same way as the data"
    )


def _shift(combination: Mapping[int, int]) -> str:
    """Format a combination: "H +1, O -2 eV"."""
    return ", ".join(f"{symbol(z)} {value:+d}" for z, value in combination.items()) + " eV"
