"""Training epochs with forces on the device, by ekd and by hippynn.

python benchmarks/gpu/part_training.py --device cuda

The loss of a batch and its gradient must be those of the CPU. Epochs of the shipped configurations
are timed against hippynn with the same weights, data and batches, each kind of its kernels in a
process of its own. The epoch of many configurations is one of copies of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from records import tell

sys.path.append(str(Path(__file__).parents[1]))  # suite

ALLOWED = 1e-3
"""Difference of the loss of a batch and of its gradient in float32, as a part of the CPU's."""

KERNELS = ("triton", "cupy", "pytorch")


def check(device: torch.device, batch_size: int) -> None:
    """A record of one batch on the device and on the CPU."""
    from ekd.config import HIPNNConfig, TrainingConfig
    from ekd.training.batches import BatchSource
    from ekd.training.steps import evaluate_step
    from suite.epochs import shipped_task

    task = shipped_task(HIPNNConfig(), with_forces=True)
    source = BatchSource(task.data, task.elements, task.config.cutoff, torch.float32, task.labels)
    (batch,) = source.batches(np.sort(task.chosen)[:batch_size], batch_size)
    found = []
    for place in (torch.device("cpu"), device):
        emulate(place is device and device.type == "cpu")
        network = task.network().float().to(place)
        parameters = list(network.parameters())
        step = evaluate_step(network, parameters, batch.to(place), TrainingConfig(), batch_size)
        found.append((step.loss.item(), step.gradient.double().cpu()))
    emulate(device.type == "cpu")
    (loss, gradient), (loss_there, gradient_there) = found
    off = max(
        abs(loss_there / loss - 1), float((gradient_there - gradient).norm() / gradient.norm())
    )
    tell("training check", largest=off, allowed=ALLOWED, passed=bool(off <= ALLOWED))


def emulate(yes: bool) -> None:
    """Whether the host twin does the operations, in place of the kernels of the CPU."""
    torch.ops.ekd.emulate_devices(yes)


def of_ekd(device: torch.device, batch_size: int, copies: int) -> tuple[int, Callable[[], None]]:
    """Number of configurations and a function that takes them through one epoch."""
    from ekd.config import HIPNNConfig, TrainingConfig
    from ekd.training.batches import BatchSource
    from ekd.training.optimizer import Optimizer, flatten
    from ekd.training.steps import evaluate_step
    from suite.epochs import shipped_task

    task = shipped_task(HIPNNConfig(), with_forces=True)
    data, forces = task.data, task.forces
    if copies > 1:
        chosen = np.tile(np.arange(len(data)), copies)
        data, forces = data.subset(chosen), np.tile(forces, (copies, 1))
    chosen = np.arange(len(data)) if copies > 1 else task.chosen
    source = BatchSource(data, task.elements, task.config.cutoff, torch.float32, forces)
    training = TrainingConfig(batch_size=batch_size, optimizer="adam")
    network, average = (task.network().float().to(device) for _ in range(2))
    parameters = list(network.parameters())
    optimizer = Optimizer(
        flatten(network),
        flatten(average),
        training.ema_decay,
        training.gradient_clip,
        "adam",
        [parameter.shape for parameter in parameters],
    )
    generator = np.random.default_rng(0)

    def epoch() -> None:
        order = generator.permutation(chosen)
        for batch in source.batches(order, batch_size):
            step = evaluate_step(network, parameters, batch.to(device), training, batch.n_configs)
            optimizer.step(step.gradient, 1e-4)
        finish(device)

    return len(chosen), epoch


def finish(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def of_hippynn(device: torch.device, batch_size: int, kernels: str) -> Callable[[], None]:
    """A function that takes the shipped configurations through one epoch."""
    import hippynn

    from ekd.config import HIPNNConfig
    from suite import epochs
    from suite.peers import hippynn_training

    hippynn.custom_kernels.set_custom_kernels(kernels)
    epochs.BATCH_SIZE = hippynn_training.BATCH_SIZE = batch_size
    peer = hippynn_training.Epochs(
        epochs.shipped_task(HIPNNConfig(), with_forces=True), device=device
    )

    def epoch() -> None:
        peer.epoch()
        finish(device)

    return epoch


def timed(epoch: Callable[[], None], seconds: float) -> float:
    """Of the fastest epoch after the first."""
    epoch()
    times: list[float] = []
    start = time.perf_counter()
    while not times or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        epoch()
        times.append(time.perf_counter() - begin)
    return min(times)


def record(who: str, n: int, batch_size: int, took: float, **more: object) -> None:
    """Print how long an epoch took."""
    tell(
        "training",
        who=who,
        configurations=n,
        batch_size=batch_size,
        seconds=took,
        configurations_per_s=n / took,
        torch=torch.__version__,
        **more,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--copies", type=int, default=163, help="of the data, for the long epoch")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--limit", type=float, default=40.0, help="seconds of one kind of kernels")
    parser.add_argument("--kernels", help="of hippynn, in this process and nothing else")
    options = parser.parse_args()
    device = torch.device(options.device if options.device.startswith("cuda") else "cpu")
    size = options.batch_size
    if options.kernels:
        epoch = of_hippynn(device, size, options.kernels)
        from ekd.config import HIPNNConfig
        from suite.epochs import shipped_task

        n = len(shipped_task(HIPNNConfig(), with_forces=True).chosen)
        record("hippynn", n, size, timed(epoch, options.seconds), kernels=options.kernels)
        return 0
    from ekd._native import load_ops

    load_ops()
    check(device, size)
    n, epoch = of_ekd(device, size, 1)
    record("ekd", n, size, timed(epoch, options.seconds))
    kinds = KERNELS if device.type == "cuda" else ("pytorch",)
    for kernels in kinds:
        command = [sys.executable, __file__, *sys.argv[1:], "--kernels", kernels]
        try:
            subprocess.run(command, timeout=options.limit, check=True)
        except subprocess.TimeoutExpired:
            tell("training", who="hippynn", kernels=kernels, error=f"over {options.limit:.0f} s")
        except subprocess.CalledProcessError as error:
            tell("training", who="hippynn", kernels=kernels, error=f"status {error.returncode}")
    if options.copies > 1:
        n, epoch = of_ekd(device, size, options.copies)
        begin = time.perf_counter()
        epoch()
        record("ekd", n, size, time.perf_counter() - begin)
    return 0


if __name__ == "__main__":
    sys.exit(main())
