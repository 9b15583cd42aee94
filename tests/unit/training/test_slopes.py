"""Gradients of all energies of a batch, against single configurations and finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ekd.data import Dataset, fit_reference_energies
from ekd.models import HIPNN
from ekd.training.batches import Batch, BatchSource
from ekd.training.predictions import configuration_energies
from ekd.training.slopes import energy_slopes
from tolerances import tolerance
from trainings import MODEL

CONFIGS = np.array([3, 20, 21, 8])


def network_and_source(data: Dataset, **changes: object) -> tuple[HIPNN, BatchSource]:
    references = fit_reference_energies(data)
    torch.manual_seed(0)
    model = MODEL.model_copy(update=changes)
    network = HIPNN(model, sorted(references), list(references.values())).double()
    with torch.no_grad():  # initial biases are zero, which would hide an error
        for part in network.parameters():
            part += 0.05 * torch.randn_like(part)
    return network, BatchSource(data, sorted(references), model.cutoff, torch.float64)


def energies_of(network: HIPNN, batch: Batch) -> torch.Tensor:
    levels = network.forward_terms(batch.species, batch.pairs, batch.pair_vectors, batch.n_atoms)
    return configuration_energies(levels, batch)


def check(found: torch.Tensor, network: HIPNN, batch: Batch) -> None:
    """Compare with automatic differentiation of one energy after the other."""
    for slopes, energy in zip(found, energies_of(network, batch), strict=True):
        parts = torch.autograd.grad(
            energy, list(network.parameters()), retain_graph=True, materialize_grads=True
        )
        one = torch.cat([part.reshape(-1) for part in parts])
        assert one.abs().max() > 0.1
        torch.testing.assert_close(slopes, one, **tolerance("least_squares").bounds)


@pytest.mark.parametrize("l_max", [0, 1, 2])
@pytest.mark.parametrize("n_interactions", [1, 2])
def test_a_batch_is_many_configurations(
    l_max: int, n_interactions: int, small_dataset: Dataset
) -> None:
    network, source = network_and_source(
        small_dataset, l_max=l_max, n_interactions=n_interactions, n_atom_layers=2, zbl=True
    )
    (batch,) = source.batches(CONFIGS, len(CONFIGS))
    assert len(set(torch.bincount(batch.config_index).tolist())) > 1  # some places stay empty
    check(energy_slopes(network, batch), network, batch)


def test_they_are_finite_differences(small_dataset: Dataset) -> None:
    network, source = network_and_source(small_dataset)
    (batch,) = source.batches(CONFIGS, len(CONFIGS))
    found = energy_slopes(network, batch)
    direction = [torch.randn_like(part) for part in network.parameters()]

    def energies(step: float) -> torch.Tensor:
        with torch.no_grad():
            for part, way in zip(network.parameters(), direction, strict=True):
                part += step * way
            moved = energies_of(network, batch)
            for part, way in zip(network.parameters(), direction, strict=True):
                part -= step * way
        return moved

    step = 1e-5
    slopes = found @ torch.cat([way.reshape(-1) for way in direction])
    # Energies of 1000 eV have a rounding error of 1e-13 eV, which is divided by two steps of 1e-5.
    expected = (energies(step) - energies(-step)) / (2 * step)
    np.testing.assert_allclose(slopes, expected, rtol=1e-6)


@pytest.mark.parametrize("n_apart", [1, 2])
def test_atoms_without_neighbors_have_slopes_too(n_apart: int, small_dataset: Dataset) -> None:
    """Their energies depend on biases and on the self term of an atom."""
    data = small_dataset.subset(CONFIGS[:2])
    positions = data.positions.copy()
    positions[: data.offsets[n_apart]] *= 100.0
    network, source = network_and_source(replace(data, positions=positions))
    (batch,) = source.batches(np.arange(2), 2)
    assert set(batch.config_index[batch.pairs[0]].tolist()) == {*range(n_apart, 2)}
    check(energy_slopes(network, batch), network, batch)
