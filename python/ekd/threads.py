"""How many threads the compiled core takes."""

from __future__ import annotations

import os
import sys


def default_threads() -> int:
    """As many as torch uses, where the process has torch; else as many as it may.

    That is ``OMP_NUM_THREADS``, if it is set, or the number of cores that the process may run on.
    """
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    named = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if named.isdigit() and int(named) > 0:
        return int(named)
    return len(os.sched_getaffinity(0))
