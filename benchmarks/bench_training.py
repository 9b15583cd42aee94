"""Training epochs on the shipped data: ekd and hippynn, with and without the loss on forces.

python benchmarks/bench_training.py [--threads 1 2] [--repeats 5] [--l-max 1] [--n-interactions 1]

An epoch here is one pass over the training part: batches, loss, gradient, step of Adam; no
validation. hippynn trains as its users do it, with its database, graph, losses and step function,
and with the same weights, data and batch size; the loss of a batch and its gradient must agree.
Force labels are made up, for the time does not depend on them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies, load_dataset, split
from ekd.models import HIPNN
from ekd.training import loop
from ekd.training.batches import BatchSource
from ekd.training.optimizer import Optimizer, flatten

# The mapping of weights to hippynn, which the tests prove equal.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

DATA = Path(__file__).parents[1] / "examples" / "data" / "ccsdt_chno.h5"
ENERGY = "ccsd(t)_ccpvdz.energy"
BATCH_SIZE = 32

AGREEMENT = 1e-3
"""Largest relative difference in the loss of a batch and in the norm of its gradient, float32."""


@dataclass(frozen=True)
class Task:
    """What both train."""

    data: Dataset
    chosen: NDArray[np.int64]
    reference_energies: dict[int, float]
    forces: NDArray[np.float64]
    config: HIPNNConfig
    with_forces: bool

    @property
    def elements(self) -> list[int]:
        """In the order of the species."""
        return sorted(self.reference_energies)

    def network(self) -> HIPNN:
        """The same weights for both."""
        torch.manual_seed(0)
        energies = [self.reference_energies[z] for z in self.elements]
        return HIPNN(self.config, self.elements, energies)


def shipped_task(config: HIPNNConfig, with_forces: bool) -> Task:
    """The training part of the shipped data."""
    data = load_dataset(DATA, ENERGY)
    chosen, _ = split(data, 0.1)
    forces = np.random.default_rng(0).normal(size=data.positions.shape)
    energies = fit_reference_energies(data.subset(chosen))
    return Task(data, chosen, energies, forces, config, with_forces)


class WithEKD:
    """Epochs of :func:`ekd.training.train`."""

    def __init__(self, task: Task):
        self.task = task
        self.network = task.network()
        self.training = TrainingConfig(batch_size=BATCH_SIZE)
        self.optimizer = Optimizer(
            flatten(self.network),
            flatten(task.network()),
            self.training.ema_decay,
            self.training.gradient_clip,
        )
        self.source = BatchSource(
            task.data,
            task.elements,
            task.config.cutoff,
            torch.float32,
            task.forces if task.with_forces else None,
        )

    def epoch(self) -> None:
        """One pass over the training part, with the threads that a training takes."""
        self.optimizer.step_count = 0  # the schedule is one of many epochs: never at its end
        order = np.random.default_rng(0).permutation(self.task.chosen)
        with loop._one_thread():
            loop._run_epoch(self.network, self.source, order, self.optimizer, self.training)

    def loss_and_gradient(self) -> tuple[float, float]:
        """Loss of the first configurations, and the norm of its gradient."""
        (batch,) = self.source.batches(np.sort(self.task.chosen)[:BATCH_SIZE], BATCH_SIZE)
        parameters = list(self.network.parameters())
        loss, gradient, *_ = loop._loss(self.network, parameters, batch, self.training)
        return loss.item(), gradient.norm().item()


class WithHippynn:
    """The same in hippynn, by the modules and the step function of its ``setup_and_train``.

    Args:
        task: what to train.
        kernels: as for hippynn's ``set_custom_kernels``; "auto" takes the best that is installed.

    Raises:
        ImportError: hippynn is not installed.
    """

    def __init__(self, task: Task, kernels: str):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import hippynn
            from hippynn.experiment.step_functions import get_step_function
            from hippynn.graphs import inputs, loss, networks, physics, targets

            from hippynn_twin import copy_weights

            hippynn.custom_kernels.set_custom_kernels(kernels)
        hippynn.settings.WARN_LOW_DISTANCES = False
        hippynn.settings.PROGRESS = None
        config = task.config
        self.kernels = str(hippynn.custom_kernels.CUSTOM_KERNELS_ACTIVE)
        species = inputs.SpeciesNode(db_name="Z")
        positions = inputs.PositionsNode(db_name="R")
        settings: dict[str, Any] = {
            "possible_species": [0, *task.elements],
            "n_features": config.n_features,
            "n_sensitivities": config.n_sensitivities,
            "dist_soft_min": config.soft_min,
            "dist_soft_max": config.soft_max,
            "dist_hard_max": config.cutoff,
            "n_interaction_layers": config.n_interactions,
            "n_atom_layers": config.n_atom_layers,
            **({"cusp_reg": config.cusp} if config.l_max else {}),
        }
        kind = (networks.Hipnn, networks.HipnnVec, networks.HipnnQuad)[config.l_max]
        network = kind("hipnn", (species, positions), module_kwargs=settings)
        energy = targets.HEnergyNode("energy", network, db_name="E")

        def rmse_plus_mae(node: Any) -> Any:
            return loss.MSELoss.of_node(node) ** 0.5 + loss.MAELoss.of_node(node)

        total = rmse_plus_mae(energy)
        if task.with_forces:
            forces = physics.GradientNode("force", (energy, positions), sign=-1, db_name="F")
            total = total + rmse_plus_mae(forces)
        with contextlib.redirect_stdout(io.StringIO()):
            self.modules, info = hippynn.experiment.assemble_for_training(total, {"Loss": total})
            self.database = hippynn.databases.Database(
                padded(task), **info, seed=0, pin_memory=False, quiet=True
            )
        self.database.make_explicit_split("train", torch.from_numpy(task.chosen))
        self.database.splitting_completed = True
        self.network, self.energy = network.torch_module, energy.torch_module
        copy_weights(task.network(), config, self.network, self.energy)
        # Energies are counted from the reference energies, which are fixed.
        self.energy.layers[0].weight.requires_grad_(False).zero_()
        self.parameters = [p for p in self.modules.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-3)
        self.step = get_step_function(self.optimizer)
        self.n_inputs = len(info["inputs"])

    def epoch(self) -> None:
        """One pass over the training part, as in hippynn's ``training_loop``."""
        self.modules.model.train()
        for batch in self.database.make_generator("train", "train", batch_size=BATCH_SIZE):
            inputs, targets = batch[: self.n_inputs], batch[self.n_inputs :]
            self.step(self.optimizer, self.modules.model, self.modules.loss, inputs, targets)

    def loss_and_gradient(self) -> tuple[float, float]:
        """As for ekd."""
        generator = self.database.make_generator("train", "eval", batch_size=BATCH_SIZE)
        batch = next(iter(generator))
        outputs = self.modules.model(*batch[: self.n_inputs])
        loss = self.modules.loss(*outputs, *batch[self.n_inputs :])[0]
        gradient = torch.autograd.grad(loss, self.parameters)
        return loss.item(), torch.cat([part.flatten() for part in gradient]).norm().item()


