"""Style of all plots: colors, fonts, axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
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
VECTOR_SUFFIXES = (".pdf", ".svg")
_MOST_VECTOR_POINTS = 2000
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
    """Write a figure as PNG, PDF or SVG, as the suffix says.

    In PDF and SVG, clouds of many points are images, so that the files stay small.
    """
    if path.suffix != ".png":
        for points in figure.findobj(PathCollection):
            points.set_rasterized(np.shape(points.get_offsets())[0] > _MOST_VECTOR_POINTS)
    no_date = {".png": None, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    with atomic_write(path) as temporary, matplotlib.rc_context({"svg.hashsalt": "ekd"}):
        figure.savefig(
            temporary, dpi=DPI, format=path.suffix[1:], metadata=no_date[path.suffix]
        )  # without a date: the same plot is the same file


def save_all(figures: Mapping[str, Figure], folder: Path, vector: bool = False) -> dict[str, Path]:
    """Write figures into a folder of plots, and remove those of earlier figures from it.

    Args:
        figures: by the name of the file without suffix.
        folder: made if it is missing.
        vector: write PDF and SVG files too.

    Returns:
        the PNG files by name.
    """
    written = {name: folder / f"{name}.png" for name in figures}
    kept = set(written.values())
    for name, figure in figures.items():
        save(figure, written[name])
        for suffix in VECTOR_SUFFIXES if vector else ():
            path = folder / f"{name}{suffix}"
            save(figure, path)
            kept.add(path)
    for suffix in (".png", *VECTOR_SUFFIXES):
        for old in set(folder.glob(f"*{suffix}")) - kept:
            old.unlink()
    return written


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
