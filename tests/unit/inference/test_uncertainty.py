"""The uncertainty in exported files: equal by autograd, kernels and portable operations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

import systems
from ekd.calculator import EKDCalculator
from ekd.errors import ModelFileError
from ekd.export import export_model
from ekd.export.eager import evaluate
from ekd.inference import ExportedModel, read_metadata, run_self_test
from ekd.neighbor_list import NeighborList, neighbor_list
from models import (
    ELEMENTS,
    random_committee,
    random_model,
    random_network,
    rewritten,
    with_changed_weights,
    with_other_class,
)
from tolerances import tolerance

GOLDEN = Path(__file__).parents[2] / "golden"


def pairs_of(atoms: Atoms) -> tuple[np.ndarray, NeighborList]:
    species = np.array([ELEMENTS.index(z) for z in atoms.numbers], dtype=np.int64)
    return species, neighbor_list(atoms.positions, 4.0, atoms.cell.array, atoms.pbc)


def told(path: Path, atoms: Atoms, block: int = 0) -> np.ndarray:
    found = ExportedModel(path, block=block).evaluate_pairs(*pairs_of(atoms)).uncertainty
    assert found is not None
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n_interactions", [1, 2, 3])
@pytest.mark.parametrize("n_hidden", [1, 16, 21])
def test_kernels_equal_the_tape(
    tmp_path: Path, dtype: str, n_interactions: int, n_hidden: int
) -> None:
    settings = {"n_hidden": n_hidden, "n_interactions": n_interactions, "l_max": 1}
    path = random_model(tmp_path / "model.pt", dtype=dtype, **settings)
    network = random_network(**settings)[0].to(getattr(torch, dtype))
    for atoms in (systems.water_box(3), systems.methanol(), Atoms("O")):
        expected = evaluate(network, *pairs_of(atoms)).uncertainty
        found = told(path, atoms)
        np.testing.assert_allclose(found, expected, **tolerance("runtime", dtype).bounds)
        assert (found > 0).all()
        np.testing.assert_array_equal(told(path, atoms, block=5), found)


@pytest.mark.parametrize("instruction_set", ["avx512", "avx2", "portable"])
def test_every_instruction_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instruction_set: str
) -> None:
    monkeypatch.setenv("EKD_SIMD", instruction_set)
    settings = {"n_hidden": 13, "n_interactions": 2, "n_features": 33}
    path = random_model(tmp_path / "model.pt", **settings)
    atoms = systems.water_box(2)
    expected = evaluate(random_network(**settings)[0], *pairs_of(atoms)).uncertainty
    np.testing.assert_allclose(told(path, atoms), expected, **tolerance("runtime").bounds)


@pytest.mark.parametrize("block", [0, 5])
@pytest.mark.parametrize("n_interactions", [1, 2, 3])
def test_as_torchscript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_interactions: int, block: int
) -> None:
    """Autograd is used on devices without kernels, and for other networks."""
    path = random_model(tmp_path / "model.pt", n_hidden=6, n_interactions=n_interactions)
    other = with_other_class(path, tmp_path / "other.pt")
    atoms = systems.water_box(2)
    bounds = tolerance("runtime").bounds
    np.testing.assert_allclose(told(other, atoms, block), told(path, atoms), **bounds)
    one, two = (ExportedModel(file).evaluate_pairs(*pairs_of(atoms)) for file in (path, other))
    np.testing.assert_allclose(two.forces, one.forces, **bounds)
    assert not np.array_equal(two.forces, one.forces)  # computed in another way


@pytest.mark.parametrize("n_interactions", [1, 2])
def test_energies_and_forces_are_bitwise_the_same(tmp_path: Path, n_interactions: int) -> None:
    settings = {"n_interactions": n_interactions, "zbl": True}
    atoms = systems.water_box(3)
    results = []
    for n_hidden in (None, 16):
        path = random_model(tmp_path / f"{n_hidden}.pt", n_hidden=n_hidden, **settings)
        results.append(ExportedModel(path).evaluate_pairs(*pairs_of(atoms)))
    without, with_head = results
    assert without.uncertainty is None
    np.testing.assert_array_equal(with_head.atomic_energies, without.atomic_energies)
    np.testing.assert_array_equal(with_head.forces, without.forces)
    np.testing.assert_array_equal(with_head.virial, without.virial)


def test_committee_tells_the_mean_and_its_own_spread(tmp_path: Path) -> None:
    alone = random_committee(tmp_path / "committee.pt", 3, n_hidden=4, n_interactions=2)
    atoms = systems.methanol()
    atoms.calc = EKDCalculator(tmp_path / "committee.pt")
    each = [told(path, atoms) for path in alone]
    found = atoms.calc.get_property("uncertainty", atoms)
    np.testing.assert_allclose(found, np.mean(each, axis=0), **tolerance("runtime").bounds)
    assert np.abs(each[0] - each[1]).max() > 1e-3
    assert np.abs(atoms.calc.error_estimates["forces_std"] - found).max() > 1e-3
    assert run_self_test(ExportedModel(tmp_path / "committee.pt")).passed


def test_committee_of_students_with_and_without(tmp_path: Path) -> None:
    networks = [random_network(0, n_hidden=4)[0], random_network(1)[0]]
    export_model(networks, tmp_path / "committee.pt", config=random_network()[1])
    assert read_metadata(tmp_path / "committee.pt").uncertainty is False
    results = ExportedModel(tmp_path / "committee.pt").evaluate([8], [[0.0, 0.0, 0.0]])
    assert results.uncertainty is None
    assert results.forces_std is not None


def test_calculator(tmp_path: Path) -> None:
    atoms = systems.water()
    atoms.calc = EKDCalculator(random_model(tmp_path / "with.pt", n_hidden=4))
    assert atoms.calc.available_estimates == ("uncertainty",)
    found = atoms.calc.get_property("uncertainty", atoms)
    np.testing.assert_array_equal(found, told(tmp_path / "with.pt", atoms))
    atoms.calc = EKDCalculator(random_model(tmp_path / "without.pt"))
    atoms.get_potential_energy()
    assert atoms.calc.available_estimates == ()
    assert atoms.calc.error_estimates == {}


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("n_members", [1, 2])
def test_module_of_the_file(tmp_path: Path, portable: bool, n_members: int) -> None:
    networks = [random_network(k, n_hidden=4, n_interactions=2)[0] for k in range(n_members)]
    config = random_network(n_interactions=2)[1]
    path = tmp_path / "model.pt"
    export_model(networks, path, config=config, portable=portable)
    module = torch.jit.load(path)
    atoms = systems.methanol()
    species, pairs = pairs_of(atoms)
    vectors = torch.from_numpy(pairs.pair_vectors).requires_grad_()
    arguments = (torch.from_numpy(species), torch.from_numpy(pairs.pairs), vectors, len(atoms))
    energies, uncertainty = module.forward_with_uncertainty(*arguments)
    assert torch.equal(energies, module(*arguments))
    assert not uncertainty.requires_grad
    bounds = tolerance("runtime").bounds
    np.testing.assert_allclose(uncertainty, told(path, atoms), **bounds)
    if portable:
        assert read_metadata(path).required_ops == []


def test_file_of_format_2(tmp_path: Path) -> None:
    """Written by the version of ekd that introduced that format."""
    model = ExportedModel(GOLDEN / "exported-2.pt")
    assert model.metadata.uncertainty is False
    report = run_self_test(model)
    assert report.passed
    assert report.uncertainty is None
    assert model.evaluate([8], [[0.0, 0.0, 0.0]]).uncertainty is None


def edited(**changes: object) -> Callable[[str, bytes], bytes]:
    def edit(name: str, content: bytes) -> bytes:
        if name != "extra/ekd_metadata.json":
            return content
        document = json.loads(content)
        frame = document["self_test"] | changes.get("self_test", {})  # type: ignore[operator]
        return json.dumps(document | changes | {"self_test": frame}).encode()

    return edit


@pytest.mark.parametrize(
    ("n_hidden", "changes", "message"),
    [
        (None, {"uncertainty": True}, "arrays of 'self_test' in the metadata are inconsistent"),
        (
            None,
            {"uncertainty": True, "self_test": {"uncertainty": [0.1] * 8}},
            "'uncertainty' in its metadata does not match the model",
        ),
        (4, {"uncertainty": 1}, "'uncertainty' in the metadata has type number, expected boolean"),
        (4, {"self_test": {"uncertainty": [0.1]}}, "arrays of 'self_test' in the metadata are"),
    ],
)
def test_metadata_that_contradict_themselves_or_the_model(
    tmp_path: Path, n_hidden: int | None, changes: dict[str, object], message: str
) -> None:
    path = random_model(tmp_path / "model.pt", n_hidden=n_hidden)
    with pytest.raises(ModelFileError, match=message):
        ExportedModel(rewritten(path, tmp_path / "edited.pt", edited(**changes)))


def test_self_test_looks_at_it(tmp_path: Path) -> None:
    path = random_model(tmp_path / "model.pt", n_hidden=4)
    assert run_self_test(ExportedModel(path)).uncertainty == pytest.approx(0.0, abs=1e-12)
    changed = with_changed_weights(
        path,
        tmp_path / "changed.pt",
        lambda module: next(module.members.children()).uncertainty_head.readout.bias.add_(0.1),
    )
    report = run_self_test(ExportedModel(changed))
    assert report.forces < 1e-12
    assert report.uncertainty is not None
    assert report.uncertainty > 1e-3
    assert not report.passed