def padded(task: Task) -> dict[str, torch.Tensor]:
    """Arrays as hippynn takes them, float32: one row per configuration, zeros at its end.

    Energies are counted from the reference energies, for hippynn has no other precision for them.
    """
    data = task.data
    counts = np.diff(data.offsets)
    rows = np.repeat(np.arange(len(data)), counts)
    columns = np.arange(len(rows)) - np.repeat(data.offsets[:-1], counts)
    shape = (len(data), counts.max())
    numbers = np.zeros(shape, dtype=np.int64)
    positions, forces = np.zeros((*shape, 3)), np.zeros((*shape, 3))
    numbers[rows, columns] = data.atomic_numbers
    positions[rows, columns] = data.positions
    forces[rows, columns] = task.forces
    reference = np.array([task.reference_energies[z] for z in data.atomic_numbers])
    energies = data.energies - np.bincount(rows, reference)
    return {
        "Z": torch.from_numpy(numbers),
        "R": torch.from_numpy(positions).float(),
        "F": torch.from_numpy(forces).float(),
        "E": torch.from_numpy(energies).float().unsqueeze(1),
    }


def compare(
    task: Task, n_threads: int, repeats: int, kernels: str
) -> tuple[float, float | None, str]:
    """Seconds of an epoch with ekd and with hippynn, and a note on the latter."""
    with _threads(n_threads):
        ours = WithEKD(task)
        try:
            theirs = WithHippynn(task, kernels)
        except ImportError:
            return best([ours.epoch], repeats)[0], None, "not installed: pip install hippynn"
        for what, found, expected in zip(
            ("loss", "gradient"), ours.loss_and_gradient(), theirs.loss_and_gradient(), strict=True
        ):
            if not math.isclose(found, expected, rel_tol=AGREEMENT):
                raise SystemExit(f"{what}: {found} by ekd, {expected} by hippynn: no comparison")
        seconds = best([ours.epoch, theirs.epoch], repeats)
        return seconds[0], seconds[1], f"its kernels: {theirs.kernels}"


