"""The file ``history.csv`` of a training."""

from __future__ import annotations

import csv
from pathlib import Path

from ekd.files import atomic_write
from ekd.training.steps import Record


def write_history(path: Path, history: list[Record]) -> None:
    """Write ``history.csv``, with one line per epoch."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[-1]))
        writer.writeheader()
        writer.writerows(history)
