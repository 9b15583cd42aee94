"""Times of calls, and what the rate of the machine is measured by."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

SGEMM_SIDE = 4096


def shortest(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Shortest seconds of each call, warmed up before by who asks.

    They take turns, so that what else happens on the machine disturbs all of them; each is called
    until ``seconds`` have gone by, at least twice if one call is shorter than that.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    waiting = dict(calls)
    while waiting:
        for name, call in list(waiting.items()):
            start = time.perf_counter()
            call()
            times = found[name]
            times.append(time.perf_counter() - start)
            if sum(times) >= seconds and (len(times) > 1 or times[0] >= seconds):
                del waiting[name]
    return {name: min(times) for name, times in found.items()}


def sgemm() -> tuple[Callable[[], object], float]:
    """``torch.mm`` on large square matrices, float32, warmed up, and its GFLOP."""
    import torch

    a, b = torch.rand(2, SGEMM_SIDE, SGEMM_SIDE)
    out = torch.mm(a, b)
    return lambda: torch.mm(a, b, out=out), 2 * SGEMM_SIDE**3 / 1e9
