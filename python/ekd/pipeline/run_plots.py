"""Plots of the report of a run. The functions return figures without showing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ekd.evaluation.metrics import Metrics, mean
from ekd.reporting.style import ENSEMBLE, INK, STUDENT, TARGET, TEACHER, plain_log, styled_axes

Array = NDArray[np.float64]


def accuracy(teachers: Sequence[Metrics], ensemble: Metrics, student: Metrics) -> Figure:
    """Bars of the RMSE of energy and forces, with the mean teacher as a line."""
    panels = [
        ("energy_rmse", "Energy RMSE (meV)"),
        ("force_rmse", "Force RMSE (meV/Å)"),
    ]
    panels = [panel for panel in panels if getattr(student, panel[0]) is not None]
    with styled_axes(1, len(panels), size=(9.0, 2.6)) as (figure, axes):
        for ax, (name, label) in zip(axes, panels, strict=True):
            n = len(teachers)
            places = [*range(n), n + 0.6, n + 2.2]  # room for the two long names
            colors = [TEACHER] * n + [ENSEMBLE, STUDENT]
            names = [f"T{i}" for i in range(n)] + ["ensemble", "student"]
            entries = [getattr(entry, name) for entry in (*teachers, ensemble, student)]
            # Energies at another level of theory have no error.
            known = [i for i, value in enumerate(entries) if value is not None]
            places, colors, names = (
                [column[i] for i in known] for column in (places, colors, names)
            )
            values = [1e3 * entries[i] for i in known]
            bars = ax.bar(places, values, color=colors, width=0.76)
            ax.bar_label(bars, fmt="%.0f", padding=-13, fontsize=8, color="white", zorder=4)
            reference = getattr(mean(teachers), name)
            if reference is not None:
                text = f"mean teacher {1e3 * reference:.1f}"
                ax.axhline(1e3 * reference, color=INK, lw=1, ls="--", zorder=0.9, label=text)
                ax.legend(loc="upper right")
            ax.set_xticks(places, names, fontsize=8.5)
            ax.grid(axis="x", visible=False)
            ax.set(title=label, ylim=(0, 1.3 * max(values)))
    return figure


def learning_curves(
    teachers: Sequence[Mapping[str, Array]], students: Sequence[Mapping[str, Array]]
) -> Figure:
    """Validation errors by epoch: energies of all models, forces of the student (vs. labels).

    Args:
        teachers: history columns by name, for each teacher.
        students: history columns by name, for the student or each student of a committee.
    """
    name = "student" if len(students) == 1 else f"{len(students)} students"
    with styled_axes(1, 2, size=(9.0, 3.2)) as (figure, (left, right)):
        for i, history in enumerate(teachers):
            label = f"{len(teachers)} teachers" if i == 0 else None
            _curve(left, history, "validation_energy_rmse", TEACHER, label, lw=1.0)
        for i, student in enumerate(students):
            first = i == 0  # one entry in the legend for all
            label = name if first else None
            _curve(left, student, "validation_energy_rmse", STUDENT, label)
            label = f"{name}, training" if first else None
            _curve(right, student, "force_rmse", STUDENT, label, lw=1.0, ls=":")
            label = f"{name}, validation" if first else None
            _curve(right, student, "validation_force_rmse", STUDENT, label)
        left.set(
            title="Energy, validation",
            xlabel="epoch",
            ylabel="RMSE (meV)",
            yscale="log",
        )
        right.set(
            title="Forces against the teachers' mean",
            xlabel="epoch",
            ylabel="RMSE (meV/Å)",
            yscale="log",
        )
        for ax in (left, right):
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            plain_log(ax.yaxis)
            if ax.lines:
                ax.legend()
    return figure


def training_curves(
    histories: Sequence[Mapping[str, Array]], name: str, color: str = TEACHER
) -> Figure:
    """Training and validation errors by epoch; including forces if they were trained on.

    Args:
        histories: history columns by name, for each model.
        name: name of the models.
        color: color of the curves.
    """
    panels = [("energy", "Energy", "meV"), ("force", "Forces against the labels", "meV/Å")]
    panels = [
        panel
        for panel in panels
        if any(np.isfinite(history[f"{panel[0]}_rmse"]).any() for history in histories)
    ]
    with styled_axes(1, len(panels), size=(4.5 * len(panels), 3.2)) as (figure, axes):
        for ax, (quantity, title, unit) in zip(axes, panels, strict=True):
            for i, history in enumerate(histories):
                labels = (f"{name}, training", f"{name}, validation") if i == 0 else (None, None)
                _curve(ax, history, f"{quantity}_rmse", color, labels[0], lw=1.0, ls=":")
                _curve(ax, history, f"validation_{quantity}_rmse", color, labels[1])
            ax.set(title=title, xlabel="epoch", ylabel=f"RMSE ({unit})", yscale="log")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            plain_log(ax.yaxis)
            ax.legend()
    return figure


def energy_parity(
    true: Array, groups: NDArray[np.str_], predictions: Mapping[str, Sequence[Array]]
) -> Figure:
    """Predicted against true energy, both relative to the mean true energy of the same group.

    Total energies are dominated by the composition. Without it, differences between conformations
    are visible, which are relevant for dynamics.

    Args:
        true: true energies, [n_configs] eV.
        groups: name of the molecule or cluster, [n_configs].
        predictions: energies of one or more models for each panel; panels without are omitted.
    """
    _, inverse = np.unique(groups, return_inverse=True)
    means = np.bincount(inverse, weights=true) / np.bincount(inverse)
    offset = means[inverse]
    shifted = {
        name: [values - offset for values in all_] for name, all_ in predictions.items() if all_
    }
    return _parity(true - offset, shifted, "energy − mean of its formula", "eV", "meV", size=14)


def force_parity(true: Array, predictions: Mapping[str, Sequence[Array]]) -> Figure:
    """Predicted against true force components.

    Args:
        true: true forces, [n_atoms, 3] eV/Å.
        predictions: forces of one or more models for each panel.
    """
    flat = {name: [values.ravel() for values in all_] for name, all_ in predictions.items()}
    return _parity(true.ravel(), flat, "force component", "eV/Å", "meV/Å", size=5)


def force_spread(error: Array, spread: Array) -> Figure:
    """Error of the mean force of each atom against the spread of the teachers.

    Args:
        error: root mean square error over the components, [n_atoms] eV/Å.
        spread: standard deviation of a component, [n_atoms] eV/Å.
    """
    figure, ax = _cloud(spread, error, ENSEMBLE, "error = spread")
    ax.set(
        title="Error against spread",
        xlabel="spread of the teachers (meV/Å)",
        ylabel="error of their mean (meV/Å)",
    )
    return figure


def learned_uncertainty(targets: Sequence[Array], learned: Sequence[Array], name: str) -> Figure:
    """Targets of the students' uncertainty against its predictions, for each atom.

    Args:
        targets: target of a force component for each student, [n_atoms] eV/Å.
        learned: predicted uncertainty of each student, [n_atoms] eV/Å.
        name: name of the targets.
    """
    told, wanted = np.concatenate(learned), np.concatenate(targets)
    figure, ax = _cloud(told, wanted, STUDENT, "uncertainty = target")
    ax.set(
        title="Target against uncertainty",
        xlabel="uncertainty of the student (meV/Å)",
        ylabel=f"{name} (meV/Å)",
    )
    return figure


def nve_energy(time: Array, total_energy: Array, n_atoms: int, slope: float) -> Figure:
    """Total energy of a run at constant energy, with the fitted drift.

    Args:
        time: time, [n_samples] ps.
        total_energy: total energy, [n_samples] eV.
        n_atoms: number of atoms.
        slope: fitted drift, eV/atom/ps.
    """
    deviation = 1e6 * (total_energy - total_energy[0]) / n_atoms
    line = 1e6 * slope * (time - time.mean()) + deviation.mean()
    with styled_axes(1, 1, size=(4.4, 3.0)) as (figure, (ax,)):
        ax.plot(time, deviation, color=STUDENT, lw=0.7)
        ax.plot(time, line, color=TARGET, lw=1.4)
        ax.set(
            title=f"Total energy, drift {1e6 * slope:+.2g} µeV/atom/ps",
            xlabel="time (ps)",
            ylabel="E − E(0) (µeV/atom)",
        )
    return figure


def temperature(
    time: Array,
    values: Array,
    target: float | None,
    title: str,
    equilibration: float | None = None,
) -> Figure:
    """Temperature along a run.

    Args:
        time: time, [n_samples] ps.
        values: temperature, [n_samples] K.
        target: target temperature, K; None: show the mean.
        title: title of the plot.
        equilibration: end of the equilibration, ps.
    """
    with styled_axes(1, 1, size=(4.4, 3.0)) as (figure, (ax,)):
        ax.plot(time, values, color=STUDENT, lw=0.8)
        level, label = (values.mean(), "mean ") if target is None else (target, "")
        ax.axhline(level, color=INK, lw=1, ls="--", label=f"{label}{level:.0f} K")
        if equilibration is not None:
            ax.axvspan(time[0], equilibration, color="#eef1f4", lw=0, label="equilibration")
        ax.set(title=title, xlabel="time (ps)", ylabel="temperature (K)", ylim=(0, None))
        ax.legend()
    return figure


def radial_distribution(r: Array, g: Array) -> Figure:
    """O-O radial distribution function.

    Args:
        r: distance, [n_bins] Å.
        g: g(r), [n_bins].
    """
    with styled_axes(1, 1, size=(4.4, 3.0)) as (figure, (ax,)):
        ax.plot(r, g, color=STUDENT)
        ax.axhline(1, color="#9aa5b1", lw=1, ls="--")
        ax.set(
            title="O–O g(r), liquid water",
            xlabel="r (Å)",
            ylabel="g(r)",
            ylim=(0, None),
        )
        ax.set_xlim(0, r.max())
    return figure


def _curve(
    ax: Axes,
    history: Mapping[str, Array],
    name: str,
    color: str,
    label: str | None,
    **style: Any,
) -> None:
    if name in history and np.isfinite(history[name]).any():
        ax.plot(history["epoch"], 1e3 * history[name], color=color, label=label, **style)


def _cloud(x: Array, y: Array, color: str, equal: str) -> tuple[Figure, Axes]:
    """Two positive quantities of the atoms on logarithmic axes, with the trend and y = x.

    Args:
        x: first quantity, [n_atoms] eV/Å.
        y: second quantity, [n_atoms] eV/Å.
        color: color of the points.
        equal: label of the diagonal.
    """
    with styled_axes(1, 1, size=(4.4, 3.4)) as (figure, (ax,)):
        ax.scatter(1e3 * x, 1e3 * y, s=6, color=color, alpha=0.5, lw=0, rasterized=True)
        # Medians of bins with equal counts show the trend.
        bins = np.array_split(np.argsort(x), min(10, len(x)))
        ax.plot(
            [1e3 * np.median(x[rows]) for rows in bins],
            [1e3 * np.median(y[rows]) for rows in bins],
            "o-",
            color=INK,
            ms=4,
            lw=1,
            label="median",
        )
        ax.axline((0, 0), slope=1, color="#9aa5b1", lw=1, ls="--", label=equal)
        ax.set(xscale="log", yscale="log")
        plain_log(ax.xaxis)
        plain_log(ax.yaxis)
        ax.legend(loc="lower right")
    return figure, ax


def _parity(
    true: Array,
    predictions: Mapping[str, Sequence[Array]],
    quantity: str,
    unit: str,
    error_unit: str,
    size: float,
) -> Figure:
    everything = np.concatenate(
        [true, *(values for all_ in predictions.values() for values in all_)]
    )
    low, high = everything.min(), everything.max()
    pad = 0.04 * (high - low)
    limits = (low - pad, high + pad)
    colors = (TEACHER, ENSEMBLE, STUDENT)  # if panels are omitted, it is the first ones
    with styled_axes(1, len(predictions), size=(9.0, 3.4)) as (figure, axes):
        for ax, (name, models), color in zip(
            axes, predictions.items(), colors[-len(predictions) :], strict=True
        ):
            rmse = np.mean([np.sqrt(np.mean((values - true) ** 2)) for values in models])
            label = f"RMSE {1e3 * rmse:.1f} {error_unit}" + (" (mean)" if len(models) > 1 else "")
            ax.plot(limits, limits, color="#9aa5b1", lw=1, ls="--")
            ax.scatter(
                np.tile(true, len(models)),
                np.concatenate(models),
                s=size,
                color=color,
                alpha=0.6,
                lw=0,
                label=label,
                rasterized=True,
            )
            ax.set(
                title=name,
                xlim=limits,
                ylim=limits,
                aspect="equal",
                xlabel=f"true ({unit})",
            )
            ax.legend(loc="upper left", handletextpad=0.1, markerscale=2)
        axes[0].set_ylabel(f"{quantity}\npredicted ({unit})")
    return figure
