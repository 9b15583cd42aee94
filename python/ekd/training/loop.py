"""Train one network."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.config import LEAST_SQUARES, HIPNNConfig, TrainingConfig
from ekd.data import Dataset
from ekd.data.mapped import row_blocks
from ekd.elements import symbol
from ekd.errors import ConfigError, DataError
from ekd.files import remove_leftovers
from ekd.locks import locked_folder
from ekd.training import checkpoint
from ekd.training.batches import BatchSource, LossWeights
from ekd.training.parallel import ALONE, Group
from ekd.training.start import check_start
from ekd.training.steps import Report
from ekd.training.tensorboard import TensorBoardLog
from ekd.training.torch_threads import one_thread
from ekd.training.trained import TrainedModel
from ekd.training.training_run import TrainingRun
from ekd.training.uncertainty import SpreadLesson

_MOST_CONFIGS = 10_000  # for least squares: the time of a step is quadratic, then cubic in them


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
    spread: SpreadLesson | None = None,
    start: TrainedModel | None = None,
    directory: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
    report_batch: Report | None = None,
    provenance: Mapping[str, Any] | None = None,
    group: Group = ALONE,
    tensorboard: bool = False,
) -> TrainedModel:
    """Train one network to the end of its schedule, with one thread per process.

    The result is the exponential moving average of the weights at the last step. With a decreasing
    learning rate, the last epoch is the best except for noise; selecting an epoch by its validation
    error would mostly select noise and bias that error. ``keep = "best"`` does this on request.

    Args:
        data: structures and energies.
        model: architecture.
        training: schedule and loss.
        train_indices: configurations to train on; repeated ones are used repeatedly.
        validation_indices: configurations for validation only.
        reference_energies: reference energies by atomic number, eV; the keys are the elements of
            the model. Least squares optimizes them, except those of ``data.reference_energies``.
        seed: seed of the initial weights and of the order of batches.
        labels: forces to train on, [n_atoms, 3] eV/Å for all of ``data``; None: energies only.
        weights: loss weights of energies and forces, for all of ``data``; None: all one.
        spread: training data of the uncertainty head, which is trained after the network, see
            :mod:`ekd.training.uncertainty`; None: no head.
        start: a finished network with the same architecture, whose weights the training starts
            from; None: random weights. Its reference energies are not used.
        directory: folder for ``checkpoint.pt``, written after each epoch and during long ones, and
            ``history.csv``.
        resume: continue from the checkpoint, if any; the result is bitwise identical to that of an
            uninterrupted training. Otherwise start over.
        report: callback for the record of each finished epoch.
        report_batch: callback for the progress within an epoch, with ``epoch, batch, n_batches,
            configs_per_second``.
        provenance: further entries for the provenance of the model.
        group: processes that share the training; each calls this with the same arguments and gets
            the same result. Only rank 0 writes and reports.
        tensorboard: also write logs for TensorBoard to ``directory``.

    Raises:
        CheckpointError: the checkpoint to resume from is damaged, or belongs to other settings or
            data.
        ConfigError: TensorBoard is not installed, ``start`` has another architecture, or
            Levenberg-Marquardt is used with forces, too many configurations or several processes.
        DataError: the labels do not match the data, or a part of the split is empty.
        EKDError: another process is training in the directory, or it cannot be written to.
        StructureError: an element has no reference energy, or a structure is invalid.
        TrainingError: the training diverged, see :mod:`ekd.training.divergence`, or there is no
            GPU to train on.
    """
    _check(data, training, train_indices, validation_indices, labels, group)
    elements = sorted(reference_energies)
    contents = _contents(
        data,
        model,
        training,
        train_indices,
        validation_indices,
        elements,
        seed,
        labels,
        weights,
        spread,
        start,
        provenance,
    )
    path = None if directory is None else Path(directory) / "checkpoint.pt"
    with contextlib.ExitStack() as stack:
        stored = None if path is None else _begin(stack, path, contents, resume, group)
        if stored is not None and stored["state"] is None:
            return TrainedModel.from_checkpoint(stored)
        stack.enter_context(one_thread())
        run = TrainingRun(contents, training, reference_energies, seed, group, start)
        run.path, run.report, run.report_batch = path, report, report_batch
        if stored is not None:
            run.restore(stored)
        source = BatchSource(data, elements, model.cutoff, run.dtype, labels, weights)
        contents["provenance"]["closest_pairs"] = _closest_pairs(source, elements, train_indices)
        if tensorboard and directory is not None and group.rank == 0:
            log = TensorBoardLog(Path(directory), n_done=len(run.history))
            run.log = stack.enter_context(contextlib.closing(log))
        run.complete(source, train_indices, validation_indices, data.n_atoms_per_config)
        if spread is not None:
            run.fit_uncertainty(source, spread, validation_indices)
    return TrainedModel.from_checkpoint(run.contents)


def _contents(
    data: Dataset,
    model: HIPNNConfig,
    training: TrainingConfig,
    train_indices: NDArray[np.int64],
    validation_indices: NDArray[np.int64],
    elements: list[int],
    seed: int,
    labels: NDArray[np.float64] | None,
    weights: LossWeights | None,
    spread: SpreadLesson | None,
    start: TrainedModel | None,
    provenance: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Settings and provenance for the checkpoint; arguments and errors as for :func:`train`."""
    if start is not None:
        check_start(start, model, elements)
    return {
        "model_config": model.model_dump(),
        "training_config": training.model_dump(),
        "uncertainty_config": None if spread is None else spread.config.model_dump(),
        "uncertainty": None,
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
            **({} if spread is None else {"spread_sha256": _digest(spread.spread, spread.configs)}),
            **({} if start is None else {"start": start.sha256}),
            **(provenance or {}),
        },
        "elements": elements,
    }


