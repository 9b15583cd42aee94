"""The report of a run: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ekd.files import atomic_write
from ekd.reporting.html import embedded, fill

TARGETS = {"force_rmse": 0.20, "energy_rmse": 0.10}
"""Targets of the relative improvement of the student over the mean of the single teachers."""


@dataclass(frozen=True)
class Report:
    """Contents of the report."""

    title: str
    summary: Mapping[str, Any]
    """As written to ``summary.json``."""
    truth: str
    """Description of the reference data."""
    figures: Mapping[str, Path]
    """PNG files by name; the template ignores unknown and missing ones."""
    dynamics: Mapping[str, Any] | None
    """Results of :func:`ekd.lammps.student_runs.run`; None if not run."""
    provenance: Mapping[str, str]
    config: str
    """The resolved configuration as TOML."""
    far: str | None = None
    """Description of the far test set; None if there is none."""
    near_and_far: Sequence[Any] = ()
    """Lines with ``label``, ``near``, ``far``, ``strong`` and ``last``."""


def write_report(report: Report, path: Path) -> None:
    """Write the report, including images and style."""
    with atomic_write(path) as temporary:
        temporary.write_text(render(report), encoding="utf-8")


def render(report: Report) -> str:
    """Return the report as HTML."""
    images = {name: embedded(path) for name, path in report.figures.items()}
    return fill("ekd.pipeline", "report.html.j2", report=report, images=images, targets=TARGETS)
