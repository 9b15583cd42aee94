"""The calculators of ekd work like those of ASE: files, databases, copies, processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory
from ase.md.verlet import VelocityVerlet

import ekd
import systems
from ekd.calculator import EKDCalculator
from ekd.errors import ConfigError, ModelFileError, StructureError
from ekd.evaluation.calculators import MeanCalculator
from ekd.files import sha256
from ekd.inference import ExportedModel
from models import random_committee, random_model
from untrained import ensemble, teacher


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student with an uncertainty head, as from two or more teachers."""
    return random_model(tmp_path_factory.mktemp("model") / "student.pt", n_hidden=4)


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "committee.pt"
    random_committee(path, 2, n_hidden=4)
    return path


@pytest.fixture(params=["student", "committee", "mean", "ensemble", "teacher"])
def atoms(request: pytest.FixtureRequest, student: Path, committee: Path) -> Atoms:
    """Water, evaluated with each kind of calculator of ekd."""
    water = systems.water()
    water.calc = {
        "student": lambda: EKDCalculator(student),
        "committee": lambda: EKDCalculator(committee),
        "mean": lambda: MeanCalculator([EKDCalculator(student), EKDCalculator(committee)]),
        "ensemble": lambda: ekd.as_calculator(ensemble(2)),
        "teacher": lambda: ekd.as_calculator(teacher(0)),
    }[request.param]()
    water.get_potential_energy()
    return water


# ---- properties and error estimates ---------------------------------------------------------


def test_results_are_properties_of_ase(atoms: Atoms) -> None:
    """Results are available in all ways that ASE provides."""
    energy = atoms.get_potential_energy()
    assert set(atoms.calc.results) <= set(all_properties)
    assert set(atoms.calc.implemented_properties) <= set(all_properties)
    assert atoms.get_properties(["energy", "forces"])["energy"] == energy
    assert atoms.calc.calculate_properties(atoms, ["energy"])["energy"] == energy
    np.testing.assert_array_equal(atoms.calc.export_properties()["forces"], atoms.get_forces())
    point = SinglePointCalculator(atoms, **atoms.calc.results)
    np.testing.assert_array_equal(point.get_forces(atoms), atoms.get_forces())


def test_error_estimates_are_those_of_the_model(committee: Path) -> None:
    water = systems.water()
    water.calc = EKDCalculator(committee)
    found = ExportedModel(committee).evaluate(water.numbers, water.positions)
    assert water.calc.available_estimates == ("uncertainty", "forces_std", "energy_std")
    uncertainty = water.calc.get_property("uncertainty", water)  # calculates
    np.testing.assert_array_equal(uncertainty, found.uncertainty)
    np.testing.assert_array_equal(water.calc.error_estimates["forces_std"], found.forces_std)
    assert water.calc.error_estimates["energy_std"] == found.energy_std
    uncertainty *= 0  # changes only the caller's array
    assert water.calc.get_property("uncertainty", water).min() > 0


def test_error_estimates_never_belong_to_another_structure(committee: Path) -> None:
    water = systems.water()
    water.calc = EKDCalculator(committee)
    water.get_forces()
    before = water.calc.error_estimates
    water.positions[0] += 0.1
    assert water.calc.get_property("uncertainty", water, allow_calculation=False) is None
    assert water.calc.error_estimates == {}
    assert water.calc.get_property("energy_std", water) != before["energy_std"]
    water.calc.reset()
    assert water.calc.error_estimates == {}
    water.get_forces()
    water.positions[0] = water.positions[1]
    with pytest.raises(StructureError, match="0 Å apart"):
        water.get_forces()
    assert water.calc.error_estimates == {}


def test_estimate_that_a_model_lacks(student: Path, tmp_path: Path) -> None:
    water = systems.water()
    calculator = EKDCalculator(student)
    with pytest.raises(PropertyNotImplementedError, match=r"student.pt' has no forces_std; its er"):
        calculator.get_property("forces_std", water)
    calculator = EKDCalculator(random_model(tmp_path / "without.pt"))
    with pytest.raises(PropertyNotImplementedError, match=r"no uncertainty; its error est.* none"):
        calculator.store_error_estimates(water)
    with pytest.raises(PropertyNotImplementedError, match="this MeanCalculator has no uncertainty"):
        MeanCalculator([calculator]).get_property("uncertainty", water)


def test_no_structure(student: Path) -> None:
    with pytest.raises(StructureError, match="no structure to calculate; give atoms"):
        EKDCalculator(student).get_property("uncertainty")


def moves(water: Atoms) -> VelocityVerlet:
    water.set_velocities(np.full((3, 3), 0.01) * np.arange(3)[:, None])
    return VelocityVerlet(water, timestep=0.1)


