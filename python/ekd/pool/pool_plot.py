"""A pool at a glance: six panels, as PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from ase import units
from ase.data import covalent_radii
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.errors import StructureError
from ekd.neighbor_list import batched_neighbor_list
from ekd.pool.pool_summary import Summary
from ekd.pool.selection import largest_forces

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_COLORS = {
    "data": "#5b6770",
    "molecule": "#111111",
    "rattled": "#0b6e99",
    "stretched": "#b3392f",
    "cluster": "#3f8f4f",
    "joined": "#7a9e3b",
    "md": "#d28b26",
}
_DROPPED = "#d5d9dc"
_TEMPERATURES = (1000, 3000)  # K
_SEARCH = 3.0  # Å; longer distances are not searched for


@dataclass(frozen=True, eq=False)
class Content:
    """The content of a pool to draw.

    Attributes:
        data: configurations that are kept, with forces, and kinds as groups.
        contacts: [n_configs] closest distance between molecules divided by the sum of their van der
            Waals radii; NaN: not a cluster.
        strain: [n_configs] energy relative to the undistorted molecules, eV/atom; NaN: unknown.
    """

    data: Dataset
    contacts: NDArray[np.float64]
    strain: NDArray[np.float64]


def draw(content: Content, summary: Summary, path: Path) -> None:
    """Draw counts, sizes, closest distances, forces and energies by kind of configuration."""
    data = content.data
    kinds = [kind for kind in summary.counts if (data.groups == kind).any()]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(11.0, 6.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, 3)
        title = f"{summary.n_configs:,} configurations, {summary.level_of_theory}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        _counts(axes[0, 0], summary)
        sizes = data.n_atoms_per_config.astype(np.float64)
        edges = np.linspace(sizes.min() - 0.5, sizes.max() + 0.5, int(np.ptp(sizes)) + 2)
        bins: Any = edges if len(edges) < 100 else 60
        _stacked(axes[0, 1], sizes, data, kinds, bins, "Atoms per configuration", "")
        energies = np.clip(content.strain, None, _upper(content.strain))
        _stacked(axes[0, 2], energies, data, kinds, 60, "Energy above the molecules", "eV/atom")
        _thermal(axes[0, 2], float(np.nanmax(energies, initial=0.0)))
        ratio = "over sum of covalent radii"
        _stacked(axes[1, 0], _closeness(data), data, kinds, 60, "Closest two atoms", ratio)
        ratio = "over sum of van der Waals radii"
        _stacked(axes[1, 1], content.contacts, data, kinds, 60, "Closest molecules", ratio)
        _stacked(axes[1, 2], largest_forces(data), data, kinds, 60, "Largest force", "eV/Å")
        axes[0, 1].legend(frameon=False, fontsize=8)
        figure.savefig(path, dpi=150, metadata={"Software": None})


def _counts(axes: Axes, summary: Summary) -> None:
    names = list(summary.counts)[::-1]
    kept = [summary.counts[name].kept for name in names]
    dropped = [summary.counts[name].made - summary.counts[name].kept for name in names]
    axes.barh(names, kept, color=[_COLORS[name] for name in names])
    bars = axes.barh(names, dropped, left=kept, color=_DROPPED)
    labels = [
        f"{n:,}" + (f" (+{out:,} dropped)" if out else "")
        for n, out in zip(kept, dropped, strict=True)
    ]
    axes.bar_label(bars, labels=labels, fontsize=8, padding=3)
    axes.set(title="Configurations by kind")
    axes.margins(x=0.45)


def _stacked(
    axes: Axes,
    values: NDArray[np.float64],
    data: Dataset,
    kinds: list[str],
    bins: Any,
    title: str,
    unit: str,
) -> None:
    """Draw a histogram with stacked kinds; NaN is left out."""
    parts = [values[(data.groups == kind) & np.isfinite(values)] for kind in kinds]
    if any(map(len, parts)):
        colors = [_COLORS[kind] for kind in kinds]
        axes.hist(parts, bins=bins, color=colors, label=kinds, stacked=True)
    axes.set(title=title, xlabel=unit, ylabel="configurations")


def _thermal(axes: Axes, end: float) -> None:
    """Draw lines at 3/2 kT, the potential energy per atom of a classical harmonic solid."""
    for temperature in _TEMPERATURES:
        energy = 1.5 * units.kB * temperature
        if energy < end:
            axes.axvline(energy, color="#111111", linewidth=0.7, linestyle=":")
            axes.text(
                energy, 0.97, f" {temperature} K", fontsize=7, transform=axes.get_xaxis_transform()
            )


def _upper(values: NDArray[np.float64]) -> float:
    """Upper end of the axis, so that a few extreme values do not squeeze all others."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, 0.995)) if len(finite) else 0.0


def _closeness(data: Dataset) -> NDArray[np.float64]:
    """Smallest distance divided by the sum of covalent radii, [n_configs]; NaN beyond 3 Å."""
    result = np.full(len(data), np.nan)
    try:
        found = batched_neighbor_list(data.positions, data.offsets, _SEARCH, data.cells, data.pbc)
    except StructureError:  # coincident atoms, which the calculator allowed
        return result
    first, second = found.pairs
    radii = covalent_radii[np.asarray(data.atomic_numbers)]
    ratios = np.linalg.norm(found.pair_vectors, axis=1) / (radii[first] + radii[second])
    closest = np.full(len(data), np.inf)
    np.minimum.at(closest, data.config_index[first], ratios)
    return np.where(np.isfinite(closest), closest, result)