def _begin(
    stack: contextlib.ExitStack, path: Path, contents: dict[str, Any], resume: bool, group: Group
) -> dict[str, Any] | None:
    """Lock the folder and read the checkpoint to resume from, if there is one.

    For a finished training there is no lock, because nothing is written.
    """
    stored = None
    if group.rank == 0:
        stored = _stored(path, contents) if resume else None
        if stored is None or stored["state"] is not None:
            stack.enter_context(locked_folder(path.parent))
            stored = _stored(path, contents) if resume else None
        remove_leftovers(path)
        remove_leftovers(path.with_name("history.csv"))
    return group.from_first(stored) if resume else stored


def _stored(path: Path, contents: dict[str, Any]) -> dict[str, Any] | None:
    """Read the checkpoint of this training, if there is one.

    Raises:
        CheckpointError: it is damaged, or belongs to another training.
    """
    if not path.exists():
        return None
    stored = checkpoint.load(path)
    checkpoint.check_same(stored, contents, path)
    return stored


def _check(
    data: Dataset,
    training: TrainingConfig,
    train_indices: NDArray[np.int64],
    validation_indices: NDArray[np.int64],
    labels: NDArray[np.float64] | None,
    group: Group,
) -> None:
    if min(len(train_indices), len(validation_indices)) == 0:
        raise DataError(
            f"{len(train_indices)} configurations to train on and {len(validation_indices)} to "
            "validate; both need at least one",
            code="EKD-DATA-052",
        )
    if labels is not None and labels.shape != data.positions.shape:
        raise DataError(
            f"force labels have shape {labels.shape}, the positions {data.positions.shape}; "
            "make the labels from these data",
            code="EKD-DATA-059",
        )
    if training.optimizer == LEAST_SQUARES:
        _check_least_squares(len(train_indices), labels, group)


def _closest_pairs(
    source: BatchSource, elements: Sequence[int], configs: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Return the number of pairs and the shortest distance of each pair of elements.

    Exported files contain these values. Distances are rounded down, so that no training structure
    has a shorter one: pair vectors may be in single precision.
    """
    counts, distances = source.closest_pairs(configs)
    found = []
    for a, b in itertools.combinations_with_replacement(range(len(elements)), 2):
        n_pairs = int(counts[a, b])
        distance = math.floor(1e4 * (distances[a, b] - 1e-5)) / 1e4 if n_pairs else None
        found.append(
            {
                "elements": [symbol(elements[a]), symbol(elements[b])],
                "n_pairs": n_pairs,
                "distance": distance,
            }
        )
    return found


def _check_least_squares(n_configs: int, labels: NDArray[np.float64] | None, group: Group) -> None:
    found = f"optimizer = '{LEAST_SQUARES}'"
    if labels is not None:
        raise ConfigError(
            f"{found} supports only energies, not forces; use 'soap'",
            code="EKD-CONFIG-036",
        )
    if n_configs > _MOST_CONFIGS:
        raise ConfigError(
            f"{found} solves for all {n_configs} configurations of the training part at once, and "
            f"supports at most {_MOST_CONFIGS}; use 'soap'",
            code="EKD-CONFIG-037",
        )
    if group.n_ranks > 1:
        raise ConfigError(
            f"{found} trains in one process, found {group.n_ranks}; start it without torchrun, "
            "train members in parallel with n_workers, or use 'soap'",
            code="EKD-CONFIG-038",
        )


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        for part in row_blocks(array):
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
