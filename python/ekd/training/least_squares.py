"""One epoch of least squares: derivatives of all energies, one step, new reference energies."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from ekd.data.reference_energies import fit_energies
from ekd.models import HIPNN
from ekd.training.batches import BatchSource
from ekd.training.levenberg_marquardt import LevenbergMarquardt
from ekd.training.predictions import evaluate_energies, large_batches
from ekd.training.slopes import energy_slopes
from ekd.training.steps import Record, Report

REPORT_SECONDS = 0.5
"""Time between reports within an epoch."""

_PAIRS_PER_SLOPES = 5000  # per batch; least squares needs more memory per pair


def solve_epoch(
    networks: tuple[HIPNN, HIPNN],
    optimizer: LevenbergMarquardt,
    source: BatchSource,
    train_indices: NDArray[np.int64],
    epoch: int,
    report_batch: Report | None,
) -> Record:
    """Run one epoch of least squares: one step for all configurations.

    Args:
        networks: the trained network, and the one with the averaged weights; both get new
            reference energies.
        optimizer: optimizer of the weights of both networks.
        source: structures and energies.
        train_indices: configurations to train on.
        epoch: number of the epoch, from one.
        report_batch: progress callback, see :func:`ekd.training.loop.train`.

    Returns:
        The record of the epoch, without validation errors.
    """
    network, _ = networks
    start = reported = time.monotonic()
    n = len(train_indices)
    weights = optimizer.weights
    slopes, done = weights.new_empty(n, len(weights)), 0
    for batch in large_batches(network, source, train_indices, _PAIRS_PER_SLOPES):
        slopes[done : done + batch.n_configs] = energy_slopes(network, batch)
        done += batch.n_configs
        now = time.monotonic()
        if now - reported > REPORT_SECONDS and report_batch:
            reported = now
            record = {"epoch": epoch, "batch": done, "n_batches": n}
            report_batch(record | {"configs_per_second": done / (now - start)})
    expected = torch.from_numpy(source.energies(train_indices)).to(weights.device)
    compositions = source.compositions(train_indices)
    if source.has_reference_energies:  # they are not changed
        compositions = np.zeros_like(compositions)
    counts = torch.from_numpy(compositions).to(weights)

    def residuals() -> torch.Tensor:
        found = evaluate_energies(network, source, train_indices)
        return expected - torch.from_numpy(found).to(weights.device)

    optimizer.step(slopes, residuals(), residuals, counts)
    left = residuals()
    elements = network.elements
    of_element = fit_energies(elements, compositions, left.cpu().numpy())
    shift = left.new_tensor([of_element.get(z, 0.0) for z in elements])
    for each in networks:
        each.reference_energies += shift
    left -= counts @ shift
    return {
        "epoch": epoch,
        "loss": float(left.square().mean()),
        "energy_rmse": float(left.square().mean().sqrt()),
        "energy_mae": float(left.abs().mean()),
        "force_rmse": None,
        "force_mae": None,
        "learning_rate": None,
        "seconds": time.monotonic() - start,
    }
