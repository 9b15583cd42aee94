"""Training epochs, by the script that measures them alone too."""

from __future__ import annotations

from collections.abc import Iterator

from suite.plan import Plan
from suite.records import Message, Skipped, Status, from_mapping


def measure(plan: Plan) -> Iterator[Message]:
    try:
        import bench_training
    except ModuleNotFoundError as error:
        yield Skipped("training epoch", None, plan.threads, "ekd", str(error))
        return
    yield Status("epochs with and without forces")
    for record in bench_training.measure(threads=[plan.threads], repeats=2 if plan.quick else 5):
        yield from from_mapping(record)