def test_extended_xyz_keeps_error_estimates_of_md(committee: Path, tmp_path: Path) -> None:
    water = systems.water()
    water.calc = EKDCalculator(committee)
    dynamics = moves(water)
    dynamics.attach(water.calc.store_error_estimates, 1, water)
    dynamics.attach(lambda: water.write(tmp_path / "md.xyz", append=True))
    dynamics.run(2)
    frames = ase.io.read(tmp_path / "md.xyz", ":")
    assert len(frames) == 3
    for frame in frames:
        # The file contains 8 decimals of positions and arrays.
        found = ExportedModel(committee).evaluate(frame.numbers, frame.positions)
        for name in ("uncertainty", "forces_std"):
            np.testing.assert_allclose(frame.arrays[name], getattr(found, name), atol=1e-6)
        assert frame.info["energy_std"] == pytest.approx(found.energy_std, abs=1e-6)
        assert frame.get_potential_energy() == pytest.approx(found.energy, abs=1e-5)


def test_trajectory_keeps_error_estimates_of_md(committee: Path, tmp_path: Path) -> None:
    water = systems.water()
    water.calc = EKDCalculator(committee)
    dynamics = moves(water)
    dynamics.attach(water.calc.store_error_estimates, 1, water, per_atom="info")
    with Trajectory(tmp_path / "md.traj", "w", water) as trajectory:
        dynamics.attach(trajectory)
        dynamics.run(2)
    frames = ase.io.read(tmp_path / "md.traj", ":")
    assert len(frames) == 3
    for frame in frames:
        found = ExportedModel(committee).evaluate(frame.numbers, frame.positions)
        for name in ("uncertainty", "forces_std", "energy_std"):
            np.testing.assert_allclose(frame.info[name], getattr(found, name), rtol=1e-12)
        assert frame.calc.name == "ekd"
        assert frame.calc.parameters["sha256"] == sha256(committee)


def test_refuses_another_place(student: Path) -> None:
    with pytest.raises(ConfigError, match="per_atom is 'calc'; use 'arrays' for extended XYZ, or"):
        EKDCalculator(student).store_error_estimates(systems.water(), per_atom="calc")  # type: ignore[arg-type]


# ---- parameters -----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["db", "json"])
def test_database_records_the_model(student: Path, tmp_path: Path, suffix: str) -> None:
    water = systems.water()
    water.calc = EKDCalculator(student, block=7)
    energy = water.get_potential_energy()
    with ase.db.connect(tmp_path / f"found.{suffix}") as database:
        database.write(water, data={**water.calc.error_estimates})
        row = database.get(calculator="ekd")
    assert row.energy == energy
    np.testing.assert_array_equal(row.toatoms().get_forces(), water.get_forces())
    np.testing.assert_array_equal(
        row.data["uncertainty"], water.calc.error_estimates["uncertainty"]
    )
    assert row.calculator_parameters == {
        "model": str(student),
        "sha256": sha256(student),
        "device": "cpu",
        "block": 7,
        "skin": 0.5,
    }
    again = systems.water()
    again.calc = EKDCalculator(**row.calculator_parameters)
    assert again.get_potential_energy() == energy


def test_files_of_ase_take_every_calculator(atoms: Atoms, tmp_path: Path) -> None:
    with ase.db.connect(tmp_path / "found.db") as database:
        database.write(atoms)
        row = database.get(1)
    assert row.energy == atoms.get_potential_energy()
    assert row.calculator == atoms.calc.name
    assert row.calculator_parameters == atoms.calc.todict()
    for name in ("found.traj", "found.xyz", "found.json"):
        atoms.write(tmp_path / name)
        assert ase.io.read(tmp_path / name).get_potential_energy() == pytest.approx(
            atoms.get_potential_energy(), rel=1e-9
        )


