"""Batches are determined by seed and epoch; the parts of processes make up the whole."""

from __future__ import annotations

import numpy as np
import pytest

from ekd.config import TrainingConfig
from ekd.training.sampling import Batches, cut_by_atoms, epoch_batches, share

N_ATOMS = np.random.default_rng(0).integers(3, 30, size=101)


def test_batches_by_atoms_are_full() -> None:
    bounds = cut_by_atoms(N_ATOMS, 60)
    sizes = np.add.reduceat(N_ATOMS, bounds[:-1])
    assert (bounds[0], bounds[-1]) == (0, len(N_ATOMS))
    assert sizes.max() <= 60
    following = N_ATOMS[bounds[1:-1]]
    assert (sizes[:-1] + following > 60).all()


def test_large_configuration_is_a_batch_of_its_own() -> None:
    assert cut_by_atoms(np.array([5, 100, 5, 5]), 12).tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize("settings", [{"batch_size": 8}, {"batch_atoms": 100}])
def test_epochs_differ_and_repeat(settings: dict[str, int]) -> None:
    training = TrainingConfig(**settings)
    indices = np.arange(10, 90)

    def batches(epoch: int) -> Batches:
        return epoch_batches(indices, N_ATOMS, training, seed=3, epoch=epoch)

    first = batches(0)
    assert sorted(first.configs) == indices.tolist()
    np.testing.assert_array_equal(batches(0).configs, first.configs)
    np.testing.assert_array_equal(batches(0).bounds, first.bounds)
    assert (batches(1).configs != first.configs).any()


def test_rest_of_an_epoch() -> None:
    whole = Batches(np.arange(10) + 5, np.array([0, 3, 4, 10]))
    rest = whole.after(2)
    assert (rest.configs.tolist(), rest.bounds.tolist()) == ([9, 10, 11, 12, 13, 14], [0, 6])
    assert len(whole.after(3)) == 0


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 40])
def test_shares_make_the_whole(n_ranks: int) -> None:
    training = TrainingConfig(batch_size=16)
    whole = epoch_batches(np.arange(101), N_ATOMS, training, seed=0, epoch=0)
    parts = [share(whole, N_ATOMS, rank, n_ranks) for rank in range(n_ranks)]
    for k in range(len(whole)):
        pieces = [part.configs[part.bounds[k] : part.bounds[k + 1]] for part in parts]
        expected = whole.configs[whole.bounds[k] : whole.bounds[k + 1]]
        np.testing.assert_array_equal(np.concatenate(pieces), expected)
        atoms = np.array([N_ATOMS[piece].sum() for piece in pieces])
        assert (abs(atoms - atoms.mean()) <= N_ATOMS.max()).all()
