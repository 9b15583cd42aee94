"""Reports as single HTML files: templates, embedded images, and how numbers are shown."""

from __future__ import annotations

import base64
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined


def fill(package: str, template: str, **values: Any) -> str:
    """Return a template, filled in with values.

    Args:
        package: package that contains the template. It may include templates of ``ekd.reporting``.
        template: name of the file.
        values: variables of the template.
    """

    def source(name: str) -> str:
        own = resources.files(package).joinpath(name)
        shared = resources.files("ekd.reporting").joinpath(name)
        return (own if own.is_file() else shared).read_text("utf-8")

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
