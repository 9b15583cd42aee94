"""Training epochs on the shipped data: ekd and hippynn, with and without the loss on forces.

python benchmarks/run.py --only training
python benchmarks/bench_training.py [--l-max 1] [--n-interactions 1] [--n-features 32] ...

An epoch here is one pass over the training part: batches, loss, gradient, step of Adam; no
validation. Both have the same weights, data and batches; the loss of one batch and its gradient
must agree.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

# Before anything that reads it is loaded: one thread, unless the suite has said otherwise.
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")

from ekd.config import HIPNNConfig
from suite.cases import SMALL, cases
from suite.epochs import BATCH_SIZE, Task, loss_and_gradient, rate_of_ekd, shipped_task
from suite.machine import describe, summary
from suite.peers import hippynn, hippynn_training
from suite.plan import Plan
from suite.records import DisagreementError, Message, Skipped, Status, compare
from suite.tables import print_messages

AGREEMENT = 1e-3
"""Largest relative difference in the loss of a batch and in the norm of its gradient, float32."""

_N_TRIAL = 20
"""Batches by which the kernels of hippynn are compared."""


def measure(
    plan: Plan, config: HIPNNConfig | None = None, kernels: Sequence[str] = hippynn_training.KERNELS
) -> Iterator[Message]:
    """Epochs with and without the loss on forces.

    Args:
        plan: a training of ekd takes one thread, whatever it may take.
        config: architecture; None: the small one.
        kernels: of hippynn, of which the fastest are taken.
    """
    config = config or cases()[SMALL].config
    for with_forces in (True, False):
        name = f"training epoch, {'energies and forces' if with_forces else 'energies'}"
        yield Status(name)
        task = shipped_task(config, with_forces)
        size = len(task.chosen)
        # They take turns, as in suite.timing; a training of ekd says itself how fast it was.
        measures: dict[str, Callable[[], float]] = {"ekd": lambda task=task: rate_of_ekd(task)}
        if "hippynn" not in plan.without:
            yield Status(f"{name}: hippynn")
            try:
                peer, epoch = _hippynn(task, kernels)
                measures[peer] = lambda size=size, epoch=epoch: size / _seconds(epoch)
            except (ImportError, RuntimeError) as error:
                yield Skipped(name, size, plan.threads, "hippynn", f"{error!s:.200}")
        yield Status(f"{name}: timing")
        rates = dict.fromkeys(measures, 0.0)
        end = time.perf_counter() + plan.seconds * len(measures)
        while True:
            for who, rate in measures.items():
                rates[who] = max(rates[who], rate())
            if time.perf_counter() > end:
                break
        note = f"batches of {BATCH_SIZE}"
        yield from compare(name, size, plan.threads, "configs/s", rates.pop("ekd"), rates, note)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _hippynn(task: Task, kernels: Sequence[str]) -> tuple[str, Callable[[], None]]:
    """Its name in tables, and an epoch with the fastest of its kernels."""
    trial = hippynn_training.Epochs(task)
    best = hippynn.use_fastest_kernels(lambda: trial.epoch(_N_TRIAL), kernels)
    peer = hippynn_training.Epochs(task)
    expected, found = loss_and_gradient(task), peer.loss_and_gradient()
    for what, one, other in zip(("loss", "gradient"), expected, found, strict=True):
        if not math.isclose(one, other, rel_tol=AGREEMENT):
            raise DisagreementError(f"{what} of a batch: {one} by ekd, {other} by hippynn")
    peer.epoch()
    return f"hippynn ({best} kernels)", peer.epoch


def main() -> None:
    default = cases()[SMALL].config
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--l-max", type=int, choices=(0, 1, 2), default=default.l_max)
    parser.add_argument("--n-interactions", type=int, default=default.n_interactions)
    parser.add_argument("--n-features", type=int, default=default.n_features)
    parser.add_argument("--n-sensitivities", type=int, default=default.n_sensitivities)
    parser.add_argument(
        "--kernels",
        nargs="+",
        default=list(hippynn_training.KERNELS),
        help="of hippynn, the fastest of which are taken (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="that each is timed for (default: %(default)s)"
    )
    options = parser.parse_args()
    where = summary(describe())
    config = default.model_copy(
        update={
            name: getattr(options, name)
            for name in ("l_max", "n_interactions", "n_features", "n_sensitivities")
        }
    )
    plan = Plan(Path(), int(os.environ["OMP_NUM_THREADS"]), seconds=options.seconds)
    found = list(measure(plan, config, options.kernels))
    print_messages("Training on the shipped data, float32", found, where)


if __name__ == "__main__":
    main()
