"""Weights from the spread of the teachers, and their use in the loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ekd.config import SpreadConfig
from ekd.data import Dataset
from ekd.data.combine import concatenate
from ekd.distillation import Labels, label, perturb
from ekd.distillation.sample_weights import configuration_spread, trust
from ekd.errors import DataError
from ekd.training.losses import rmse_plus_mae
from untrained import ensemble


@pytest.fixture(scope="module")
def labels(small_dataset: Dataset) -> Labels:
    return label(ensemble(2), small_dataset, n_workers=1, progress=False)


@pytest.fixture(scope="module")
def spread(small_dataset: Dataset, labels: Labels) -> np.ndarray:
    """Spread of each configuration, computed one by one."""
    squares = [labels.forces_std[small_dataset.config_index == c] ** 2 for c in range(43)]
    return np.sqrt([np.mean(values) for values in squares])


def test_spread_of_a_configuration(
    small_dataset: Dataset, labels: Labels, spread: np.ndarray
) -> None:
    np.testing.assert_allclose(configuration_spread(small_dataset, labels), spread, rtol=1e-12)


def test_without_settings_all_count_alike(small_dataset: Dataset, labels: Labels) -> None:
    found = trust(small_dataset, labels, SpreadConfig())
    assert found.weights is None
    assert found.kept.all()
    high = trust(small_dataset, labels, SpreadConfig(limit=1e9))
    assert high.weights is None
    assert high.n_above == 0


def test_limit(small_dataset: Dataset, labels: Labels, spread: np.ndarray) -> None:
    limit = float(np.median(spread))
    above = spread > limit
    atoms_above = above[small_dataset.config_index]

    down = trust(small_dataset, labels, SpreadConfig(limit=limit))
    assert down.n_above == above.sum() == 21
    assert down.kept.all()
    assert down.weights is not None
    assert (down.weights.energies == 1).all()  # true energies keep their full weight
    assert (down.weights.forces[~atoms_above] == 1).all()
    expected = (limit / spread[small_dataset.config_index][atoms_above]) ** 2
    np.testing.assert_allclose(down.weights.forces[atoms_above], expected, rtol=1e-12)

    forces = trust(small_dataset, labels, SpreadConfig(limit=limit, above_limit="drop-forces"))
    assert forces.weights is not None
    np.testing.assert_array_equal(forces.weights.forces, ~atoms_above)
    assert (forces.weights.energies == 1).all()
    assert forces.kept.all()

    dropped = trust(small_dataset, labels, SpreadConfig(limit=limit, above_limit="drop"))
    assert dropped.weights is None
    np.testing.assert_array_equal(dropped.kept, ~above)
    with pytest.raises(DataError, match="nothing is left to learn from; raise it"):
        trust(small_dataset, labels, SpreadConfig(limit=1e-9, above_limit="drop"))


def test_scale(small_dataset: Dataset, labels: Labels) -> None:
    found = trust(small_dataset, labels, SpreadConfig(scale=0.2))
    assert found.weights is not None
    expected = 0.2**2 / (0.2**2 + labels.forces_std**2)
    np.testing.assert_allclose(found.weights.forces, expected, rtol=1e-12)
    both = trust(small_dataset, labels, SpreadConfig(scale=0.2, limit=1e-3))
    assert both.weights is not None
    assert (both.weights.forces < found.weights.forces).all()


def test_extra_configurations(small_dataset: Dataset) -> None:
    extra = perturb(small_dataset.subset([0, 1]), 0.1)
    data = concatenate(small_dataset, extra)
    labels = label(ensemble(2), small_dataset, extra=extra, n_workers=1, progress=False)
    found = trust(data, labels, SpreadConfig(), extra_energy_weight=0.3)
    assert found.weights is not None
    assert found.weights.energies.tolist() == [1.0] * 43 + [0.3, 0.3]
    assert (found.weights.forces == 1).all()
    light = trust(data, labels, SpreadConfig(), extra_force_weight=0.2).weights
    assert light is not None
    assert light.forces.tolist() == [1.0] * small_dataset.n_atoms + [0.2] * extra.n_atoms
    limit = 0.5 * float(configuration_spread(data, labels).min())
    down = trust(data, labels, SpreadConfig(limit=limit), extra_energy_weight=0.3)
    assert down.weights is not None
    assert (down.weights.energies[:43] == 1).all()
    assert (down.weights.energies[43:] < 0.3 / 4 + 1e-9).all()
    foreign = trust(data, replace(labels, energies=None), SpreadConfig())
    assert foreign.weights is not None
    assert foreign.weights.energies.tolist() == [1.0] * 43 + [0.0, 0.0]


def test_weighted_loss_is_that_of_repeated_elements() -> None:
    error = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64)
    weights = torch.tensor([1.0, 2.0, 0.0, 3.0], dtype=torch.float64)
    vectors = torch.stack([error, -error, 2 * error], dim=1)
    for errors, given in ((error, weights), (vectors, weights.unsqueeze(1))):
        repeated = errors.repeat_interleave(weights.long(), dim=0)
        found = rmse_plus_mae(errors, given).value
        torch.testing.assert_close(found, rmse_plus_mae(repeated).value)
    found = rmse_plus_mae(vectors, torch.ones(4, 1)).value
    torch.testing.assert_close(found, rmse_plus_mae(vectors).value)
