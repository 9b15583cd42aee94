"""What scripts that run alone share: timing, and tables that say where they were made."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from suite.machine import describe, summary


@dataclass(frozen=True)
class Row:
    """One measurement, or the reason why there is none."""

    name: str
    rate: float | None
    note: str = ""


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
    return summary(describe(packages))


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
