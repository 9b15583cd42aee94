"""What the benchmarks share: structures, timing, and tables that say where they were made."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ase import Atoms
from rich.console import Console
from rich.table import Table

from ekd.lammps.structures import water_box

BOX = 64  # water molecules in the box that larger ones repeat


@dataclass(frozen=True)
class Row:
    """One measurement, or the reason why there is none."""

    name: str
    rate: float | None
    note: str = ""


def water(repeats: int) -> Atoms:
    """A periodic box of water at 0.997 g/cm³: 192 atoms times ``repeats`` cubed."""
    return water_box(BOX, density=0.997).repeat(repeats)


def best_seconds(call: Callable[[], object], at_least: float = 0.5) -> float:
    """Shortest time of a call: once to warm up, then until ``at_least`` seconds have gone by.

    The shortest is the one that other processes disturbed least.
    """
    call()
    times: list[float] = []
    while sum(times) < at_least:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def machine(packages: Sequence[str]) -> str:
    """Processor, load and versions: numbers without these mean nothing.

    To be called first, while the load is still that of others.
    """
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    state = "BUSY: not fit to be quoted" if load > 0.5 * cores else "idle"
    lines = [
        f"{_processor()}, {cores} cores, load {load:.1f} ({state})",
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {_version(name)}" for name in packages),
    ]
    return "\n".join(lines)


def print_table(title: str, unit: str, cases: dict[str, list[Row]], caption: str) -> None:
    """Print the rows of every case, with their ratios to its first one that was measured."""
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("case")
    table.add_column("what")
    table.add_column(unit, justify="right")
    table.add_column("× first", justify="right")
    table.add_column("note")
    for case, rows in cases.items():
        first = next((row.rate for row in rows if row.rate), None)
        for index, row in enumerate(rows):
            table.add_row(
                case if index == 0 else "",
                row.name,
                f"{row.rate:.3g}" if row.rate else "skipped",
                f"{row.rate / first:.2f}" if row.rate and first else "",
                row.note,
                end_section=index == len(rows) - 1,
            )
    console = Console()
    # Wide enough also where the output goes to a file.
    Console(width=max(console.width, 100)).print(table)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
