"""Units and elements against independent values."""

from __future__ import annotations

import ase.units
import pytest

from ekd import units
from ekd.elements import atomic_number, symbol
from ekd.errors import DataError
from tolerances import tolerance


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Hartree", ase.units.Hartree),
        ("hartree", ase.units.Hartree),
        ("Ha", ase.units.Hartree),
        ("kcal/mol", ase.units.kcal / ase.units.mol),
        ("kJ/mol", ase.units.kJ / ase.units.mol),
        ("eV", 1.0),
        ("meV", 1e-3),
        ("Eh", ase.units.Hartree),
        ("a.u.", ase.units.Hartree),
        ("electron_volt", 1.0),
        ("kcal mol^-1", ase.units.kcal / ase.units.mol),
        ("kJ mol⁻¹", ase.units.kJ / ase.units.mol),
        ("kilojoules/mole", ase.units.kJ / ase.units.mol),
    ],
)
def test_energy_units_agree_with_ase(name: str, size: float) -> None:
    assert units.energy_unit(name) == pytest.approx(size, rel=tolerance("constants").rtol)


def test_constants_are_codata_2018() -> None:
    assert units.HARTREE == 27.211386245988
    assert pytest.approx(96.48533212331, rel=1e-12) == 1 / units.KJ_PER_MOL
    assert pytest.approx(4.184, rel=1e-15) == units.KCAL_PER_MOL / units.KJ_PER_MOL


def test_unknown_unit_names_the_known() -> None:
    with pytest.raises(DataError, match=r"unknown energy unit 'Rydberg'; use one of eV, .*kJ/mol"):
        units.energy_unit("Rydberg")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Å", 1.0),
        ("\N{ANGSTROM SIGN}", 1.0),
        ("Ang", 1.0),
        ("angstrom", 1.0),
        ("bohr", ase.units.Bohr),
        ("a0", ase.units.Bohr),
        ("atomic units", ase.units.Bohr),
        ("nm", ase.units.nm),
    ],
)
def test_length_units_agree_with_ase(name: str, size: float) -> None:
    assert units.length_unit(name) == pytest.approx(size, rel=tolerance("constants").rtol)


def test_unknown_length_names_the_known() -> None:
    with pytest.raises(DataError, match=r"unknown unit of length 'pm'; use one of Å, .*Bohr, nm"):
        units.length_unit("pm")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("eV/Å", 1.0),
        ("eV*Å**-1", 1.0),
        ("hartree / bohr", ase.units.Hartree / ase.units.Bohr),
        ("au", ase.units.Hartree / ase.units.Bohr),
        ("kcal/mol/Ang", ase.units.kcal / ase.units.mol),
        ("kJ/(mol*nm)", ase.units.kJ / ase.units.mol / ase.units.nm),
        ("kJ mol-1 nm-1", ase.units.kJ / ase.units.mol / ase.units.nm),
    ],
)
def test_force_units_agree_with_ase(name: str, size: float) -> None:
    assert units.force_unit(name) == pytest.approx(size, rel=tolerance("constants").rtol)


@pytest.mark.parametrize(
    "name", ["eV", "kcal/Å", "eV/Å/Å", "eV/", "(eV/Å", "eV/Å)", "eV/Å^", "N", ""]
)
def test_unknown_force_names_the_known(name: str) -> None:
    with pytest.raises(
        DataError, match=r"unknown unit of force '.*'; use one of eV/Å, Hartree/Bohr"
    ):
        units.force_unit(name)


def test_symbols_round_trip() -> None:
    assert [symbol(number) for number in (1, 6, 7, 8)] == ["H", "C", "N", "O"]
    assert all(atomic_number(symbol(number)) == number for number in range(1, 119))


@pytest.mark.parametrize("number", [0, -1, 119])
def test_no_such_atomic_number(number: int) -> None:
    with pytest.raises(
        DataError, match=f"no element has atomic number {number}; expected 1 to 118"
    ):
        symbol(number)


@pytest.mark.parametrize("name", ["X", "h", "Xx", ""])
def test_no_such_symbol(name: str) -> None:
    with pytest.raises(DataError, match=f"'{name}' is not a chemical symbol"):
        atomic_number(name)
