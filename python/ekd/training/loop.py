"""Train one network."""

from __future__ import annotations

import csv
import hashlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset
from ekd.errors import DataError, TrainingError
from ekd.files import atomic_write
from ekd.models import HIPNN
from ekd.training import checkpoint
from ekd.training.batches import Batch, BatchSource, LossWeights
from ekd.training.losses import hierarchicality, rmse_plus_mae
from ekd.training.optimizer import Optimizer, flatten, one_cycle
from ekd.training.predictions import (
    configuration_energies,
    evaluate,
    evaluate_energies,
    forces_from_gradient,
    pair_differences,
)
from ekd.training.threads import one_thread
from ekd.training.trained import TrainedModel

Record = dict[str, Any]


def train(
    data: Dataset,
    *,
    model: HIPNNConfig,
    training: TrainingConfig,
    train_indices: NDArray[np.int64],
    validation_indices: NDArray[np.int64],
    reference_energies: Mapping[int, float],
    seed: int,
    labels: NDArray[np.float64] | None = None,
    weights: LossWeights | None = None,
    directory: Path | None = None,
    resume: bool = False,
    report: Callable[[Record], None] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> TrainedModel:
    """Train one network to the end of its schedule, on one thread.

    The weights kept are the exponential average at the last step. The rate has then come down
    to a thousandth of its peak, so the end is the best point but for noise, and picking an epoch
    by its validation error would mostly pick noise, and make that error a biased one.

    Args:
        data: structures and energies.
        model: architecture.
        training: schedule and loss.
        train_indices: configurations to train on.
        validation_indices: configurations to watch, never trained on.
        reference_energies: eV by atomic number; its keys are the elements of the model.
        seed: of the initial weights and of the order of batches.
        labels: forces to train on, [n_atoms, 3] eV/Å for all of ``data``; None: energies only.
        weights: of energies and forces in the loss, for all of ``data``; None: all one.
        directory: for ``checkpoint.pt``, written after every epoch, and ``history.csv``.
        resume: continue from the checkpoint, where there is one; the result is bitwise that of
            a training without a break. Otherwise start anew.
        report: called with the record of every finished epoch.
        provenance: further entries for the provenance of the model.

    Raises:
        CheckpointError: the checkpoint to resume from is damaged, or belongs to other settings
            or data.
        DataError: labels that do not fit the data, or an empty part of the split.
        StructureError: an element without a reference energy, or a broken structure.
        TrainingError: the loss is not finite.
    """
    if min(len(train_indices), len(validation_indices)) == 0:
        raise DataError(
            f"{len(train_indices)} configurations to train on and {len(validation_indices)} to "
            "validate; both need at least one"
        )
    if labels is not None and labels.shape != data.positions.shape:
        raise DataError(
            f"force labels have shape {labels.shape}, the positions {data.positions.shape}; "
            "make the labels from these data"
        )
    elements = sorted(reference_energies)
    contents: dict[str, Any] = {
        "model_config": model.model_dump(),
        "training_config": training.model_dump(),
        "provenance": {
            "seed": seed,
            "data": {
                "path": data.provenance.path,
                "sha256": data.provenance.sha256,
                "level_of_theory": data.provenance.level_of_theory,
                "fingerprint": data.fingerprint,
            },
            "n_training": len(train_indices),
            "n_validation": len(validation_indices),
            "split_sha256": _digest(train_indices, validation_indices),
            "labels_sha256": None if labels is None else _digest(labels),
            **({} if weights is None else {"weights_sha256": _digest(*vars(weights).values())}),
            **(provenance or {}),
        },
        "elements": elements,
    }
    path = None if directory is None else Path(directory) / "checkpoint.pt"
    stored = None
    if resume and path is not None and path.exists():
        stored = checkpoint.load(path)
        checkpoint.check_same(stored, contents, path)
        if stored["state"] is None:
            return TrainedModel.from_checkpoint(stored)

    dtype = getattr(torch, training.dtype)
    with one_thread():
        network = _new_network(model, reference_energies, elements, seed, dtype)
        averaged = _new_network(model, reference_energies, elements, seed, dtype)
        optimizer = Optimizer(
            flatten(network), flatten(averaged), training.ema_decay, training.gradient_clip
        )
        history: list[Record] = []
        if stored is not None:
            optimizer.restore(stored["state"])
            history = stored["history"]
        source = BatchSource(data, elements, model.cutoff, dtype, labels, weights)
        for epoch in range(len(history), training.epochs):
            start = time.perf_counter()
            order = np.random.default_rng([seed, epoch]).permutation(train_indices)
            record: Record = {"epoch": epoch + 1}
            record |= _run_epoch(network, source, order, optimizer, training)
            record |= _validate(averaged, source, validation_indices)
            record["seconds"] = time.perf_counter() - start
            if not math.isfinite(record["loss"]):
                raise TrainingError(
                    f"the loss is {record['loss']} in epoch {epoch + 1}; lower learning_rate "
                    f"({training.learning_rate}) or gradient_clip ({training.gradient_clip})"
                )
            history.append(record)
            last = epoch + 1 == training.epochs
            contents |= {
                "history": history,
                "model": {name: t.clone() for name, t in averaged.state_dict().items()},
                "state": None if last else optimizer.state(),
            }
            if path is not None:
                checkpoint.save(path, contents)
                _write_history(path.with_name("history.csv"), history)
            if report is not None:
                report(record)
    return TrainedModel.from_checkpoint(contents)


def _new_network(
    config: HIPNNConfig,
    reference_energies: Mapping[int, float],
    elements: list[int],
    seed: int,
    dtype: torch.dtype,
) -> HIPNN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HIPNN(config, elements, [reference_energies[z] for z in elements]).to(dtype)


def _run_epoch(
    network: HIPNN,
    source: BatchSource,
    order: NDArray[np.int64],
    optimizer: Optimizer,
    training: TrainingConfig,
) -> Record:
    n_steps = training.epochs * math.ceil(len(order) / training.batch_size)
    parameters = list(network.parameters())
    losses, energy_errors, force_errors, rate = [], [], [], 0.0
    for batch in source.batches(order, training.batch_size):
        loss, gradient, energy_error, force_error = _loss(network, parameters, batch, training)
        rate = one_cycle(optimizer.step_count, n_steps, training.learning_rate)
        optimizer.step(gradient, rate)
        losses.append(loss)
        counted = slice(None) if batch.energy_weights is None else batch.energy_weights > 0
        energy_errors.append(energy_error[counted])
        if force_error is not None:
            force_errors.append(force_error)
    return {
        "loss": float(torch.stack(losses).mean()),
        **_summary("energy", torch.cat(energy_errors).numpy()),
        **_summary("force", torch.cat(force_errors).numpy() if force_errors else None),
        "learning_rate": rate,
    }


def _loss(
    network: HIPNN, parameters: list[torch.nn.Parameter], batch: Batch, training: TrainingConfig
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Loss, its gradient as one vector, and the errors of energies and forces it is made of."""
    expected_forces = batch.forces if training.force_weight > 0 else None
    pair_vectors = batch.pair_vectors.detach().requires_grad_(expected_forces is not None)
    levels = network.forward_terms(batch.species, batch.pairs, pair_vectors, batch.n_atoms)
    energies = configuration_energies(levels, batch)
    # Autograd sees the network alone. What the loss makes of its results has known slopes.
    energy_error = energies.detach() - batch.energies
    value, slope = rmse_plus_mae(energy_error, batch.energy_weights)
    loss = training.energy_weight * value
    results, slopes = [energies], [training.energy_weight * slope]
    force_error = None
    if expected_forces is not None:
        (by_pair,) = torch.autograd.grad(
            energies, pair_vectors, torch.ones_like(energies), create_graph=True
        )
        forces = forces_from_gradient(by_pair.detach(), batch.pairs, batch.n_atoms)
        force_error = forces - expected_forces
        value, slope = rmse_plus_mae(force_error, batch.force_weights)
        loss = loss + training.force_weight * value
        results.append(by_pair)
        slopes.append(training.force_weight * pair_differences(slope, batch.pairs))
    if training.hierarchicality_weight > 0:
        term = hierarchicality(levels, batch.n_configs)
        loss = loss + training.hierarchicality_weight * term.detach()
        results.append(term)
        slopes.append(torch.full_like(term, training.hierarchicality_weight))
    gradient = torch.autograd.grad(results, parameters, slopes)
    return loss, torch.cat([part.reshape(-1) for part in gradient]), energy_error, force_error


def _validate(averaged: HIPNN, source: BatchSource, configs: NDArray[np.int64]) -> Record:
    expected_forces, force_error = source.forces(configs), None
    if expected_forces is None:
        energies = evaluate_energies(averaged, source, configs)
    else:
        predicted = evaluate(averaged, source, configs)
        energies, force_error = predicted.energies, predicted.forces - expected_forces
    return {
        **_summary("validation_energy", energies - source.energies(configs)),
        **_summary("validation_force", force_error),
    }


def _summary(name: str, error: NDArray[np.floating[Any]] | None) -> Record:
    if error is None:
        return {f"{name}_rmse": None, f"{name}_mae": None}
    error = error.astype(np.float64)
    return {
        f"{name}_rmse": float(np.sqrt(np.mean(error**2))),
        f"{name}_mae": float(np.mean(np.abs(error))),
    }


def _write_history(path: Path, history: list[Record]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
