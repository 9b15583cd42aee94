"""Catalogue of all errors that ekd raises on purpose: cause and cure by error code.

The texts are in ``error_catalogue.toml``. Codes that are no longer used are listed in
:data:`RETIRED` and are never reused.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

AREAS = {
    "RUN": "Runs, stages and their folders",
    "CONFIG": "Configuration and arguments",
    "DATA": "Data sets and their files",
    "STRUCTURE": "Structures",
    "TEACHER": "Teachers",
    "LABELS": "Labels and distillation",
    "TRAINING": "Training",
    "CHECKPOINT": "Checkpoints",
    "MODEL": "Exported models",
    "PAIR": "pair_style ekd",
    "LAMMPS": "LAMMPS runs that ekd starts",
    "DEVICE": "Devices",
    "HIPPYNN": "Models of hippynn",
    "API": "C interface",
    "BUILD": "Installation and builds",
}
"""The second part of a code, and its subject."""

RETIRED: frozenset[str] = frozenset({"EKD-DATA-070"})
"""Codes that are no longer used."""


@dataclass(frozen=True)
class Entry:
    """One kind of error.

    Attributes:
        code: error code, such as ``EKD-DATA-001``.
        title: what is wrong, in one line.
        cause: what causes it.
        cure: what to do.
    """

    code: str
    title: str
    cause: str
    cure: str

    @property
    def area(self) -> str:
        """A key of :data:`AREAS`."""
        return self.code.split("-")[1]


@functools.cache
def catalogue() -> dict[str, Entry]:
    """All entries by code, in the order of :data:`AREAS` and of their numbers."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    entries = [Entry(code, **texts) for code, texts in tomllib.loads(text).items()]
    order = list(AREAS)
    return {
        entry.code: entry
        for entry in sorted(entries, key=lambda entry: (order.index(entry.area), entry.code))
    }


def complete(code: str) -> str:
    """Normalize a code: ``data-1`` and ``[EKD-DATA-001]`` become ``EKD-DATA-001``."""
    parts = code.strip("[] ").upper().removeprefix("EKD-").split("-")
    if len(parts) == 2 and parts[1].isdigit():
        return f"EKD-{parts[0]}-{int(parts[1]):03d}"
    return code
