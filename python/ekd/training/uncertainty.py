"""Train a head for the uncertainty of the forces on a network that is finished.

The head reads features that it does not change, so it is trained after the network and not beside
it. Energies, forces and their training are then, bit by bit, what they are without a head; it
learns from the features that it will read, not from those of a network on its way there; and it
costs a second or two, because features are computed once. It also knows how far the finished
network is from its teachers.
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

_MOST_ATOMS = 500_000  # a few thousand weights learn no more from more atoms
_BATCH = 512  # atoms
_LEARNING_RATE = 1e-2
_LEAST_SHARE = 0.01  # of the mean target: below it, targets count as this
_EMA_DECAY = 0.99
_CLIP = 10.0

_Numbers = TypeVar("_Numbers", NDArray[np.float64], torch.Tensor)


@dataclass(frozen=True, eq=False)
class SpreadLesson:
    """What a head learns from.

    Attributes:
        config: settings.
        spread: ``forces_std`` of the teachers, [n_atoms] eV/Å for all of the data.
        n_teachers: how many there are.
        configs: configurations to learn from. More than the network learns forces from, perhaps:
            it is where teachers disagree that there is something to learn here.
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
    """What the error of a force component must be expected to be, if teachers err on their own.

    Let the truth be as far from the teachers as they are from each other. The mean square error of
    the mean of M teachers is then ``(M + 1) / (M - 1)`` times their population variance: a factor
    of ``M / (M - 1)`` for the mean being theirs, and of ``1 + 1 / M`` for its own scatter. The
    student is not that mean; its distance from it is added as an independent error.

    Args:
        spread: of the teachers' forces, population standard deviation of a component, eV/Å.
        n_teachers: M, at least two.
        distance: of the student's force from the teachers' mean, root mean square of a component.

    Returns:
        eV/Å, of the shape of ``spread``.
    """
    inflation = (n_teachers + 1) / (n_teachers - 1)
    return (inflation * spread**2 + distance**2) ** 0.5


def likelihood_loss(predicted: torch.Tensor, target: torch.Tensor, least: float) -> torch.Tensor:
    """Mean of ``log sigma + s / sigma``, the negative log likelihood of an exponential law.

    Its minimum is at ``sigma = <s>``: over atoms that look alike the mean is right, and an error of
    so many per cent weighs the same for small and large targets. The mean square error of log sigma
    ranks atoms as well, but its minimum is the geometric mean, which is too small a scale. The
    likelihood of a normal law, ``log sigma + s^2 / (2 sigma^2)``, has the mean square right, and a
    few atoms on which teachers disagree wildly can carry it away.

    Args:
        predicted: sigma, [n] eV/Å.
        target: s, what is to be told, [n] eV/Å.
        least: eV/Å, in place of smaller ones; keeps sigma from zero where teachers cannot
            differ, e.g. at a lone atom.
    """
    return (predicted.log() + target.clamp(min=least) / predicted).mean()


def fit_uncertainty(
    network: HIPNN,
    source: BatchSource,
    lesson: SpreadLesson,
    validation: NDArray[np.int64],
    seed: int,
) -> dict[str, Any]:
    """Give a network a head, and train it.

    Args:
        network: finished; its other weights stay as they are.
        source: of structures.
        lesson: what to learn from.
        validation: configurations to measure on.
        seed: of the initial weights and of the batches.

    Returns:
        a record: ``n_steps, loss`` (at the end, over all), ``constant_loss`` (that of the mean
        target for all atoms, which the training begins with), ``rmse, mae`` (of what is to be told,
        eV/Å), ``spearman`` (rank correlation with it; None where one of the two is constant),
        the last three with the prefix ``validation_`` too, and ``seconds``.
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
    with torch.no_grad():  # begin with the right scale for all
        head.readout.weight.mul_(0.1)
        head.readout.bias.fill_(float(np.log(np.expm1(float(target.double().mean())))))
    # Features of unit variance are easier to learn from; the weights are changed back in the end.
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
    """Adam with a falling rate; the average of the weights is kept."""
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
    """Configurations, drawn at random if they have more atoms than are of use."""
    n_atoms = source.n_atoms(configs)
    if n_atoms.sum() <= _MOST_ATOMS:
        return configs
    order = random.permutation(len(configs))
    n = max(1, int(np.searchsorted(np.cumsum(n_atoms[order]), _MOST_ATOMS)))
    return np.sort(configs[order[:n]])


def _features(
    network: HIPNN, source: BatchSource, configs: NDArray[np.int64], lesson: SpreadLesson
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features after all interactions, side by side, and what is to be told of the same atoms."""
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
            if batch.force_weights is not None:  # forces that do not count are no measure
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
