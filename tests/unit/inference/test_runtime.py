"""The C++ runtime against the original network and autograd, for all cases of the kernels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from ekd.errors import StructureError
from ekd.export import export_model
from ekd.export.eager import evaluate
from ekd.inference import ExportedModel
from ekd.neighbor_list import neighbor_list
from models import pairs_of, random_model, random_network
from systems import STRUCTURES, water_box
from tolerances import tolerance


def by_tape(atoms: Atoms, dtype: str, **settings: object) -> tuple[np.ndarray, np.ndarray]:
    """Atomic energies and forces by autograd through the original network."""
    network, _ = random_network(**settings)
    results = evaluate(network.to(getattr(torch, dtype)), *pairs_of(atoms))
    return results.atomic_energies, results.forces


def by_runtime(path: Path, atoms: Atoms, block: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Atomic energies and forces by the C++ runtime from the exported file."""
    results = ExportedModel(path, block=block).evaluate_pairs(*pairs_of(atoms))
    return results.atomic_energies, results.forces


def assert_equal(
    found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray], dtype: str
) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, **tolerance("runtime", dtype).bounds)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("n_interactions", [1, 2, 3])
@pytest.mark.parametrize("l_max", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_equals_the_tape(
    tmp_path: Path, dtype: str, l_max: int, n_interactions: int, structure: str
) -> None:
    settings = {"l_max": l_max, "n_interactions": n_interactions}
    atoms = STRUCTURES[structure]()
    path = random_model(tmp_path / "model.pt", dtype=dtype, **settings)
    assert_equal(by_runtime(path, atoms), by_tape(atoms, dtype, **settings), dtype)


@pytest.mark.parametrize("instruction_set", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize("n_features", [1, 8, 20, 33, 64])
def test_every_instruction_set_and_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instruction_set: str, n_features: int
) -> None:
    # Widths that are less than, equal to, or no multiples of vectors and panels; more sensitivities
    # than elements of a vector.
    settings = {
        "l_max": 2,
        "n_interactions": 2,
        "n_features": n_features,
        "n_sensitivities": 19,
        "n_atom_layers": 1,
        "zbl": True,
    }
    monkeypatch.setenv("EKD_SIMD", instruction_set)
    atoms = water_box(2)
    path = random_model(tmp_path / "model.pt", **settings)
    assert_equal(by_runtime(path, atoms), by_tape(atoms, "float64", **settings), "float64")


def test_sensitivities_in_any_order_and_of_any_width(tmp_path: Path) -> None:
    # After training, sensitivities may be unsorted, and some so broad that they act on all pairs.
    network, config = random_network(n_interactions=2, n_sensitivities=12)
    with torch.no_grad():
        for block in network.blocks:
            sensitivities = block.interaction.sensitivities
            sensitivities.mu.copy_(sensitivities.mu[torch.randperm(12)])
            sensitivities.sigma.mul_(torch.linspace(-0.1, 3.0, 12))
    export_model(network, tmp_path / "model.pt", config=config)
    atoms = water_box(2)
    expected = evaluate(network, *pairs_of(atoms))
    found = by_runtime(tmp_path / "model.pt", atoms)
    assert_equal(found, (expected.atomic_energies, expected.forces), "float64")


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_blocks_and_threads_change_nothing(tmp_path: Path, n_threads: int) -> None:
    atoms = water_box(4)
    path = random_model(tmp_path / "model.pt", n_interactions=2)
    expected = by_runtime(path, atoms)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        for block in (0, 1, 50, 1000):
            for one, other in zip(by_runtime(path, atoms, block), expected, strict=True):
                np.testing.assert_array_equal(one, other)
    finally:
        torch.set_num_threads(before)


def test_pairs_must_be_sorted(tmp_path: Path) -> None:
    model = ExportedModel(random_model(tmp_path / "model.pt"))
    species = np.array([0, 0])
    pairs = neighbor_list(np.array([[0.0, 0, 0], [0, 0, 1]]), 4.0)
    unsorted = replace(pairs, pairs=pairs.pairs[:, ::-1].copy())
    with pytest.raises(StructureError, match=r"sorted by center.*found center 0 at pair 1"):
        model.evaluate_pairs(species, unsorted)
    outside = replace(pairs, pairs=np.array([[0, 1], [1, 7]]))
    with pytest.raises(StructureError, match="neighbors of pairs must be from 0 to 1; found 7 at"):
        model.evaluate_pairs(species, outside)
