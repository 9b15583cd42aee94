"""The report of a run: one self-contained HTML file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from ekd.files import atomic_write

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
    """Results of :func:`ekd.lammps.dynamics.run`; None if not run."""
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
    return fill("report.html.j2", report=report, images=images, targets=TARGETS)


def fill(template: str, **values: Any) -> str:
    """Return a template of this package, filled in with values."""

    def source(name: str) -> str:
        return resources.files("ekd.evaluation").joinpath(name).read_text("utf-8")

    # StrictUndefined: a missing value is a bug, and must not become an empty string.
    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        change=_change,
        duration=duration,
        formula=formula,
        kilo=_kilo,
        lower_by=_lower_by,
        milli=_milli,
        ratio=_ratio,
        small=_small,
    )
    return environment.get_template(template).render(**values)


def formula(text: str) -> str:
    """Return a chemical formula with subscripts: CH₃OH."""
    return text.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def duration(seconds: float) -> str:
    """Return a readable duration: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def embedded(path: Path) -> str:
    """Return an image as a data URL."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _milli(value: float | None) -> str:
    return "–" if value is None else f"{1e3 * value:.1f}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _change(improvement: float | None) -> str:
    """Return an improvement as the change of an error: 0.2 better is −20 %."""
    return "–" if improvement is None else f"{-100 * improvement:+.1f} %".replace("-", "−")


def _lower_by(improvement: float | None) -> str:
    if improvement is None:
        return "not comparable with"
    return f"{abs(100 * improvement):.1f} % {'below' if improvement >= 0 else 'above'}"


def _kilo(value: float) -> str:
    return f"{value / 1e3:.1f}"


def _small(value: float | None) -> str:
    """Return a number in scientific notation: 3.2·10⁻¹²."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}·10{power}".replace("-", "−")
