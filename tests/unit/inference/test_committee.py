"""Several students in one file: their mean and their spread, in Python and in ASE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import systems
from ekd.calculator import EKDCalculator
from ekd.errors import ConfigError
from ekd.export import export_model
from ekd.inference import ExportedModel, read_metadata, run_self_test
from models import random_committee, random_model, random_network, with_changed_weights
from tolerances import tolerance


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A committee of three, and a separate file for each member."""
    path = tmp_path_factory.mktemp("model") / "committee.pt"
    return path, random_committee(path, 3, n_interactions=2, l_max=1)


@pytest.mark.parametrize("name", ["water_box", "methanol"])
def test_mean_and_spread_are_those_of_the_members(
    files: tuple[Path, list[Path]], name: str
) -> None:
    """Compare with one calculator per member, and explicit formulas."""
    committee, alone = files
    atoms = getattr(systems, name)()
    atoms.calc = EKDCalculator(committee)
    members = []
    for path in alone:
        copy = atoms.copy()
        copy.calc = EKDCalculator(path)
        copy.get_potential_energy()
        members.append(copy.calc.results)
    bounds = tolerance("kernel").bounds
    for key in ("energy", "energies", "forces", *(["stress"] if name == "water_box" else [])):
        mean = sum(member[key] for member in members) / 3
        np.testing.assert_allclose(atoms.calc.get_property(key, atoms), mean, **bounds)
    energies = np.array([member["energy"] for member in members])
    energy_std = np.sqrt(np.mean((energies - energies.mean()) ** 2))
    assert atoms.calc.get_property("energy_std") == pytest.approx(energy_std, rel=1e-9)
    deviations = np.array([member["forces"] for member in members]) - atoms.get_forces()
    forces_std = np.sqrt(np.mean(np.sum(deviations**2, axis=2), axis=0) / 3)
    assert forces_std.min() > 1e-3
    np.testing.assert_allclose(atoms.calc.get_property("forces_std"), forces_std, **bounds)


def test_one_student_has_no_spread(tmp_path: Path) -> None:
    atoms = systems.water()
    atoms.calc = EKDCalculator(random_model(tmp_path / "student.pt"))
    atoms.get_potential_energy()
    assert atoms.calc.error_estimates == {}
    model = ExportedModel(tmp_path / "student.pt")
    assert model.evaluate([8], [[0.0, 0.0, 0.0]]).forces_std is None


def test_file_of_a_committee(files: tuple[Path, list[Path]], tmp_path: Path) -> None:
    metadata = read_metadata(files[0])
    assert metadata.n_members == 3
    assert metadata.provenance == [{}, {}, {}]
    assert metadata.model["n_parameters"] == read_metadata(files[1][0]).model["n_parameters"]
    assert run_self_test(ExportedModel(files[0])).passed
    changed = with_changed_weights(  # one of three members has changed
        files[0],
        tmp_path / "changed.pt",
        lambda module: list(module.members.children())[2].reference_energies.add_(1e-3),
    )
    assert not run_self_test(ExportedModel(changed)).passed


def test_self_test_frame_is_the_mean(files: tuple[Path, list[Path]]) -> None:
    energies = [read_metadata(path).self_test["energy"] for path in files[1]]
    assert read_metadata(files[0]).self_test["energy"] == pytest.approx(
        np.mean(energies), rel=1e-12
    )


def test_reference_energies_are_the_mean(tmp_path: Path) -> None:
    networks = [random_network(seed)[0] for seed in (0, 1)]
    networks[1].reference_energies += 1.0
    export_model(networks, tmp_path / "committee.pt", config=random_network()[1])
    assert read_metadata(tmp_path / "committee.pt").energy_reference["H"] == pytest.approx(-13.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoff": 4.5}, r"must have the same cutoff, but network 1 has 4\.5 and network 0 has 4"),
        ({"n_features": 9}, r"must have the same feature_widths, but network 1 has \[4, 9\]"),
        ({"n_interactions": 2}, r"same feature_widths, but network 1 has \[4, 8, 8\]"),
    ],
)
def test_networks_that_do_not_go_together(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    network, config = random_network()
    other, _ = random_network(1, **changes)
    with pytest.raises(ConfigError, match=message):
        export_model([network, other], tmp_path / "committee.pt", config=config)
    assert list(tmp_path.iterdir()) == []


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no network to export"):
        export_model([], tmp_path / "committee.pt", config=random_network()[1])
