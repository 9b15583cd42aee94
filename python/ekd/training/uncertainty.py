"""Training of an uncertainty head for the forces on a finished network.

The head uses the features of the network but does not change them, so it is trained after the
network. Energies, forces and their training are therefore bitwise the same as without a head, the
head is trained on the final features, and its training takes only a second or two, because the
features are computed once. The distance of the finished network from its teachers is also known.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from ekd.config import UncertaintyConfig
from ekd.data import mapped
from ekd.models import HIPNN, UncertaintyHead
from ekd.training.batches import BatchSource
from ekd.training.optimizer import Optimizer, flatten
from ekd.training.predictions import forces_from_gradient, large_batches

_MOST_ATOMS = 500_000  # more atoms do not improve a head with a few thousand weights
_BATCH = 512  # atoms
_LEARNING_RATE = 1e-2
_LEAST_SHARE = 0.01  # lower bound of the targets, relative to their mean
_EMA_DECAY = 0.99
_CLIP = 10.0

_Numbers = TypeVar("_Numbers", NDArray[np.float64], torch.Tensor)


@dataclass(frozen=True, eq=False)
class SpreadLesson:
    """Training data of an uncertainty head.

    Attributes:
        config: settings.
        spread: ``forces_std`` of the teachers for all of the data, [n_atoms] eV/Å.
        n_teachers: number of teachers.
        configs: configurations to train on. They may include configurations whose forces are not
            used to train the network because the teachers disagree.
    """

    config: UncertaintyConfig
    spread: NDArray[np.float64]
    n_teachers: int
    configs: NDArray[np.int64]

    def __getstate__(self) -> dict[str, Any]:
        return mapped.detach(vars(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(mapped.attach(state))


def expected_error(spread: _Numbers, n_teachers: int, distance: _Numbers) -> _Numbers:
    """Compute the expected error of a force component, if errors of teachers are independent.

    Assume that the truth differs from the teachers as much as they differ from each other. The mean
    square error of the mean of M teachers is then ``(M + 1) / (M - 1)`` times their population
    variance: a factor of ``M / (M - 1)`` corrects for the use of their own mean, and ``1 + 1 / M``
    accounts for the variance of the mean. The distance of the student from this mean is added as an
    independent error.

    Args:
        spread: population standard deviation of the teachers' force components, eV/Å.
        n_teachers: number of teachers M, at least two.
        distance: root mean square distance per component of the student's force from the teachers'
            mean, eV/Å.

    Returns:
        Expected error, with the shape of ``spread``, eV/Å.
    """
    inflation = (n_teachers + 1) / (n_teachers - 1)
    return (inflation * spread**2 + distance**2) ** 0.5


def likelihood_loss(predicted: torch.Tensor, target: torch.Tensor, least: float) -> torch.Tensor:
    """Compute the mean of ``log sigma + s / sigma``, a negative log likelihood.

    This is the likelihood of an exponential distribution. For similar atoms its minimum is at
    ``sigma = <s>``, and equal relative errors have the same weight for small and large targets. The
    mean square error of log sigma ranks atoms equally well, but its minimum is the geometric mean,
    which is too small. The likelihood of a normal distribution, ``log sigma + s^2 / (2 sigma^2)``,
    reproduces the mean square, but is sensitive to a few atoms with very large disagreement.

    Args:
        predicted: predicted sigma, [n] eV/Å.
        target: target s, [n] eV/Å.
        least: lower bound of the target, eV/Å; keeps sigma above zero where teachers cannot
            differ, e.g. for an isolated atom.
    """
    return (predicted.log() + target.clamp(min=least) / predicted).mean()


def fit_uncertainty(
    network: HIPNN,
    source: BatchSource,
    lesson: SpreadLesson,
    validation: NDArray[np.int64],
    seed: int,
) -> dict[str, Any]:
    """Add a head to a network, and train it.

    Args:
        network: finished network, whose other weights do not change.
        source: source of structures.
        lesson: training data.
        validation: configurations for validation.
        seed: seed of the initial weights and of the batches.

    Returns:
        A record: ``n_steps, loss`` (final, over all atoms), ``constant_loss`` (loss of the mean
        target for all atoms, at which the training starts), ``rmse, mae`` (relative to the targets,
        eV/Å), ``spearman`` (rank correlation with the targets; None if either is constant), the
        last three also with the prefix ``validation_``, and ``seconds``.
    """
    start = time.perf_counter()
    random = np.random.default_rng(seed)
    chosen = _some(lesson.configs, source, random)
    features, target = _features(network, source, chosen, lesson)
    least = _LEAST_SHARE * float(target.double().mean())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.set_uncertainty_head(
            UncertaintyHead(network.feature_widths[1:], lesson.config.n_hidden)
        )
    head = network.uncertainty_head
    assert head is not None
    head.to(features)
    with torch.no_grad():  # start with the mean target for all atoms
        head.readout.weight.mul_(0.1)
        head.readout.bias.fill_(float(np.log(np.expm1(float(target.double().mean())))))
    # Train on features of unit variance, and afterwards convert the weights to original features.
    scale, offset = features.std(0).clamp(min=1e-6), features.mean(0)
    _train(head, (features - offset) / scale, target, least, lesson.config.n_steps, random)
    with torch.no_grad():
        head.first.weight.div_(scale)
        head.first.bias.sub_(head.first.weight @ offset)
    record: dict[str, Any] = {"n_steps": lesson.config.n_steps}
    with torch.no_grad():
        predicted = head([features])
        record["loss"] = float(likelihood_loss(predicted, target.double(), least))
        constant = torch.full_like(predicted, float(target.double().mean()))
        record["constant_loss"] = float(likelihood_loss(constant, target.double(), least))
        record |= _errors("", predicted, target)
        held_out, truth = _features(network, source, validation, lesson)
        record |= _errors("validation_", head([held_out]), truth)
    return record | {"seconds": time.perf_counter() - start}


def _train(
    head: UncertaintyHead,
    features: torch.Tensor,
    target: torch.Tensor,
    least: float,
    n_steps: int,
    random: np.random.Generator,
) -> None:
    """Train with Adam and a decreasing learning rate; keep the average of the weights."""
    parameters = list(head.parameters())
    weights = flatten(head)
    optimizer = Optimizer(weights, weights.clone(), _EMA_DECAY, _CLIP)
    for step in range(n_steps):
        rows = torch.from_numpy(random.integers(len(features), size=_BATCH)).to(features.device)
        loss = likelihood_loss(head([features[rows]]).to(target.dtype), target[rows], least)
        gradient = torch.autograd.grad(loss, parameters)
        rate = _LEARNING_RATE * (0.5 * (1 + np.cos(np.pi * step / n_steps)) + 1e-3)
        optimizer.step(torch.cat([part.reshape(-1) for part in gradient]), float(rate))
    with torch.no_grad():
        weights.copy_(optimizer.average)


def _some(
    configs: NDArray[np.int64], source: BatchSource, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return the configurations, or a random subset if they have too many atoms."""
    n_atoms = source.n_atoms(configs)
    if n_atoms.sum() <= _MOST_ATOMS:
        return configs
    order = random.permutation(len(configs))
    n = max(1, int(np.searchsorted(np.cumsum(n_atoms[order]), _MOST_ATOMS)))
    return np.sort(configs[order[:n]])


