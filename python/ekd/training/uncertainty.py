"""Train a head for the uncertainty of the forces on a network that is finished.

The head reads features that it does not change, so it is trained after the network and not beside
it. Energies, forces and their training are then, bit by bit, what they are without a head; it
learns from the features that it will read, not from those of a network on its way there; and it
costs a second or two, because features are computed once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from ekd.config import UncertaintyConfig
from ekd.data import mapped
from ekd.models import HIPNN, UncertaintyHead
from ekd.training.batches import BatchSource
from ekd.training.optimizer import Optimizer, flatten
from ekd.training.predictions import large_batches

_MOST_ATOMS = 500_000  # a few thousand weights learn no more from more atoms
_BATCH = 512  # atoms
_LEARNING_RATE = 1e-2
_LEAST_SHARE = 0.01  # of the mean spread: below it, spreads count as this
_EMA_DECAY = 0.99
_CLIP = 10.0


@dataclass(frozen=True, eq=False)
class SpreadLesson:
    """What a head learns from.

    Attributes:
        config: settings.
        spread: ``forces_std`` of the teachers, [n_atoms] eV/Å for all of the data.
        configs: configurations to learn from. More than the network learns forces from, perhaps:
            it is where teachers disagree that there is something to learn here.
    """

    config: UncertaintyConfig
    spread: NDArray[np.float64]
    configs: NDArray[np.int64]

    def __getstate__(self) -> dict[str, Any]:
        return mapped.detach(vars(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(mapped.attach(state))


def likelihood_loss(predicted: torch.Tensor, spread: torch.Tensor, least: float) -> torch.Tensor:
    """Mean of ``log sigma + s / sigma``, the negative log likelihood of an exponential law.

    Its minimum is at ``sigma = <s>``: over atoms that look alike the mean is right, and an error of
    so many per cent weighs the same for small and large spreads. The mean square error of log sigma
    ranks atoms as well, but its minimum is the geometric mean, which is too small a scale. The
    likelihood of a normal law, ``log sigma + s^2 / (2 sigma^2)``, has the mean square right, and a
    few atoms on which teachers disagree wildly can carry it away.

    Args:
        predicted: sigma, [n] eV/Å.
        spread: s, [n] eV/Å.
        least: eV/Å, in place of smaller spreads; keeps sigma from zero where teachers cannot
            differ, e.g. at a lone atom.
    """
    return (predicted.log() + spread.clamp(min=least) / predicted).mean()


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
        spread for all atoms, which the training begins with), ``rmse, mae`` (of the spread, eV/Å),
        ``spearman`` (rank correlation of predicted and true spread; None where one is constant),
        the last three with the prefix ``validation_`` too, and ``seconds``.
    """
    start = time.perf_counter()
    random = np.random.default_rng(seed)
    chosen = _some(lesson.configs, source, random)
    features, spread = _features(network, source, chosen, lesson.spread)
    least = _LEAST_SHARE * float(spread.double().mean())
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
        head.readout.bias.fill_(float(np.log(np.expm1(float(spread.double().mean())))))
    # Features of unit variance are easier to learn from; the weights are changed back in the end.
    scale, offset = features.std(0).clamp(min=1e-6), features.mean(0)
    _train(head, (features - offset) / scale, spread, least, lesson.config.n_steps, random)
    with torch.no_grad():
        head.first.weight.div_(scale)
        head.first.bias.sub_(head.first.weight @ offset)
    record: dict[str, Any] = {"n_steps": lesson.config.n_steps}
    with torch.no_grad():
        predicted = head([features])
        record["loss"] = float(likelihood_loss(predicted, spread.double(), least))
        constant = torch.full_like(predicted, float(spread.double().mean()))
        record["constant_loss"] = float(likelihood_loss(constant, spread.double(), least))
        record |= _errors("", predicted, spread)
        held_out, truth = _features(network, source, validation, lesson.spread)
        record |= _errors("validation_", head([held_out]), truth)
    return record | {"seconds": time.perf_counter() - start}


def _train(
    head: UncertaintyHead,
    features: torch.Tensor,
    spread: torch.Tensor,
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
        loss = likelihood_loss(head([features[rows]]).to(spread.dtype), spread[rows], least)
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


@torch.no_grad()
def _features(
    network: HIPNN, source: BatchSource, configs: NDArray[np.int64], spread: NDArray[np.float64]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features after all interactions, side by side, and spreads of the same atoms."""
    rows = []
    for batch in large_batches(network, source, configs):
        _, levels = network.forward_levels(
            batch.species, batch.pairs, batch.pair_vectors, batch.n_atoms
        )
        rows.append(torch.cat(levels, dim=1))
    features = torch.cat(rows)
    return features, torch.from_numpy(np.asarray(spread[source.atoms(configs)])).to(features)


def _errors(prefix: str, predicted: torch.Tensor, spread: torch.Tensor) -> Mapping[str, Any]:
    found, truth = predicted.double().cpu().numpy(), spread.double().cpu().numpy()
    varies = len(found) > 1 and np.ptp(found) > 0 and np.ptp(truth) > 0
    return {
        f"{prefix}rmse": float(np.sqrt(np.mean((found - truth) ** 2))),
        f"{prefix}mae": float(np.mean(np.abs(found - truth))),
        f"{prefix}spearman": float(stats.spearmanr(found, truth).statistic) if varies else None,
    }
