"""Data files and scripts: exact, readable by others; errors for unsupported input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.build import molecule as build_molecule
from ase.io import read

from ekd.config import NVEConfig, WaterConfig
from ekd.errors import LammpsError, StructureError
from ekd.lammps import inputs
from ekd.lammps.structures import sheared, water_box


def test_data_file_is_exact(tmp_path: Path) -> None:
    box = sheared(water_box(8, 1.0))
    inputs.write_data(tmp_path / "water.data", box, ["O", "H"])
    found = read(tmp_path / "water.data", format="lammps-data", units="metal", sort_by_id=True)
    np.testing.assert_array_equal(found.numbers, box.numbers)
    np.testing.assert_allclose(found.positions, box.positions, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.cell.array, box.cell.array, rtol=0, atol=1e-13)


def test_molecule_gets_a_box_with_room(tmp_path: Path) -> None:
    methanol = build_molecule("CH3OH")
    inputs.write_data(tmp_path / "molecule.data", methanol, ["H", "C", "O"])
    found = read(tmp_path / "molecule.data", format="lammps-data", units="metal")
    assert found.cell.lengths().min() > 40
    assert "2 12.011  # C" in (tmp_path / "molecule.data").read_text()


def test_any_cell_can_be_turned_into_one_that_lammps_takes(tmp_path: Path) -> None:
    silicon = bulk("Si")
    silicon.rattle(0.1, seed=0)
    with pytest.raises(StructureError, match="lower triangular"):
        inputs.write_data(tmp_path / "data", silicon, ["Si"])
    turned = inputs.lower_triangular(silicon)
    inputs.write_data(tmp_path / "data", turned, ["Si"])
    before = silicon.get_all_distances(mic=True)
    np.testing.assert_allclose(turned.get_all_distances(mic=True), before, rtol=0, atol=1e-12)


def test_element_without_a_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StructureError, match="the structure has C, the model supports O, H"):
        inputs.write_data(tmp_path / "data", build_molecule("CH3OH"), ["O", "H"])


def test_no_atoms_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StructureError, match="at least one atom"):
        inputs.write_data(tmp_path / "data", Atoms(), ["H"])


@pytest.mark.parametrize(("name", "expected"), [("CH3OH", 6), ("CO2", 5), ("H2", 5), ("O", 3)])
def test_external_degrees_of_freedom(name: str, expected: int) -> None:
    atoms = Atoms("O") if name == "O" else build_molecule(name)
    assert inputs.external_degrees_of_freedom(atoms) == expected


def test_steps_follow_from_duration_and_time_step(tmp_path: Path) -> None:
    model = tmp_path / "student.pt"
    run = inputs.nve(
        tmp_path / "lammps" / "nve",
        build_molecule("CH3OH"),
        model,
        ["C", "O", "H"],
        NVEConfig(),
        seed=0,
    )
    script = run.script.read_text()
    assert run.n_steps == 40_000
    assert 'variable        model string "../../student.pt"' in script
    assert 'variable        elements string "C O H"' in script
    water = inputs.water(
        tmp_path / "lammps" / "water",
        water_box(8, 1.0),
        model,
        ["H", "O"],
        WaterConfig(),
        seed=0,
    )
    assert water.n_steps == 4_000
    assert "variable        oxygen equal 2" in water.script.read_text()


def test_path_that_lammps_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LammpsError, match="it has a space"):
        inputs.single_point(
            tmp_path,
            "one",
            build_molecule("H2O"),
            tmp_path / "my models" / "student.pt",
            ["O", "H"],
        )