def test_path_in_parameters_is_absolute(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(student.parent)
    calculator = EKDCalculator("student.pt")
    assert calculator.parameters["model"] == str(student)
    pickled = pickle.dumps(calculator)
    monkeypatch.chdir("/")
    assert pickle.loads(pickled).parameters == calculator.parameters


def test_set(student: Path, committee: Path) -> None:
    water = systems.water()
    water.calc = calculator = EKDCalculator(student)
    energy = water.get_potential_energy()
    assert calculator.set(skin=0.5) == {}
    assert calculator.results
    assert calculator.set(skin=1.0, block=2) == {"skin": 1.0, "block": 2}
    assert calculator.results == {}
    assert calculator.model.neighbors.skin == 1.0
    assert calculator.model.block == 2
    assert water.get_potential_energy() == pytest.approx(energy, rel=1e-14)
    changed = calculator.set(model=committee)
    assert changed == {"model": str(committee), "sha256": sha256(committee)}
    assert calculator.available_estimates == ("uncertainty", "forces_std", "energy_std")
    assert water.get_potential_energy() != energy


def test_set_keeps_a_model_without_a_file() -> None:
    water = systems.water()
    water.calc = ekd.as_calculator(teacher(0))
    energy = water.get_potential_energy()
    assert water.calc.set(skin=1.0) == {"skin": 1.0}
    assert water.get_potential_energy() == pytest.approx(energy, rel=1e-14)


def test_unknown_parameters(student: Path) -> None:
    with pytest.raises(ConfigError, match="no parameter 'skn' to set; use model, device, block, s"):
        EKDCalculator(student, skn=0.5)
    with pytest.raises(ConfigError, match="no parameter 'cutoff' to set"):
        EKDCalculator(student).set(cutoff=3.0)


# ---- copies and other processes -------------------------------------------------------------


def calculate(atoms: Atoms) -> tuple[float, Any]:
    return atoms.get_potential_energy(), atoms.get_forces()


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))]
)
def test_copies(atoms: Atoms, duplicate: Any) -> None:
    calculator: Calculator = duplicate(atoms.calc)
    assert calculator.results.keys() == atoms.calc.results.keys()
    assert calculator.todict() == atoms.calc.todict()
    assert calculator.error_estimates.keys() == atoms.calc.error_estimates.keys()
    moved = systems.water(seed=1)
    moved.calc = calculator
    energy, forces = calculate(moved)
    moved.calc = atoms.calc
    moved.calc.reset()
    assert moved.get_potential_energy() == energy
    np.testing.assert_array_equal(moved.get_forces(), forces)


def test_deepcopy_of_atoms_keeps_results(student: Path) -> None:
    water = systems.water()
    water.calc = EKDCalculator(student)
    water.get_forces()
    twin = copy.deepcopy(water)
    twin.get_forces()
    assert twin.calc.model.neighbors.n_updates == 0
    twin.positions[0] += 0.1
    twin.get_forces()
    assert water.calc.model.neighbors.n_updates == 1


def test_spawned_processes(student: Path) -> None:
    frames = []
    for seed in range(2):
        water = systems.water(seed)
        water.calc = EKDCalculator(student)
        frames.append(water)
    mean = systems.water()
    mean.calc = ekd.as_calculator(ensemble(2))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map_async(Atoms.get_potential_energy, [*frames, mean]).get(timeout=60)
    assert found == [one.get_potential_energy() for one in [*frames, mean]]


def test_file_has_changed(tmp_path: Path) -> None:
    path = random_model(tmp_path / "student.pt")
    calculator = EKDCalculator(path)
    pickled, before = pickle.dumps(calculator), sha256(path)
    random_model(path, n_features=9)
    for attempt in (
        lambda: pickle.loads(pickled),
        lambda: copy.deepcopy(calculator),
        lambda: calculator.set(skin=1.0),
        lambda: EKDCalculator(path, sha256=before),
    ):
        with pytest.raises(ModelFileError) as caught:
            attempt()
        message = str(caught.value)
        assert f"'{path}' is not the expected file: its SHA-256 is {sha256(path)}, " in message
        assert f"expected {before}; restore" in message
    path.unlink()
    with pytest.raises(ModelFileError, match="cannot be opened"):
        pickle.loads(pickled)


def test_a_shallow_copy_does_not_change_what_the_original_knows(student: Path) -> None:
    one, two = systems.methanol(), systems.methanol()
    two.positions += np.random.default_rng(0).normal(scale=0.05, size=two.positions.shape)
    expected = EKDCalculator(student).get_potential_energy(two)
    calculator = EKDCalculator(student)
    calculator.get_potential_energy(one)
    other = copy.copy(calculator)
    other.get_potential_energy(two)
    assert calculator.get_potential_energy(two) == pytest.approx(expected, abs=1e-10)


def test_structures_of_others_stay_where_they_are(student: Path) -> None:
    """A calculator keeps copies, so previous results do not change."""
    calculator = EKDCalculator(student)
    one = systems.methanol()
    before = one.positions.copy()
    calculator.atoms = one
    calculator.calculate()
    two = systems.methanol()
    two.positions[0] += 0.1
    kept = calculator.atoms
    calculator.get_property("energy", two)
    np.testing.assert_array_equal(one.positions, before)
    np.testing.assert_array_equal(kept.positions, before)
    np.testing.assert_array_equal(calculator.atoms.positions, two.positions)
    two.positions[0] += 0.1  # its last results do not follow
    assert "positions" in calculator.check_state(two)