def _features(
    network: HIPNN, source: BatchSource, configs: NDArray[np.int64], lesson: SpreadLesson
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the joined features after all interactions, and the targets of the same atoms."""
    rows, distances = [], []
    for batch in large_batches(network, source, configs):
        with_forces = lesson.config.target == "error" and batch.forces is not None
        vectors = batch.pair_vectors.detach().requires_grad_(with_forces)
        with torch.set_grad_enabled(with_forces):
            levels, features = network.forward_levels(
                batch.species, batch.pairs, vectors, batch.n_atoms
            )
            energy = torch.stack(levels).sum()
        rows.append(torch.cat(features, dim=1).detach())
        if with_forces:
            assert batch.forces is not None
            (gradient,) = torch.autograd.grad(energy, vectors)
            forces = forces_from_gradient(gradient, batch.pairs, batch.n_atoms)
            distance = (forces - batch.forces).square().mean(1).sqrt()
            if batch.force_weights is not None:  # ignore forces that are not trained on
                distance = distance * (batch.force_weights.squeeze(1) > 0)
            distances.append(distance)
    found = torch.cat(rows)
    target = torch.from_numpy(np.asarray(lesson.spread[source.atoms(configs)])).to(found)
    if distances:
        target = expected_error(target, lesson.n_teachers, torch.cat(distances))
    return found, target


def _errors(prefix: str, predicted: torch.Tensor, target: torch.Tensor) -> Mapping[str, Any]:
    found, truth = predicted.double().cpu().numpy(), target.double().cpu().numpy()
    varies = len(found) > 1 and np.ptp(found) > 0 and np.ptp(truth) > 0
    return {
        f"{prefix}rmse": float(np.sqrt(np.mean((found - truth) ** 2))),
        f"{prefix}mae": float(np.mean(np.abs(found - truth))),
        f"{prefix}spearman": float(stats.spearmanr(found, truth).statistic) if varies else None,
    }
