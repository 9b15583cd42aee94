"""The gradient of a step is that of the loss, and parts of a batch add up to the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset
from ekd.models import HIPNN
from ekd.training.batches import Batch, BatchSource, LossWeights
from ekd.training.losses import hierarchicality
from ekd.training.predictions import configuration_energies, forces_from_gradient
from ekd.training.steps import Tally, evaluate_step
from tolerances import tolerance

MODEL = HIPNNConfig(
    n_features=5, n_sensitivities=5, n_atom_layers=1, n_interactions=2, cutoff=4.0, soft_max=3.0
)
TRAINING = TrainingConfig(
    energy_weight=0.7, force_weight=1.3, hierarchicality_weight=0.2, l2_weight=0.01
)


@pytest.fixture
def network() -> HIPNN:
    torch.manual_seed(0)
    return HIPNN(MODEL, [1, 6, 7, 8], [-13.0, -1030.0, -1480.0, -2040.0]).double()


@pytest.fixture(params=[False, True], ids=["all-one", "weighted"])
def source(small_dataset: Dataset, request: pytest.FixtureRequest) -> BatchSource:
    generator = np.random.default_rng(0)
    forces = generator.normal(size=small_dataset.positions.shape)
    weights = LossWeights(
        generator.integers(0, 3, len(small_dataset)).astype(float),
        generator.random(small_dataset.n_atoms),
    )
    given = weights if request.param else None
    return BatchSource(small_dataset, [1, 6, 7, 8], 4.0, torch.float64, forces, given)


def by_autograd(network: HIPNN, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss by its formula, and its gradient."""
    vectors = batch.pair_vectors.clone().requires_grad_()
    levels = network.forward_terms(batch.species, batch.pairs, vectors, batch.n_atoms)
    energies = configuration_energies(levels, batch)
    (by_pair,) = torch.autograd.grad(energies.sum(), vectors, create_graph=True)
    forces = forces_from_gradient(by_pair, batch.pairs, batch.n_atoms)

    def term(error: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        share = torch.ones_like(error) if weights is None else weights.expand_as(error)
        share = share / share.sum()
        return (share * error.square()).sum().sqrt() + (share * error.abs()).sum()

    loss = TRAINING.energy_weight * term(energies - batch.energies, batch.energy_weights)
    loss = loss + TRAINING.force_weight * term(forces - batch.forces, batch.force_weights)
    loss = loss + TRAINING.hierarchicality_weight * hierarchicality(levels, batch.n_configs)
    squares = sum(p.square().sum() for p in network.parameters() if p.dim() > 1)
    loss = loss + TRAINING.l2_weight * squares
    gradient = torch.autograd.grad(loss, list(network.parameters()))
    return loss.detach(), torch.cat([part.reshape(-1) for part in gradient])


def test_gradient_is_that_of_the_loss(network: HIPNN, source: BatchSource) -> None:
    (batch,) = source.batches(np.arange(12), 12)
    step = evaluate_step(network, list(network.parameters()), batch, TRAINING, 12)
    loss, gradient = by_autograd(network, batch)
    bounds = tolerance("kernel").bounds
    torch.testing.assert_close(step.loss, loss, **bounds)
    torch.testing.assert_close(step.gradient, gradient, **bounds)


def test_parts_of_a_batch_make_the_whole(network: HIPNN, source: BatchSource) -> None:
    """Emulate three processes, one of which has no data."""
    parameters = list(network.parameters())
    (whole,) = source.batches(np.arange(12), 12)
    expected = evaluate_step(network, parameters, whole, TRAINING, 12)
    parts = list(source.batches(np.arange(12), np.array([0, 7, 7, 12])))
    # Processes request the same sums in the same order. In the first round no sum is known; each
    # round collects the contributions to the next sum.
    answers: list[torch.Tensor] = []
    while True:
        asked: list[list[torch.Tensor]] = []
        for part in parts:
            own: list[torch.Tensor] = []
            asked.append(own)

            def reduce(tensor: torch.Tensor, own: list[torch.Tensor] = own) -> torch.Tensor:
                own.append(tensor.clone())
                return answers[len(own) - 1].clone() if len(own) <= len(answers) else tensor

            step = evaluate_step(network, parameters, part, TRAINING, 12, reduce)
        if len(answers) == len(asked[0]):
            break
        answers.append(torch.stack([questions[len(answers)] for questions in asked]).sum(0))
    assert len(answers) == 4  # energies, forces, hierarchicality, gradient
    bounds = tolerance("kernel").bounds
    torch.testing.assert_close(step.loss, expected.loss, **bounds)
    torch.testing.assert_close(step.gradient, expected.gradient, **bounds)


def test_tally_does_not_depend_on_when_it_is_settled(network: HIPNN, source: BatchSource) -> None:
    one, other = Tally.empty(), Tally.empty()
    for batch in source.batches(np.arange(43), 5):
        step = evaluate_step(network, list(network.parameters()), batch, TRAINING, batch.n_configs)
        one.add(step)
        other.add(step)
        other.settle()
    assert one.record() == other.record()
    assert one.n_steps == 9
