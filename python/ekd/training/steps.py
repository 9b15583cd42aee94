"""The loss of a batch, its gradient, and the errors of an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ekd.config import TrainingConfig
from ekd.models import HIPNN
from ekd.training.batches import Batch, BatchSource
from ekd.training.losses import ErrorTerm, Reduce, hierarchicality, rmse_plus_mae
from ekd.training.predictions import (
    configuration_energies,
    evaluate,
    evaluate_energies,
    forces_from_gradient,
    pair_differences,
)

Record = dict[str, Any]
Report = Callable[[Record], None]


@dataclass(frozen=True)
class Step:
    """Results of a batch, over all processes.

    Attributes:
        loss: loss, scalar.
        gradient: gradient of the loss with respect to the parameters, as one vector.
        energy: error term of the energies.
        force: error term of the force components; None without labels.
    """

    loss: torch.Tensor
    gradient: torch.Tensor
    energy: ErrorTerm
    force: ErrorTerm | None


def evaluate_step(
    network: HIPNN,
    parameters: list[torch.nn.Parameter],
    batch: Batch,
    training: TrainingConfig,
    n_configs: int,
    reduce: Reduce | None = None,
) -> Step:
    """Evaluate the loss of a batch and its gradient.

    Autograd is used only for the network; the derivatives of the loss with respect to its outputs
    are explicit. With several processes, each has a part of the batch. The sums in the loss are
    first reduced over processes, so the explicit derivatives are those of the whole batch, and the
    gradients of the parts add up exactly to the total gradient.

    Args:
        network: the network.
        parameters: its parameters, in the order of the gradient.
        batch: the part of this process, which may be empty.
        training: settings with the weights of the terms.
        n_configs: number of configurations of the whole batch.
        reduce: sums over processes; None: there is only one.
    """
    with_forces = batch.forces is not None and training.force_weight > 0
    empty = batch.n_configs == 0
    pair_vectors = batch.pair_vectors.detach().requires_grad_(with_forces)
    levels: list[torch.Tensor] = []
    if not empty:
        levels = network.forward_terms(batch.species, batch.pairs, pair_vectors, batch.n_atoms)
    energies = batch.energies if empty else configuration_energies(levels, batch)
    energy = rmse_plus_mae(energies.detach() - batch.energies, batch.energy_weights, reduce)
    loss = training.energy_weight * energy.value
    results, slopes = [energies], [training.energy_weight * energy.slope]
    force = None
    if with_forces:
        assert batch.forces is not None
        by_pair = pair_vectors  # an empty batch has no pairs
        if not empty:
            (by_pair,) = torch.autograd.grad(
                energies, pair_vectors, torch.ones_like(energies), create_graph=True
            )
        forces = forces_from_gradient(by_pair.detach(), batch.pairs, batch.n_atoms)
        force = rmse_plus_mae(forces - batch.forces, batch.force_weights, reduce)
        loss = loss + training.force_weight * force.value
        results.append(by_pair)
        slopes.append(training.force_weight * pair_differences(force.slope, batch.pairs))
    if training.hierarchicality_weight > 0:
        term = hierarchicality(levels, n_configs) if levels else energies.new_zeros(())
        value = term.detach().clone()
        loss = loss + training.hierarchicality_weight * (value if reduce is None else reduce(value))
        results.append(term)
        slopes.append(torch.full_like(term, training.hierarchicality_weight))
    if empty:
        gradient = torch.cat([torch.zeros_like(part).reshape(-1) for part in parameters])
    else:
        parts = torch.autograd.grad(results, parameters, slopes)
        gradient = torch.cat([part.reshape(-1) for part in parts])
    if reduce is not None:
        gradient = reduce(gradient)
    if training.l2_weight > 0:
        # Only matrices are regularized, as in hippynn, not biases and sensitivities.
        matrices = torch.cat(
            [(part.detach() * (part.dim() > 1)).reshape(-1) for part in parameters]
        )
        loss = loss + training.l2_weight * matrices.square().sum()
        gradient = gradient + 2 * training.l2_weight * matrices
    return Step(loss.detach(), gradient, energy, force)


@dataclass
class Tally:
    """Losses and errors of the steps of an epoch, summed in the order of the steps.

    Attributes:
        n_steps: number of steps so far.
        sums: sum of the losses, then sums of :attr:`ErrorTerm.sums` of energies and of forces.
    """

    n_steps: int
    sums: list[float]
    _waiting: list[torch.Tensor] = field(default_factory=list)

    @classmethod
    def empty(cls) -> Tally:
        """Make a tally without steps."""
        return cls(0, [0.0] * 7)

    def add(self, step: Step) -> None:
        """Add a step."""
        parts = [step.loss.double().reshape(1), step.energy.sums]
        if step.force is not None:
            parts.append(step.force.sums)
        self._waiting.append(torch.cat(parts))

    def settle(self) -> None:
        """Update the attributes. The sums do not depend on when this is called."""
        if not self._waiting:
            return
        for row in torch.stack(self._waiting).tolist():
            self.n_steps += 1
            self.sums = [a + b for a, b in zip(self.sums, [*row, 0.0, 0.0, 0.0][:7], strict=True)]
        self._waiting.clear()

    def record(self) -> Record:
        """Return the mean loss, and the errors over all steps."""
        self.settle()
        return {
            "loss": self.sums[0] / self.n_steps,
            **_errors("energy", self.sums[1:4]),
            **_errors("force", self.sums[4:7]),
        }


def validate(
    network: HIPNN,
    source: BatchSource,
    configs: NDArray[np.int64],
    training: TrainingConfig,
    reduce: Reduce | None = None,
) -> Record:
    """Compute the errors and the loss on the validation part.

    Args:
        network: network with the averaged weights.
        source: source of the batches.
        configs: configurations of this process, possibly none.
        training: settings with the weights of the terms.
        reduce: sums over processes; None: there is only one.
    """
    expected_forces, force_error = source.forces(configs), None
    if len(configs) == 0:
        energy_error = np.empty(0)
        force_error = None if expected_forces is None else np.empty(0)
    elif expected_forces is None:
        energy_error = evaluate_energies(network, source, configs) - source.energies(configs)
    else:
        predicted = evaluate(network, source, configs)
        energy_error = predicted.energies - source.energies(configs)
        force_error = predicted.forces - expected_forces
    device = network.reference_energies.device
    sums = torch.tensor(
        _sums(energy_error) + _sums(force_error), dtype=torch.float64, device=device
    )
    if reduce is not None:
        sums = reduce(sums)
    rows = sums.tolist()
    record = _errors("validation_energy", rows[:3]) | _errors("validation_force", rows[3:])
    loss = training.energy_weight * (
        record["validation_energy_rmse"] + record["validation_energy_mae"]
    )
    if record["validation_force_rmse"] is not None:
        loss += training.force_weight * (
            record["validation_force_rmse"] + record["validation_force_mae"]
        )
    return {**record, "validation_loss": loss}


def _sums(error: NDArray[np.floating[Any]] | None) -> list[float]:
    if error is None:
        return [0.0] * 3
    error = error.astype(np.float64)
    return [float(error.size), float(np.sum(error**2)), float(np.sum(np.abs(error)))]


def _errors(name: str, sums: list[float]) -> Record:
    total, squares, absolutes = sums
    if total == 0:
        return {f"{name}_rmse": None, f"{name}_mae": None}
    return {f"{name}_rmse": math.sqrt(squares / total), f"{name}_mae": absolutes / total}
