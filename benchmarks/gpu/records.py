"""Records of a part: lines of JSON on the standard output."""

from __future__ import annotations

import json
import time
from collections.abc import Callable


def tell(kind: str, **content: object) -> None:
    """Print a record, at once."""
    print(json.dumps({"kind": kind, **content}), flush=True)


def median_seconds(call: Callable[[], object], seconds: float) -> float:
    """Of a call that has been warmed up."""
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]
