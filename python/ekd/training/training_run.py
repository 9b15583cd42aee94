"""A training in progress: network, optimizer, history, and their checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ekd import interruption
from ekd.config import LEAST_SQUARES, HIPNNConfig, TrainingConfig
from ekd.errors import TrainingError
from ekd.models import HIPNN
from ekd.training import checkpoint, divergence
from ekd.training.batches import BatchSource
from ekd.training.history import write_history
from ekd.training.least_squares import REPORT_SECONDS, solve_epoch
from ekd.training.levenberg_marquardt import LevenbergMarquardt, step_scales
from ekd.training.optimizer import Optimizer, flatten
from ekd.training.parallel import Group
from ekd.training.sampling import epoch_batches, share
from ekd.training.schedules import best_epoch, is_over, learning_rates
from ekd.training.start import load_start
from ekd.training.steps import Record, Report, Tally, evaluate_step, validate
from ekd.training.tensorboard import TensorBoardLog
from ekd.training.trained import TrainedModel, network_of
from ekd.training.uncertainty import SpreadLesson, fit_uncertainty

_FAR_FROM_CONSTANT = 10.0  # loss of the uncertainty; corresponds to a wrong factor of exp(10)


class TrainingRun:
    """A training in progress: network, optimizer, history, and their checkpoint."""

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
        self.head: dict[str, torch.Tensor] = {}  # uncertainty head, after its training
        self.begun: dict[str, Any] | None = None  # progress of an interrupted epoch
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
    ) -> None:
        """Train the network to the end. Without an uncertainty head, the training is complete."""
        is_all = self.contents["uncertainty_config"] is None
        rank, n_ranks = self.group.rank, self.group.n_ranks
        watched = validation_indices[rank::n_ranks]

        def errors(network: HIPNN) -> Record:
            return validate(network, source, watched, self.training, self.group.reduce)

        untrained = errors(self._new_network(self.reference_energies))["validation_loss"]
        while not is_over(self.training, self.history):
            # Interruptions are deferred until a checkpoint is written, except in least squares,
            # whose steps may take minutes and cannot be resumed in the middle.
            solved = None
            if isinstance(self.optimizer, LevenbergMarquardt):
                networks, epoch = (self.network, self.averaged), len(self.history) + 1
                solved = solve_epoch(
                    networks, self.optimizer, source, train_indices, epoch, self.report_batch
                )
            with interruption.deferred() as signalled:
                record = solved or self._run_epoch(source, train_indices, n_atoms, signalled)
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
                if self.log is not None:  # before the checkpoint: a repeated epoch is hidden
                    self.log.add(record)
                self._save(finished=is_all and is_over(self.training, self.history))
                if self.report is not None and rank == 0:
                    self.report(record)

    def fit_uncertainty(
        self, source: BatchSource, lesson: SpreadLesson, validation_indices: NDArray[np.int64]
    ) -> None:
        """Train the uncertainty head of the final network, which completes the training.

        All processes do the same work.
        """
        network = network_of(self.contents | {"model": self._kept()}).to(self.device)
        record = fit_uncertainty(network, source, lesson, validation_indices, self.seed)
        if not record["loss"] < record["constant_loss"] + _FAR_FROM_CONSTANT:
            raise TrainingError(
                f"the uncertainty cannot be trained: its loss is {record['loss']:.3g}, and that of "
                f"one constant for all atoms is {record['constant_loss']:.3g}; check the "
                "labels, or set enabled = false in [student.uncertainty]",
                code="EKD-TRAINING-003",
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

    def _run_epoch(
        self,
        source: BatchSource,
        train_indices: NDArray[np.int64],
        n_atoms: NDArray[np.int64],
        signalled: Callable[[], int],
    ) -> Record:
        """Run an epoch, or the rest of an interrupted one.

        Raises:
            Interrupted: ``signalled`` returned the number of a signal; a checkpoint is written.
        """
        training, group, epoch = self.training, self.group, len(self.history)
        optimizer = self.optimizer
        assert isinstance(optimizer, Optimizer)
        whole = epoch_batches(train_indices, n_atoms, training, self.seed, epoch)
        tally, before = Tally.empty(), 0.0
        if self.begun is not None:
            tally, before = Tally(self.begun["n_steps"], self.begun["sums"]), self.begun["seconds"]
        first, self.begun = tally.n_steps, None
        sizes = whole.sizes
        part = share(whole.after(first), n_atoms, group.rank, group.n_ranks)
        # With batch_atoms, the number of batches varies slightly between epochs; the schedule
        # assumes that all epochs are as long as this one.
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
            if now - reported > REPORT_SECONDS and self.report_batch and group.rank == 0:
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
            if k + 1 == len(whole):
                continue  # the checkpoint of the epoch is next
            number = group.first_signal(signalled(), k)
            if number or now - saved > 60 * training.checkpoint_minutes:
                saved = now
                self._save(tally=tally, seconds=before + now - start)
            if number:
                raise interruption.Interrupted(number)
        if group.n_ranks > 1:  # they should be equal on all ranks; this ensures it
            for tensor in optimizer.tensors:
                group.synchronize(tensor)
        seconds = before + time.monotonic() - start
        return {"epoch": epoch + 1, **tally.record(), "learning_rate": rate, "seconds": seconds}

    def _save(
        self, finished: bool = False, tally: Tally | None = None, seconds: float = 0.0
    ) -> None:
        """Update the contents of the checkpoint, and write it if there is a path."""
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
            "set device = 'cpu'",
            code="EKD-DEVICE-015",
        )
    return torch.device("cuda", group.local_rank) if name == "cuda" else torch.device(name)


def _on_cpu(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
