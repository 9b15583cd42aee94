from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from ekd.errors import ConfigError, StructureError
from ekd.pool.molecules import chosen, from_files, is_open_shell, known_names, named

CHNO = (1, 6, 7, 8)


def test_named_molecules_are_those_of_ase_without_more() -> None:
    (water, ethanol) = named(["H2O", "CH3CH2OH"], CHNO)
    np.testing.assert_array_equal(water.positions, molecule("H2O").positions)
    assert ethanol.get_chemical_formula() == "C2H6O"
    assert not water.get_initial_magnetic_moments().any()


@pytest.mark.parametrize(("name", "near"), [("CH3CH2OOH", "CH3CH2OH"), ("water!", "names")])
def test_an_unknown_name_is_answered_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=near) as caught:
        named([name], CHNO)
    assert f"no molecule '{name}'" in str(caught.value)


@pytest.mark.parametrize("name", ["OH", "O2", "CH3"])
def test_open_shells_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"unpaired electrons.*similar names: ") as caught:
        named([name], CHNO)
    near = str(caught.value).partition("similar names: ")[2].split(", ")
    assert not any(is_open_shell(molecule(other)) for other in near if other in known_names())


def test_another_element_is_refused_by_name() -> None:
    with pytest.raises(StructureError, match="'CH3SH' contains S, but the data contain only H"):
        named(["CH3SH"], CHNO)
    assert len(named(["CH3SH"], None)) == 1


def test_the_choice_holds_what_it_promises() -> None:
    found = chosen(CHNO, 6)
    assert len(found) == 61
    assert all(set(atoms.numbers) <= set(CHNO) and len(atoms) > 1 for atoms in found)
    assert all((atoms.numbers > 1).sum() <= 6 for atoms in found)
    assert not any(map(is_open_shell, found))
    assert [len(atoms) for atoms in found] == sorted(len(atoms) for atoms in found)
    hydrocarbons = chosen((1, 6), 2)
    assert {atoms.get_chemical_formula() for atoms in hydrocarbons} == {
        "H2", "CH2", "CH4", "C2H2", "C2H4", "C2H6",
    }  # fmt: skip


def test_no_molecule_of_the_elements() -> None:
    with pytest.raises(ConfigError, match="no closed-shell molecule of Cu with at most 6"):
        chosen((29,), 6)


def test_structures_from_files(tmp_path: Path) -> None:
    path = tmp_path / "two.xyz"
    ase.io.write(path, [molecule("H2O"), molecule("CH4")])
    assert [len(atoms) for atoms in from_files([path], CHNO)] == [3, 5]
    ase.io.write(path, [molecule("H2O"), Atoms("Ar")])
    with pytest.raises(StructureError, match=r"structure 1 of '.*two.xyz' contains Ar"):
        from_files([path], CHNO)
