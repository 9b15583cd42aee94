"""Style of all plots: colors, fonts, axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ekd.files import atomic_write

TEACHER = "#8a9bb0"
ENSEMBLE = "#e08e2b"
STUDENT = "#0b6e99"
INK = "#22303c"
TARGET = "#b3392f"
DPI = 170
"""Sharp enough for a high-density screen."""
_OTHERS = ("#6a4c93", "#2a9d5c", "#c2528b", "#3d7dd8", "#8a6d3b", "#16a3a3", "#d1495b", "#5c6b7a")

STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6eaee",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


@contextmanager
def styled_axes(
    n_rows: int, n_columns: int, size: tuple[float, float]
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a styled figure that is independent of window systems and of the state of pyplot."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size)
        yield figure, list(figure.subplots(n_rows, n_columns, squeeze=False).flat)


def plain_log(axis: Axis) -> None:
    """Label a logarithmic axis with 50, 100, 200 instead of powers of ten.

    Over several decades, labels are 10, 100, 1000. Call this after the limits have been set.
    """
    low, high = axis.get_view_interval()
    wide = low > 0 and high / low > 1e2
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def colors_of(names: Sequence[str]) -> dict[str, str]:
    """Return a color for each model: fixed ones for teachers, ensemble and student."""
    known = {
        "single teacher": TEACHER,
        "teacher": TEACHER,
        "ensemble": ENSEMBLE,
        "student": STUDENT,
    }
    others = iter(_OTHERS * (len(names) // len(_OTHERS) + 1))
    return {name: known.get(name) or next(others) for name in names}
