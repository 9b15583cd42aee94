"""Batches hold exactly the configurations asked for, in order, with their own pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ekd.data import Dataset
from ekd.errors import StructureError
from ekd.neighbor_list import neighbor_list
from ekd.training.batches import BatchSource

CUTOFF = 4.0
ELEMENTS = [8, 1, 7, 6]  # not in rising order, on purpose


@pytest.mark.parametrize("batch_size", [1, 5, 43, 100])
def test_batches_equal_single_configurations(small_dataset: Dataset, batch_size: int) -> None:
    forces = np.random.default_rng(0).normal(size=small_dataset.positions.shape)
    source = BatchSource(small_dataset, ELEMENTS, CUTOFF, torch.float64, forces)
    order = np.random.default_rng(1).permutation(len(small_dataset))
    waiting = list(order)
    for batch in source.batches(order, batch_size):
        assert batch.n_configs == min(batch_size, len(waiting))
        assert batch.pairs.is_contiguous()
        assert (batch.pairs[0].diff() >= 0).all()
        for place in range(batch.n_configs):
            config = waiting.pop(0)
            atoms = torch.nonzero(batch.config_index == place).squeeze(1)
            rows = slice(small_dataset.offsets[config], small_dataset.offsets[config + 1])
            numbers = np.array(ELEMENTS)[batch.species[atoms]]
            np.testing.assert_array_equal(numbers, small_dataset.atomic_numbers[rows])
            np.testing.assert_array_equal(batch.forces[atoms], forces[rows])
            assert batch.energies[place] == small_dataset.energies[config]
            found = neighbor_list(small_dataset.positions[rows], CUTOFF)
            mine = torch.isin(batch.pairs[0], atoms)
            np.testing.assert_array_equal(batch.pairs[:, mine] - atoms[0], found.pairs)
            np.testing.assert_array_equal(batch.pair_vectors[mine], found.pair_vectors)
    assert not waiting


def test_labels_of_configurations(small_dataset: Dataset) -> None:
    forces = np.arange(3.0 * small_dataset.n_atoms).reshape(-1, 3)
    source = BatchSource(small_dataset, ELEMENTS, CUTOFF, torch.float32, forces)
    chosen = np.array([7, 2])
    expected = [forces[small_dataset.config_index == config] for config in chosen]
    np.testing.assert_array_equal(source.forces(chosen), np.concatenate(expected))
    np.testing.assert_array_equal(source.energies(chosen), small_dataset.energies[chosen])


def test_unknown_element(small_dataset: Dataset) -> None:
    with pytest.raises(StructureError, match="the data hold C, N, but the model knows only H, O"):
        BatchSource(small_dataset, [1, 8], CUTOFF, torch.float32)
