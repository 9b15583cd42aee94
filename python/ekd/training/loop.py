"""Train one network."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ekd.config import LEAST_SQUARES, HIPNNConfig, TrainingConfig
from ekd.data import Dataset
from ekd.data.mapped import row_blocks
from ekd.data.reference_energies import fit_energies
from ekd.elements import symbol
from ekd.errors import ConfigError, DataError, TrainingError
from ekd.files import atomic_write, remove_leftovers
from ekd.models import HIPNN
from ekd.training import checkpoint, divergence
from ekd.training.batches import BatchSource, LossWeights
from ekd.training.levenberg_marquardt import LevenbergMarquardt, step_scales
from ekd.training.optimizer import Optimizer, flatten
from ekd.training.parallel import ALONE, Group
from ekd.training.predictions import evaluate_energies, large_batches
from ekd.training.sampling import epoch_batches, share
from ekd.training.schedules import best_epoch, is_over, learning_rates
from ekd.training.slopes import energy_slopes
from ekd.training.start import check_start, load_start
from ekd.training.steps import Record, Tally, evaluate_step, validate
from ekd.training.tensorboard import TensorBoardLog
from ekd.training.threads import one_thread
from ekd.training.trained import TrainedModel, network_of
from ekd.training.uncertainty import SpreadLesson, fit_uncertainty

Report = Callable[[Record], None]

_REPORT_SECONDS = 0.5  # between reports within an epoch
_PAIRS_PER_SLOPES = 5000  # of a batch of least squares, which keeps more of a pair than others do
_FAR_FROM_CONSTANT = 10.0  # losses of the uncertainty: as if it were wrong by a factor of exp(10)
_MOST_CONFIGS = 10_000  # of least squares: the time of a step is quadratic in them, then cubic


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
    """Train one network to the end of its schedule, on one thread of each process.

    The weights kept are the exponential average at the last step. With a falling rate the end is
    the best point but for noise, and picking an epoch by its validation error would mostly pick
    noise, and make that error a biased one; ``keep = "best"`` does so for those who want it.

    Args:
        data: structures and energies.
        model: architecture.
        training: schedule and loss.
        train_indices: configurations to train on; one that is named twice counts twice.
        validation_indices: configurations to watch, never trained on.
        reference_energies: eV by atomic number; its keys are the elements of the model. Least
            squares solve for better ones, unless they are those of ``data.reference_energies``.
        seed: of the initial weights and of the order of batches.
        labels: forces to train on, [n_atoms, 3] eV/Å for all of ``data``; None: energies only.
        weights: of energies and forces in the loss, for all of ``data``; None: all one.
        spread: what a head for the uncertainty of the forces learns from, after the network is
            finished, see :mod:`ekd.training.uncertainty`; None: no head.
        start: a finished network of the same architecture, whose weights the training starts from;
            None: random weights. Reference energies are those of the arguments all the same.
        directory: for ``checkpoint.pt``, written after every epoch and within long ones, and
            ``history.csv``.
        resume: continue from the checkpoint, where there is one; the result is bitwise that of
            a training without a break. Otherwise start anew.
        report: called with the record of every finished epoch.
        report_batch: called now and then within an epoch, with ``epoch, batch, n_batches,
            configs_per_second``.
        provenance: further entries for the provenance of the model.
        group: processes that share the training; each calls this with the same arguments, and gets
            the same result. Only rank 0 writes and reports.
        tensorboard: write logs for TensorBoard into ``directory`` too.

    Raises:
        CheckpointError: the checkpoint to resume from is damaged, or belongs to other settings
            or data.
        ConfigError: TensorBoard is not installed; or ``start`` has another architecture; or
            Levenberg-Marquardt is to learn from forces, from more configurations than it can, or
            in several processes.
        DataError: labels that do not fit the data, or an empty part of the split.
        StructureError: an element without a reference energy, or a broken structure.
        TrainingError: the training diverged, see :mod:`ekd.training.divergence`, or there is no
            GPU to train on.
    """
    _check(data, train_indices, validation_indices, labels)
    if training.optimizer == LEAST_SQUARES:
        _check_least_squares(len(train_indices), labels, group)
    contents: dict[str, Any] = {
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
        "elements": sorted(reference_energies),
    }
    if start is not None:
        check_start(start, model, contents["elements"])
    path = None if directory is None else Path(directory) / "checkpoint.pt"
    if path is not None and group.rank == 0:
        remove_leftovers(path)
        remove_leftovers(path.with_name("history.csv"))
    stored = None
    if resume and path is not None:
        if group.rank == 0 and path.exists():
            stored = checkpoint.load(path)
            checkpoint.check_same(stored, contents, path)
        stored = group.from_first(stored)
    if stored is not None and stored["state"] is None:
        return TrainedModel.from_checkpoint(stored)
    with one_thread():
        run = _Run(contents, training, reference_energies, seed, group, start)
        if stored is not None:
            run.restore(stored)
        source = BatchSource(data, contents["elements"], model.cutoff, run.dtype, labels, weights)
        contents["provenance"]["closest_pairs"] = _closest_pairs(
            source, contents["elements"], train_indices
        )
        run.path, run.report, run.report_batch = path, report, report_batch
        with contextlib.ExitStack() as stack:
            if tensorboard and directory is not None and group.rank == 0:
                log = TensorBoardLog(Path(directory), n_done=len(run.history))
                run.log = stack.enter_context(contextlib.closing(log))
            run.complete(
                source,
                train_indices,
                validation_indices,
                data.n_atoms_per_config,
                is_all=spread is None,
            )
        if spread is not None:
            run.fit_uncertainty(source, spread, validation_indices)
    return TrainedModel.from_checkpoint(run.contents)


def _check(
    data: Dataset,
    train_indices: NDArray[np.int64],
    validation_indices: NDArray[np.int64],
    labels: NDArray[np.float64] | None,
) -> None:
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


def _closest_pairs(
    source: BatchSource, elements: Sequence[int], configs: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Of each pair of elements, what an exported file tells of the training data.

    Distances are rounded down, so that no structure of the data is closer than they say: pair
    vectors may be in single precision.
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
        raise ConfigError(f"{found} learns from energies alone; take 'soap' where there are forces")
    if n_configs > _MOST_CONFIGS:
        raise ConfigError(
            f"{found} solves for all {n_configs} configurations of the training part at once, and "
            f"{_MOST_CONFIGS} are the most; take 'soap', which is good at many"
        )
    if group.n_ranks > 1:
        raise ConfigError(
            f"{found} trains in one process, found {group.n_ranks}; start it without torchrun, "
            "members side by side with n_workers, or take 'soap'"
        )


class _Run:
    """A training on its way: network, optimizer, history, and the checkpoint of all that."""

    def __init__(
        self,
        contents: dict[str, Any],
        training: TrainingConfig,
        reference_energies: Mapping[int, float],
        seed: int,
        group: Group,
        start: TrainedModel | None,
    ) -> None:
        self.contents = contents
        self.training = training
        self.seed = seed
        self.group = group
        self.path: Path | None = None
        self.report: Report | None = None
        self.report_batch: Report | None = None
        self.log: TensorBoardLog | None = None
        self.history: list[Record] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.head: dict[str, torch.Tensor] = {}  # of the uncertainty, once it is trained
        self.begun: dict[str, Any] | None = None  # of an epoch that was broken off
        self.dtype: torch.dtype = getattr(torch, training.dtype)
        self.device = _device(training.device, group)
        self.reference_energies = reference_energies
        self.network = self._new_network(reference_energies)
        self.averaged = self._new_network(reference_energies)
        if start is not None:
            load_start(self.network, start)
            load_start(self.averaged, start)
        self.parameters = list(self.network.parameters())
        vectors = flatten(self.network), flatten(self.averaged)
        self.optimizer: Optimizer | LevenbergMarquardt
        if training.optimizer == LEAST_SQUARES:
            self.optimizer = LevenbergMarquardt(*vectors, step_scales(self.network))
        else:
            self.optimizer = Optimizer(
                *vectors,
                training.ema_decay,
                training.gradient_clip,
                training.optimizer,
                [parameter.shape for parameter in self.parameters],
            )

    def _new_network(self, reference_energies: Mapping[int, float]) -> HIPNN:
        config = HIPNNConfig(**self.contents["model_config"])
        elements = self.contents["elements"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = HIPNN(config, elements, [reference_energies[z] for z in elements])
        return network.to(self.dtype).to(self.device)

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        state = stored["state"]
        self.history = stored["history"]
        self.best = state["best"]
        self.begun = state["epoch"]
        self.optimizer.restore(state)
        for network in (self.network, self.averaged):
            network.reference_energies.copy_(stored["model"]["reference_energies"])

    def complete(
        self,
        source: BatchSource,
        train_indices: NDArray[np.int64],
        validation_indices: NDArray[np.int64],
        n_atoms: NDArray[np.int64],
        is_all: bool,
    ) -> None:
        """Train the network to the end; ``is_all`` says that the training is complete then."""
        rank, n_ranks = self.group.rank, self.group.n_ranks
        watched = validation_indices[rank::n_ranks]

        def errors(network: HIPNN) -> Record:
            return validate(network, source, watched, self.training, self.group.reduce)

        untrained = errors(self._new_network(self.reference_energies))["validation_loss"]
        while not is_over(self.training, self.history):
            if isinstance(self.optimizer, LevenbergMarquardt):
                record = self._solve(self.optimizer, source, train_indices)
            else:
                record = self._run_epoch(self.optimizer, source, train_indices, n_atoms)
            start = time.perf_counter()
            record |= errors(self.averaged)
            trained = record.pop("seconds")
            record["seconds"] = trained + time.perf_counter() - start
            record["configs_per_second"] = len(train_indices) / max(trained, 1e-9)
            divergence.check_epoch(record, untrained, self.training)
            self.history.append(record)
            if is_over(self.training, self.history):
                kept = best_epoch(self.history) if self.training.keep == "best" else 0
                divergence.check_result(self.history[kept - 1], untrained, self.training)
            if self.training.keep == "best" and best_epoch(self.history) == len(self.history):
                self.best = _on_cpu(self.averaged.state_dict())
            if self.log is not None:  # before the checkpoint: an epoch that is done again is hidden
                self.log.add(record)
            self._save(finished=is_all and is_over(self.training, self.history))
            if self.report is not None and rank == 0:
                self.report(record)

    def fit_uncertainty(
        self, source: BatchSource, lesson: SpreadLesson, validation_indices: NDArray[np.int64]
    ) -> None:
        """Give the weights that are kept a head; every process does the same, for itself.

        That completes the training.
        """
        network = network_of(self.contents | {"model": self._kept()}).to(self.device)
        record = fit_uncertainty(network, source, lesson, validation_indices, self.seed)
        if not record["loss"] < record["constant_loss"] + _FAR_FROM_CONSTANT:
            raise TrainingError(
                f"the uncertainty cannot be trained: its loss is {record['loss']:.3g}, and that of "
                f"the mean spread for all atoms is {record['constant_loss']:.3g}; check the "
                "labels, or set enabled = false in [student.uncertainty]"
            )
        head = network.uncertainty_head
        assert head is not None
        if self.group.n_ranks > 1:
            for parameter in head.parameters():
                self.group.synchronize(parameter.detach())
        self.head = {
            f"uncertainty_head.{name}": tensor
            for name, tensor in _on_cpu(head.state_dict()).items()
        }
        self.contents["uncertainty"] = record
        self._save(finished=True)

    def _kept(self) -> dict[str, torch.Tensor]:
        return self.best or _on_cpu(self.averaged.state_dict())

    def _solve(
        self, optimizer: LevenbergMarquardt, source: BatchSource, train_indices: NDArray[np.int64]
    ) -> Record:
        """An epoch of least squares: one step for all configurations."""
        start = reported = time.monotonic()
        n, epoch = len(train_indices), len(self.history) + 1
        weights = optimizer.weights
        slopes, done = weights.new_empty(n, len(weights)), 0
        for batch in large_batches(self.network, source, train_indices, _PAIRS_PER_SLOPES):
            slopes[done : done + batch.n_configs] = energy_slopes(self.network, batch)
            done += batch.n_configs
            now = time.monotonic()
            if now - reported > _REPORT_SECONDS and self.report_batch:
                reported = now
                record = {"epoch": epoch, "batch": done, "n_batches": n}
                self.report_batch(record | {"configs_per_second": done / (now - start)})
        expected = torch.from_numpy(source.energies(train_indices)).to(self.device)
        compositions = source.compositions(train_indices)
        if source.has_reference_energies:  # those stay as they are
            compositions = np.zeros_like(compositions)
        counts = torch.from_numpy(compositions).to(weights)

        def residuals() -> torch.Tensor:
            found = evaluate_energies(self.network, source, train_indices)
            return expected - torch.from_numpy(found).to(self.device)

        optimizer.step(slopes, residuals(), residuals, counts)
        left = residuals()
        elements = self.network.elements
        of_element = fit_energies(elements, compositions, left.cpu().numpy())
        shift = left.new_tensor([of_element.get(z, 0.0) for z in elements])
        for network in (self.network, self.averaged):
            network.reference_energies += shift
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

    def _run_epoch(
        self,
        optimizer: Optimizer,
        source: BatchSource,
        train_indices: NDArray[np.int64],
        n_atoms: NDArray[np.int64],
    ) -> Record:
        training, group, epoch = self.training, self.group, len(self.history)
        whole = epoch_batches(train_indices, n_atoms, training, self.seed, epoch)
        tally, before = Tally.empty(), 0.0
        if self.begun is not None:
            tally, before = Tally(self.begun["n_steps"], self.begun["sums"]), self.begun["seconds"]
        first, self.begun = tally.n_steps, None
        sizes = whole.sizes
        part = share(whole.after(first), n_atoms, group.rank, group.n_ranks)
        # With batches by atoms their number differs a little between epochs: each epoch is then as
        # long on the schedule as any other.
        rate_of, rate = learning_rates(training, training.epochs * len(whole), self.history), 0.0
        start = reported = saved = time.monotonic()
        for k, batch in enumerate(source.batches(part.configs, part.bounds), start=first):
            step = evaluate_step(
                self.network,
                self.parameters,
                batch.to(self.device),
                training,
                int(sizes[k]),
                group.reduce,
            )
            rate = rate_of(epoch * len(whole) + k)
            optimizer.step(step.gradient, rate)
            tally.add(step)
            now = time.monotonic()
            if now - reported > _REPORT_SECONDS and self.report_batch and group.rank == 0:
                reported = now
                speed = (whole.bounds[k + 1] - whole.bounds[first]) / (now - start)
                self.report_batch(
                    {
                        "epoch": epoch + 1,
                        "batch": k + 1,
                        "n_batches": len(whole),
                        "configs_per_second": float(speed),
                    }
                )
            if now - saved > 60 * training.checkpoint_minutes and k + 1 < len(whole):
                saved = now
                self._save(tally=tally, seconds=before + now - start)
        if group.n_ranks > 1:  # they are the same on all; this keeps them so on any machine
            for tensor in optimizer.tensors:
                group.synchronize(tensor)
        seconds = before + time.monotonic() - start
        return {"epoch": epoch + 1, **tally.record(), "learning_rate": rate, "seconds": seconds}

    def _save(
        self, finished: bool = False, tally: Tally | None = None, seconds: float = 0.0
    ) -> None:
        """Bring the contents of the checkpoint up to date, and write it if there is a place."""
        if self.path is None and not finished:
            return
        if self.group.rank != 0 and not finished:
            return
        state = None
        if finished:
            kept = self._kept() | self.head
        else:
            kept = _on_cpu(self.averaged.state_dict())
            begun = None
            if tally is not None:
                tally.settle()
                begun = {"n_steps": tally.n_steps, "sums": tally.sums, "seconds": seconds}
            state = {**self.optimizer.state(), "best": self.best, "epoch": begun}
        self.contents |= {"history": self.history, "model": kept, "state": state}
        if self.path is not None and self.group.rank == 0:
            checkpoint.save(self.path, self.contents)
            if tally is None:
                write_history(self.path.with_name("history.csv"), self.history)


def _device(name: str, group: Group) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "device = 'cuda', but torch finds no GPU here; install a build of torch for GPUs, or "
            "set device = 'cpu'"
        )
    return torch.device("cuda", group.local_rank) if name == "cuda" else torch.device(name)


def _on_cpu(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def write_history(path: Path, history: list[Record]) -> None:
    """Write ``history.csv``, a line for each epoch."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[-1]))
        writer.writeheader()
        writer.writerows(history)


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        for part in row_blocks(array):
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
