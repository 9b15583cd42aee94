"""Plots of an evaluation. The functions return figures without showing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.evaluation.accuracy import above_minimum
from ekd.evaluation.calibration import spread_and_error
from ekd.evaluation.curves import Curve
from ekd.evaluation.evaluation_results import CalibrationRow, Evaluation
from ekd.evaluation.models import ModelPredictions
from ekd.evaluation.tables import Units, element_cells
from ekd.reporting.style import INK, colors_of, plain_log, styled_axes
from ekd.units import KCAL_PER_MOL

Array = NDArray[np.float64]

_MAX_DOTS = 20_000  # points of a scatter plot; more would overlap
_GREY = "#9aa5b1"


def model_colors(result: Evaluation) -> dict[str, str]:
    """Return the color of each row of the tables."""
    return colors_of(list(dict.fromkeys(row.model for row in result.rows)))


def errors(result: Evaluation) -> Figure:
    """Bars of the RMSE of relative energies, energies per atom and forces, for each dataset."""
    units, colors = Units.named(result.units), model_colors(result)
    panels = [
        (quantity, title)
        for quantity, title in (
            ("energy_per_atom", "Energy per atom"),
            ("relative_energy", "Conformer energies ΔE"),
            ("force", "Force components"),
        )
        if result.select(quantity=quantity)
    ]
    datasets = list(dict.fromkeys(row.dataset for row in result.rows))
    width = 0.84 / len(colors)
    few = len(datasets) * len(colors) <= 8  # panels are then side by side
    shape = (1, len(panels)) if few else (len(panels), 1)
    size = (max(3.1 * len(panels), 4.4), 2.8) if few else (9.6, 2.2 * len(panels) + 0.5)
    with styled_axes(*shape, size=size) as (figure, axes):
        for ax, (quantity, title) in zip(axes, panels, strict=True):
            for k, (model, color) in enumerate(colors.items()):
                values = {
                    row.dataset: units.factor * row.errors.rmse
                    for row in result.select(model=model, quantity=quantity)
                }
                places = [datasets.index(name) + (k + 0.5) * width - 0.42 for name in values]
                ax.bar(places, list(values.values()), width * 0.92, color=color, label=model)
            ax.set_xticks(range(len(datasets)), datasets, fontsize=8.5)
            ax.grid(axis="x", visible=False)
            ax.set(title=title, ylabel=f"RMSE ({units.of(quantity)})")
            ax.set_ylim(top=1.22 * ax.get_ylim()[1])  # room for the legend
        handles = {label: bar for ax in axes for bar, label in zip(*_legend(ax), strict=True)}
        axes[0].legend(handles.values(), handles.keys(), ncols=2 if few else 5, loc="upper left")
    return figure


def _legend(ax: Axes) -> tuple[list[Any], list[str]]:
    handles, labels = ax.get_legend_handles_labels()
    return handles, labels


def distributions(result: Evaluation, dataset: str) -> Figure:
    """Cumulative distribution of the errors of energies per atom and force components."""
    units, truth = Units.named(result.units), result.truths[dataset]
    colors = model_colors(result)
    panels: list[tuple[str, str, dict[str, Array]]] = []
    energies = {
        model.name: (found.energies - truth.energies) / truth.n_atoms_per_config
        for model in result.models
        if (dataset, model.name) in result.counting
        and (found := result.predictions[dataset, model.name])
    }
    if energies:
        panels.append(("energy", "Energy per atom", energies))
    if truth.forces is not None:
        true = truth.forces
        panels.append(
            (
                "force",
                "Force components",
                {
                    model.name: (result.predictions[dataset, model.name].forces - true).ravel()
                    for model in result.models
                },
            )
        )
    with styled_axes(1, max(1, len(panels)), size=(4.5 * max(1, len(panels)), 3.0)) as (
        figure,
        axes,
    ):
        for ax, (quantity, title, models) in zip(axes, panels, strict=False):
            for name, values in models.items():
                absolute = np.sort(units.factor * np.abs(values))
                shown = np.unique(np.linspace(0, len(absolute) - 1, 500).astype(int))
                share = 100 * (shown + 1) / len(absolute)
                ax.plot(np.maximum(absolute[shown], 1e-9), share, color=colors[name], label=name)
            smallest = min(np.percentile(np.abs(v), 2) for v in models.values()) * units.factor
            ax.set(
                title=title,
                xlabel=f"|error| ({units.of(quantity)})",
                ylabel="errors below (%)",
                xscale="log",
                ylim=(0, 101),
            )
            ax.set_xlim(left=max(smallest, 1e-6))
            plain_log(ax.xaxis)
            ax.legend(loc="lower right")
    return figure


def parity(result: Evaluation, dataset: str) -> Figure:
    """Predicted against true conformer energies and force components, for each model."""
    units, truth = Units.named(result.units), result.truths[dataset]
    colors = model_colors(result)
    names = [model.name for model in result.models][:4]
    n_rows = 1 if truth.forces is None else 2
    with styled_axes(n_rows, len(names), size=(max(2.6 * len(names), 3.4), 2.7 * n_rows)) as (
        figure,
        axes,
    ):
        for k, name in enumerate(names):
            found = result.predictions[dataset, name]
            offset = _group_means(truth, truth.energies)
            predicted_offset = offset
            if (dataset, name) not in result.counting:
                predicted_offset = _group_means(truth, found.energies)
            _parity_panel(
                axes[k],
                truth.energies - offset,
                found.energies - predicted_offset,
                colors[name],
                name,
                "eV",
                "energy − mean of molecule" if k == 0 else "",
                units,
            )
            if truth.forces is not None:
                _parity_panel(
                    axes[len(names) + k],
                    truth.forces.ravel(),
                    found.forces.ravel(),
                    colors[name],
                    "",
                    "eV/Å",
                    "force component" if k == 0 else "",
                    units,
                )
    return figure


def _parity_panel(
    ax: Axes,
    true: Array,
    predicted: Array,
    color: str,
    title: str,
    unit: str,
    quantity: str,
    units: Units,
) -> None:
    rmse = units.factor * float(np.sqrt(np.mean((predicted - true) ** 2)))
    error_unit = units.force if unit == "eV/Å" else units.energy
    if len(true) > _MAX_DOTS:
        chosen = np.random.default_rng(0).permutation(len(true))[:_MAX_DOTS]
        true, predicted = true[chosen], predicted[chosen]
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    pad = 0.04 * (high - low) or 1.0
    limits = (low - pad, high + pad)
    ax.plot(limits, limits, color=_GREY, lw=1, ls="--")
    label = f"RMSE {rmse:.3g} {error_unit}"
    ax.scatter(true, predicted, s=5, color=color, alpha=0.5, lw=0, label=label, rasterized=True)
    ax.set(title=title, xlim=limits, ylim=limits, aspect="equal", xlabel=f"true ({unit})")
    if quantity:
        ax.set_ylabel(f"{quantity}\npredicted ({unit})")
    ax.legend(loc="upper left", handletextpad=0.1, handlelength=0.8, fontsize=7.5, borderpad=0)


def _group_means(data: Dataset, values: Array) -> Array:
    _, inverse = np.unique(np.char.add(data.groups, data.formulas), return_inverse=True)
    inverse = inverse.reshape(-1)
    result: Array = (np.bincount(inverse, weights=values) / np.bincount(inverse))[inverse]
    return result


def elements(result: Evaluation, dataset: str) -> Figure:
    """Bars of the force RMSE on each element."""
    units, colors = Units.named(result.units), model_colors(result)
    symbols, cells = element_cells(result, dataset)
    width = 0.84 / max(len(cells), 1)
    with styled_axes(1, 1, size=(4.4, 3.0)) as (figure, (ax,)):
        for k, (model, rows) in enumerate(cells.items()):
            places = [symbols.index(s) + (k + 0.5) * width - 0.42 for s in rows]
            values = [units.factor * row.errors.rmse for row in rows.values()]
            ax.bar(places, values, width * 0.92, color=colors[model], label=model)
        ax.set_xticks(range(len(symbols)), symbols)
        ax.grid(axis="x", visible=False)
        ax.set(title="Forces, by element", ylabel=f"RMSE ({units.force})")
        ax.set_ylim(top=1.25 * ax.get_ylim()[1])
        ax.legend(ncols=2, loc="upper left")
    return figure


def by_height(result: Evaluation, dataset: str) -> Figure:
    """Error of the forces, or else of the energies, against the energy above the minimum."""
    units, truth = Units.named(result.units), result.truths[dataset]
    colors = model_colors(result)
    height = above_minimum(truth) / KCAL_PER_MOL
    bins = np.array_split(np.argsort(height, kind="stable"), max(1, min(12, len(truth) // 8)))
    with styled_axes(1, 1, size=(4.4, 3.0)) as (figure, (ax,)):
        for model in result.models:
            found = result.predictions[dataset, model.name]
            squares, label = _squares(truth, found, (dataset, model.name) in result.counting)
            if squares is None:
                continue
            ax.plot(
                [height[rows].mean() for rows in bins],
                [units.factor * np.sqrt(np.mean(squares[rows])) for rows in bins],
                "o-",
                ms=4,
                color=colors[model.name],
                label=model.name,
            )
        unit = units.force if truth.forces is not None else f"{units.energy}/atom"
        ax.set(
            title="Errors, by height above the minimum",
            xlabel="energy above the lowest conformer (kcal/mol)",
            ylabel=f"{label} RMSE ({unit})",
            ylim=(0, None),
        )
        ax.legend()
    return figure


def _squares(
    truth: Dataset, found: ModelPredictions, use_energies: bool
) -> tuple[Array | None, str]:
    """Return the mean square error of each configuration, and the name of the quantity."""
    if truth.forces is not None:
        per_atom = np.mean((found.forces - truth.forces) ** 2, axis=1)
        sums = np.bincount(truth.config_index, weights=per_atom, minlength=len(truth))
        return sums / truth.n_atoms_per_config, "force"
    if not use_energies:
        return None, "energy"
    return ((found.energies - truth.energies) / truth.n_atoms_per_config) ** 2, "energy"


def calibration(row: CalibrationRow, spread: Array, error: Array, unit_name: str) -> Figure:
    """Spread against error, the reliability diagram, and the error-retention curve."""
    units = Units.named(unit_name)
    unit = units.force if row.quantity == "force" else f"{units.energy}/atom"
    found, factor = row.result, units.factor
    color = "#0b6e99"
    with styled_axes(1, 3, size=(9.6, 3.1)) as (figure, (left, middle, right)):
        shown = (spread > 0) & (error > 0)
        spread, error = spread[shown], error[shown]
        if len(spread) > _MAX_DOTS:
            chosen = np.random.default_rng(0).permutation(len(spread))[:_MAX_DOTS]
            spread, error = spread[chosen], error[chosen]
        left.scatter(
            factor * spread, factor * error, s=5, alpha=0.35, lw=0, color=color, rasterized=True
        )
        text = "–" if found.spearman is None else f"{found.spearman:.2f}"
        left.set(
            title=f"Spearman {text}",
            xlabel=f"{row.estimate} ({unit})",
            ylabel=f"true error ({unit})",
            xscale="log",
            yscale="log",
        )
        if len(error):
            left.set_ylim(bottom=factor * np.percentile(error, 0.5))
        plain_log(left.xaxis)
        plain_log(left.yaxis)

        top = 1.06 * factor * max(found.spread_bins.max(), found.error_bins.max())
        middle.plot([0, top], [0, top], color=_GREY, lw=1, ls="--", label="an error bar")
        middle.plot(factor * found.spread_bins, factor * found.error_bins, "o-", color=color, ms=4)
        middle.set(
            title=f"Reliability, error/{row.estimate} {found.scale:.2f}",
            xlabel=f"{row.estimate}, RMS of bin ({unit})",
            ylabel=f"error, RMS of bin ({unit})",
            xlim=(0, top),
            ylim=(0, top),
        )
        middle.legend(loc="lower right")

        right.plot(
            100 * found.retained, factor * found.retention, color=color, label=f"by {row.estimate}"
        )
        right.plot(
            100 * found.retained,
            factor * found.retention_oracle,
            color=INK,
            ls=":",
            label="by true error",
        )
        right.axhline(factor * found.area_random, color=_GREY, lw=1, ls="--", label="at random")
        gain = found.retention_gain
        right.set(
            title="Retention" + ("" if gain is None else f", gain {100 * gain:.0f} %"),
            xlabel="kept, smallest first (%)",
            ylabel=f"RMS error of the kept ({unit})",
            xlim=(0, 100),
            ylim=(0, None),
        )
        right.legend(loc="upper left")
    return figure


def scans(curves: Sequence[Curve], unit_name: str) -> Figure:
    """All curves of one file, reference against models."""
    units = Units.named(unit_name)
    names = list(dict.fromkeys(name for curve in curves for name in curve.models))
    colors = colors_of(names)
    n_columns = min(3, len(curves))
    n_rows = -(-len(curves) // n_columns)
    size = (max(3.2 * n_columns, 4.6), 2.7 * n_rows + 0.2)
    with styled_axes(n_rows, n_columns, size=size) as (figure, axes):
        for ax, curve in zip(axes, curves, strict=False):
            for name, model in curve.models.items():
                values = units.factor * model.energies
                ax.plot(curve.x, values, color=colors[name], label=name)
                if model.std is not None:
                    band = units.factor * model.std
                    ax.fill_between(
                        curve.x, values - band, values + band, color=colors[name], alpha=0.18, lw=0
                    )
            reference = units.factor * curve.reference
            ax.plot(curve.x, reference, "o", color=INK, ms=3, label="reference", zorder=4)
            ax.set(title=curve.name, xlabel=curve.coordinate, ylabel=f"energy ({units.energy})")
            # A model with much too low energies must not compress the other curves.
            low, high = reference.min(), reference.max()
            room = (high - low) or 1.0
            bottom, top = ax.get_ylim()
            ax.set_ylim(max(bottom, low - room), min(top, high + room))
        for ax in axes[len(curves) :]:
            ax.set_visible(False)
        axes[0].legend(fontsize=8)
    return figure


def draw(result: Evaluation) -> Mapping[str, tuple[Figure, dict[str, Any]]]:
    """Draw all plots, by file name, with a description of each, in the order of the report."""
    figures: dict[str, tuple[Figure, dict[str, Any]]] = {}
    if result.rows:
        figures["errors"] = (errors(result), {"kind": "errors"})
    for k, (name, truth) in enumerate(result.truths.items()):
        shown: dict[str, Any] = {"dataset": name}
        figures[f"parity-{k}"] = parity(result, name), {"kind": "parity", **shown}
        has_errors = truth.forces is not None or any(d == name for d, _ in result.counting)
        if has_errors:
            figures[f"distribution-{k}"] = (
                distributions(result, name),
                {"kind": "distribution", **shown},
            )
        if truth.forces is not None:
            figures[f"elements-{k}"] = elements(result, name), {"kind": "elements", **shown}
        if len(truth) >= 16 and has_errors:
            figures[f"height-{k}"] = by_height(result, name), {"kind": "height", **shown}
    for k, row in enumerate(result.calibrations):
        pair = spread_and_error(
            result.truths[row.dataset],
            result.predictions[row.dataset, row.model],
            row.quantity,
            row.estimate,
        )
        figures[f"calibration-{k}"] = (
            calibration(row, *pair, result.units),
            {
                "kind": "calibration",
                "dataset": row.dataset,
                "model": row.model,
                "quantity": row.quantity,
                "estimate": row.estimate,
            },
        )
    for k, name in enumerate(dict.fromkeys(curve.dataset for curve in result.curves)):
        curves = [curve for curve in result.curves if curve.dataset == name]
        figures[f"scans-{k}"] = scans(curves[:12], result.units), {"kind": "scans", "dataset": name}
    return figures
