"""Number of threads of the compiled core."""

from __future__ import annotations

import os
import sys


def default_threads() -> int:
    """Return the number of threads of torch if it is loaded, else the available number.

    The latter is ``OMP_NUM_THREADS`` if set, else the number of cores available to the process.
    """
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    named = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if named.isdigit() and int(named) > 0:
        return int(named)
    return len(os.sched_getaffinity(0))
