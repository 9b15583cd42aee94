"""The data at a glance: four histograms, as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from ekd.elements import symbol
from ekd.preparation.analysis import Analysis

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_FILL, _OUTLIER = "#0b6e99", "#b3392f"


def draw(analysis: Analysis, min_distance: float, title: str, path: Path) -> None:
    """Draw residual energies, sizes, closest contacts and elements of all usable configurations."""
    good = ~analysis.unusable
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.0, 6.0), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, 2)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        far = analysis.energy_outliers[good]
        residuals = analysis.residuals[good]
        # Draw extreme outliers at the edge, or they would squeeze all others into one bar.
        low, high = (np.min(residuals[~far]), np.max(residuals[~far]))
        residuals = np.clip(residuals, 1.5 * low - 0.5 * high, 1.5 * high - 0.5 * low)
        title_energy = "Energy above the reference energies (eV/atom)"
        _histogram(axes[0, 0], residuals, title_energy, outliers=far)
        sizes = np.diff(analysis.offsets)[good]
        edges = np.arange(sizes.min(), sizes.max() + 2) - 0.5
        bins: Any = edges if len(edges) < 100 else 100
        _histogram(axes[0, 1], sizes.astype(np.float64), "Atoms per configuration", bins)
        contacts = analysis.contacts[good]
        finite = np.isfinite(contacts)
        close = (contacts < min_distance)[finite]
        _histogram(axes[1, 0], contacts[finite], "Closest contact (Å)", outliers=close)
        counts = analysis.composition[good].sum(axis=0)
        names = [symbol(int(number)) for number in analysis.elements]
        bars = axes[1, 1].bar(names, counts, color=_FILL)
        if len(names) <= 12:
            axes[1, 1].bar_label(bars, labels=[f"{count:,}" for count in counts], fontsize=8)
        axes[1, 1].set(title="Atoms of every element", ylabel="atoms")
        _logarithmic(axes[1, 1])
        figure.savefig(path, dpi=150)


def _histogram(
    axes: Axes,
    values: NDArray[np.float64],
    title: str,
    bins: Any = 100,
    outliers: NDArray[np.bool_] | None = None,
) -> None:
    if outliers is not None and outliers.any():
        parts, colors = [values[~outliers], values[outliers]], [_FILL, _OUTLIER]
        label = ["", "outliers (far ones at the edge)"]
        axes.hist(parts, bins=bins, color=colors, stacked=True, label=label)
        axes.legend(frameon=False)
    else:
        axes.hist(values, bins=bins, color=_FILL)
    axes.set(title=title, ylabel="configurations")
    _logarithmic(axes)


def _logarithmic(axes: Axes) -> None:
    """Set a logarithmic axis with plain numbers, from below one so a bar of one is visible."""
    axes.set_yscale("log")
    axes.set_ylim(0.5, 2 * axes.get_ylim()[1])
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,)))
    axes.yaxis.set_minor_formatter(NullFormatter())
