"""Peak memory of one evaluation of a million atoms of water with the small student.

python benchmarks/run.py --only memory

By `ExportedModel`, so the neighbour list is part of it, and of the rate that comes with it.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

from suite.cases import SMALL, cases, random_model
from suite.plan import Plan
from suite.records import Message, Record, Skipped, Status
from suite.water import water


def measure(plan: Plan) -> Iterator[Message]:
    """To be run in a process of its own, which has done nothing else.

    Sizes ascend: the peak of each is that of the process so far.
    """
    memory = f"peak memory of an evaluation, {SMALL}"
    model, _ = random_model(cases()[SMALL].config, plan.folder / "memory.pt")
    small = water(192)
    model.evaluate(small.numbers, small.positions, small.cell.array, small.pbc)  # loads libraries
    before = _peak()
    rate = None
    for target in sorted(plan.choose((98_304,), (98_304, 1_000_000))):
        atoms = water(target)
        size = len(atoms)
        if reason := plan.too_long(size, rate and 4 * rate):  # one call here, not several
            yield Skipped(memory, size, plan.threads, "ekd", reason)
            continue
        yield Status(f"{size:,} atoms")
        start = time.perf_counter()
        model.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        rate = size / (time.perf_counter() - start)
        note = f"{before:.2g} GB before"
        yield Record(memory, size, plan.threads, _peak(), "GB", note=note)
        yield Record(
            f"evaluation with neighbour list, {SMALL}",
            size,
            plan.threads,
            rate / 1e3,
            "katom-step/s",
            note="one call, not warmed up",
        )


def _peak() -> float:
    """GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # kB on Linux
