"""Where things lie, and what ends a part. Standard library alone: the other machine has little."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = Path(__file__).resolve().parent
CPP = ROOT / "cpp"
STYLE = ROOT / "lammps_plugin"

KIT = Path(os.environ.get("EKD_GPU_KIT", ROOT / "build" / "gpu-kit"))
"""What `make gpu-kit` fills and the other machine is given."""

BUILD = Path(os.environ.get("EKD_GPU_BUILD", ROOT / "build" / "gpu"))
"""What `make gpu` makes there."""

SITE = BUILD / "site"
"""A folder of Python packages: ekd as it is built there, and the packages of the kit."""

LAMMPS = BUILD / "lammps"
"""The LAMMPS of the kit, unpacked."""

RESULTS = ROOT / "benchmarks" / "gpu" / "results"
PAGE = ROOT / "docs" / "performance_gpu.md"


class CannotError(Exception):
    """A part cannot do its work: what was found, what was expected, what to do."""
