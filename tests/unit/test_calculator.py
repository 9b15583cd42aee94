"""The ASE calculator: an exported file gives consistent energy, forces and stress."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ase.build
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

import systems
from ekd.calculator import EKDCalculator
from ekd.errors import ModelFileError, StructureError
from ekd.inference import ExportedModel, run_self_test
from ekd.neighbor_list import neighbor_list
from models import random_model, random_network, with_changed_weights
from tolerances import tolerance

ARCHITECTURES = [(0, 1), (1, 1), (1, 2), (2, 3)]


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=lambda p: f"l{p[0]}-n{p[1]}")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    l_max, n_interactions = request.param
    path = tmp_path_factory.mktemp("model") / "student.pt"
    return random_model(path, l_max=l_max, n_interactions=n_interactions)


@pytest.fixture(scope="module")
def simple_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("model") / "student.pt")


@pytest.mark.parametrize("name", ["methanol", "tiny_cell", "triclinic_crystal"])
def test_forces_are_derivatives_of_the_energy(model: Path, name: str) -> None:
    atoms = getattr(systems, name)()
    atoms.calc = EKDCalculator(model)
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    bounds = tolerance("finite_difference").bounds
    np.testing.assert_allclose(atoms.get_forces(), numerical, **bounds)


@pytest.mark.parametrize("name", ["tiny_cell", "triclinic_crystal"])
def test_stress_is_the_derivative_with_respect_to_strain(model: Path, name: str) -> None:
    atoms = getattr(systems, name)()
    atoms.calc = EKDCalculator(model)
    numerical = calculate_numerical_stress(atoms, eps=1e-5, voigt=True)
    bounds = tolerance("finite_difference").bounds
    np.testing.assert_allclose(atoms.get_stress(), numerical, **bounds)


def test_atomic_energies_sum_to_the_energy(model: Path) -> None:
    atoms = systems.water_box()
    atoms.calc = EKDCalculator(model)
    total = atoms.get_potential_energy()
    assert atoms.get_potential_energies().shape == (len(atoms),)
    assert atoms.get_potential_energies().sum() == pytest.approx(total, rel=1e-14)


def test_supercell_has_the_energy_of_its_parts(model: Path) -> None:
    cell = systems.triclinic_crystal()
    cell.calc = EKDCalculator(model)
    supercell = cell.repeat((2, 1, 2))
    supercell.calc = EKDCalculator(model)
    bounds = tolerance("symmetry").bounds
    np.testing.assert_allclose(
        supercell.get_potential_energy(), 4 * cell.get_potential_energy(), **bounds
    )
    np.testing.assert_allclose(supercell.get_stress(), cell.get_stress(), **bounds)


def test_file_predicts_what_the_network_predicts(tmp_path: Path) -> None:
    network, _ = random_network(l_max=2, n_interactions=2)
    path = random_model(tmp_path / "student.pt", l_max=2, n_interactions=2)
    atoms = systems.methanol()
    pairs = neighbor_list(atoms.positions, network.cutoff)
    species = torch.tensor([[1, 6, 7, 8].index(z) for z in atoms.numbers])
    expected = network(
        species, torch.from_numpy(pairs.pairs), torch.from_numpy(pairs.pair_vectors), len(atoms)
    )
    atoms.calc = EKDCalculator(path)
    np.testing.assert_allclose(
        atoms.get_potential_energies(), expected.detach(), **tolerance("kernel").bounds
    )


def test_single_precision_is_close_to_double(tmp_path: Path) -> None:
    atoms = systems.water_box()
    results = {}
    for dtype in ("float64", "float32"):
        atoms.calc = EKDCalculator(random_model(tmp_path / f"{dtype}.pt", dtype, l_max=2))
        results[dtype] = atoms.get_potential_energy() / len(atoms), atoms.get_forces()
    bounds = tolerance("lammps", "float32").bounds
    np.testing.assert_allclose(results["float32"][0], results["float64"][0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(results["float32"][1], results["float64"][1], **bounds)


def test_md_rebuilds_the_neighbor_list_now_and_then(simple_model: Path) -> None:
    """In every step, results equal those with a new list."""
    atoms = systems.water_box()
    rng = np.random.default_rng(0)
    calculator = EKDCalculator(simple_model)
    fresh = EKDCalculator(simple_model, skin=0.0)
    for _ in range(10):
        atoms.positions += rng.normal(scale=0.03, size=(len(atoms), 3))
        atoms.calc = calculator
        forces, stress = atoms.get_forces(), atoms.get_stress()
        atoms.calc = fresh
        np.testing.assert_allclose(forces, atoms.get_forces(), **tolerance("kernel").bounds)
        np.testing.assert_allclose(stress, atoms.get_stress(), **tolerance("kernel").bounds)
    assert calculator.model.neighbors.n_updates == 10
    assert 1 < calculator.model.neighbors.n_rebuilds < 8
    assert fresh.model.neighbors.n_rebuilds == 10


def test_refuses_a_negative_skin(simple_model: Path) -> None:
    with pytest.raises(StructureError, match=r"skin is -0\.5"):
        EKDCalculator(simple_model, skin=-0.5)


def test_molecule_has_no_stress(simple_model: Path) -> None:
    atoms = systems.water()
    atoms.calc = EKDCalculator(simple_model)
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_isolated_atom_has_no_force(model: Path) -> None:
    atoms = Atoms("O")
    atoms.calc = EKDCalculator(model)
    assert np.isfinite(atoms.get_potential_energy())
    np.testing.assert_array_equal(atoms.get_forces(), 0)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "no atoms"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0]]), "atoms 0 and 1 are 0 Å apart"),
        (ase.build.molecule("SiH4"), "contains Si, but the model .* supports only H, C, N, O"),
        (Atoms("HeUHe", np.eye(3)), "contains He, U, but the model .* supports only H, C, N, O"),
    ],
)
def test_refuses(simple_model: Path, atoms: Atoms, message: str) -> None:
    atoms.calc = EKDCalculator(simple_model)
    with pytest.raises(StructureError, match=message):
        atoms.get_potential_energy()


def test_missing_file() -> None:
    with pytest.raises(ModelFileError, match="cannot be opened"):
        EKDCalculator("nothing.pt")


def test_file_alone_is_enough(simple_model: Path) -> None:
    """Neither the calculator nor the exported file needs the network architectures."""
    code = (
        "import sys; from ekd.calculator import EKDCalculator; from ase.build import molecule; "
        f"a = molecule('H2O'); a.calc = EKDCalculator({str(simple_model)!r}); a.get_forces(); "
        "sys.exit('ekd.models' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_self_test_notices_changed_weights(simple_model: Path, tmp_path: Path) -> None:
    assert run_self_test(ExportedModel(simple_model)).passed
    with_changed_weights(
        simple_model,
        tmp_path / "changed.pt",
        lambda module: next(p for n, p in module.named_parameters() if "energy" in n).add_(1e-3),
    )
    report = run_self_test(ExportedModel(tmp_path / "changed.pt"))
    assert not report.passed
    assert report.energy > report.tolerance