def best(calls: Sequence[Callable[[], None]], repeats: int) -> list[float]:
    """Shortest seconds of each call. They take turns, so that a busy machine disturbs all."""
    shortest = [math.inf] * len(calls)
    for turn in range(repeats + 1):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if turn > 0:  # the first turn warms up
                shortest[index] = min(shortest[index], time.perf_counter() - start)
    return shortest


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(
    threads: Sequence[int] = (1, 2),
    repeats: int = 5,
    config: HIPNNConfig | None = None,
    kernels: str = "auto",
) -> list[dict[str, Any]]:
    """Epochs with and without the loss on forces.

    Args:
        threads: that torch may take. A training of ekd takes one, whatever it may.
        repeats: timed epochs of each; the shortest counts.
        config: architecture; None: the defaults.
        kernels: of hippynn.

    Returns:
        Records ``measure, size, threads, ekd, peer, peer_value, unit, ratio, note``; the size is
        the number of configurations of an epoch. Without hippynn, ``peer_value`` and ``ratio``
        are None and the note says why.
    """
    records = []
    for with_forces in (True, False):
        task = shipped_task(config or HIPNNConfig(), with_forces)
        what = "energies and forces" if with_forces else "energies"
        for n_threads in threads:
            ours, theirs, note = compare(task, n_threads, repeats, kernels)
            size = len(task.chosen)
            records.append(
                {
                    "measure": f"training epoch, {what}",
                    "size": size,
                    "threads": n_threads,
                    "ekd": size / ours,
                    "peer": "hippynn",
                    "peer_value": None if theirs is None else size / theirs,
                    "unit": "configs/s",
                    "ratio": None if theirs is None else theirs / ours,
                    "note": note,
                }
            )
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5, help="timed epochs (default: 5)")
    parser.add_argument("--l-max", type=int, choices=(0, 1, 2), default=1)
    parser.add_argument("--n-interactions", type=int, default=1)
    parser.add_argument("--n-features", type=int, default=32)
    parser.add_argument("--n-sensitivities", type=int, default=16)
    parser.add_argument("--kernels", default="auto", help="of hippynn (default: %(default)s)")
    options = parser.parse_args()
    where = machine(["ekd", "torch", "hippynn", "numpy"])
    config = HIPNNConfig(
        l_max=options.l_max,
        n_interactions=options.n_interactions,
        n_features=options.n_features,
        n_sensitivities=options.n_sensitivities,
    )
    table = Table(title="Training on the shipped data, float32", caption=where)
    for name in ("epoch", "threads", "ekd", "hippynn", "configs/s: ×", "note"):
        table.add_column(name)
    for record in measure(options.threads, options.repeats, config, options.kernels):
        table.add_row(
            record["measure"].removeprefix("training epoch, "),
            str(record["threads"]),
            f"{record['ekd']:.0f}",
            "skipped" if record["peer_value"] is None else f"{record['peer_value']:.0f}",
            "" if record["ratio"] is None else f"{record['ratio']:.2f}",
            record["note"],
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
