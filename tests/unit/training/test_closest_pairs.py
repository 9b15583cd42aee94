"""Record of the closest pairs in training data, from training to the exported file."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset
from ekd.elements import symbol
from ekd.inference import read_metadata, training_pairs
from ekd.neighbor_list import neighbor_list
from ekd.training import batches
from ekd.training.batches import BatchSource
from ekd.training.loop import train

ELEMENTS = [1, 6, 7, 8, 16]
CUTOFF = 2.6
MODEL = HIPNNConfig(n_features=4, n_sensitivities=4, cutoff=CUTOFF, soft_max=2.0, n_atom_layers=1)


def brute_force(data: Dataset, configs: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Number and shortest distance of the pairs of each two elements of ELEMENTS."""
    n = len(ELEMENTS)
    counts, distances = np.zeros((n, n), dtype=int), np.full((n, n), np.inf)
    for config in set(configs):
        rows = slice(data.offsets[config], data.offsets[config + 1])
        cell = None if data.cells is None else data.cells[config]
        pbc = False if data.pbc is None else data.pbc[config]
        pairs = neighbor_list(data.positions[rows], CUTOFF, cell, pbc)
        numbers = data.atomic_numbers[rows]
        for i, j, vector in zip(*pairs.pairs, pairs.pair_vectors, strict=True):
            a, b = ELEMENTS.index(numbers[i]), ELEMENTS.index(numbers[j])
            counts[a, b] += 1
            distances[a, b] = min(distances[a, b], np.linalg.norm(vector))
    counts[np.diag_indices(n)] //= 2
    return counts, distances


def periodic(data: Dataset) -> Dataset:
    """The same atoms in small cells, with images including their own."""
    cells = np.tile(np.diag([2.2, 9.0, 9.0]), (len(data), 1, 1))
    return replace(data, cells=cells, pbc=np.tile([True, False, False], (len(data), 1)))


@pytest.mark.parametrize("kind", ["molecules", "periodic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("is_kept", [True, False])
def test_against_all_pairs(
    small_dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    dtype: torch.dtype,
    is_kept: bool,
) -> None:
    data = small_dataset.subset(np.arange(12))
    if kind == "periodic":
        data = periodic(data)
    if not is_kept:
        monkeypatch.setattr(batches, "_KEPT_BYTES", 0)
    monkeypatch.setattr(batches, "_PAIRS_PER_GATHER", 200)  # several parts
    source = BatchSource(data, ELEMENTS, CUTOFF, dtype)
    configs = [0, 3, 3, 11, 5, 7, 0, 8]
    counts, distances = source.closest_pairs(np.array(configs))
    expected = brute_force(data, configs)
    np.testing.assert_array_equal(counts, expected[0])
    np.testing.assert_allclose(distances, expected[1], rtol=1e-6)
    assert counts[4, 4] == 0
    assert np.isinf(distances[4, 4])


def test_from_training_to_the_file(small_dataset: Dataset, tmp_path: Path) -> None:
    """Validation structures are not included; no training structure is too close."""
    data = small_dataset.subset(np.arange(12))
    trained = list(range(8))
    elements = sorted(set(data.elements))
    student = train(
        data,
        model=MODEL,
        training=TrainingConfig(epochs=1),
        train_indices=np.array(trained),
        validation_indices=np.arange(8, 12),
        reference_energies=dict.fromkeys(elements, -100.0),
        seed=0,
        directory=tmp_path,
    )
    counts, distances = brute_force(data, trained)
    path = tmp_path / "student.pt"
    student.export(path)
    found = training_pairs(read_metadata(path))
    assert len(found) == len(elements) * (len(elements) + 1) // 2
    for pair in found:
        a, b = (ELEMENTS.index({symbol(z): z for z in elements}[name]) for name in pair.elements)
        assert pair.n_pairs == counts[a, b]
        if pair.n_pairs:
            assert distances[a, b] - 1.2e-4 < pair.distance < distances[a, b]
        else:
            assert pair.distance == math.inf
    # A training can be resumed from a checkpoint without closest pairs.
    from ekd.training import checkpoint

    contents = checkpoint.load(tmp_path / "checkpoint.pt")
    contents["provenance"].pop("closest_pairs")
    checkpoint.check_same(contents, {**contents, "provenance": student.provenance}, "")
