"""Pictures of the records: rates against size, and ratios to the peers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from suite.records import Record
from suite.targets import TARGETS

MATRIX_UNIT = "GFLOP/s"
"""Of fractions of the matrix rate: no rate of work done, and drawn only against its target."""


def curves(records: Iterable[Record]) -> dict[tuple[str, str], dict[str, dict[int, float]]]:
    """Values by size, of everything that was measured at several sizes.

    Returns:
        ``{(measure, unit): {name: {size: value}}}``, rates of ekd and its peers alone.
    """
    found: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for record in records:
        if not record.unit.endswith("/s") or record.unit == MATRIX_UNIT:
            continue
        lines = found.setdefault((record.measure, record.unit), {})
        suffix = f", {record.threads} thread{'s' if record.threads > 1 else ''}"
        lines.setdefault(f"ekd{suffix}", {})[record.size] = record.ekd
        if record.peer is not None and record.peer_value is not None:
            lines.setdefault(record.peer + suffix, {})[record.size] = record.peer_value
    return {
        key: lines
        for key, lines in found.items()
        if any(len(values) > 1 for values in lines.values())
    }


def bars(records: Iterable[Record]) -> list[tuple[str, float, float | None]]:
    """Ratios to peers: label, ratio, target.

    One for each measure and peer: that of the target, or else of the most threads and atoms.
    """
    chosen: dict[tuple[str, str], tuple[tuple[bool, int, int], Record, float | None]] = {}
    for record in records:
        if record.peer is None or record.ratio is None:
            continue
        bound = next((t.bound for t in TARGETS if t.peer and t.matches(record)), None)
        if record.unit == MATRIX_UNIT and bound is None:
            continue
        rank = (bound is not None, record.threads, record.size)
        key = (record.measure, record.peer)
        if key not in chosen or rank > chosen[key][0]:
            chosen[key] = (rank, record, bound)
    return [
        (
            f"{record.measure}\nto {record.peer}, {record.size:,}, {record.threads} thread"
            + ("s" if record.threads > 1 else ""),
            record.ratio or 0.0,
            bound,
        )
        for _, record, bound in chosen.values()
    ]


def plot_rates(records: Iterable[Record], path: Path) -> bool:
    """Draw :func:`curves`; returns whether there was anything to draw."""
    found = curves(records)
    if not found:
        return False
    plt = _pyplot()
    from matplotlib.ticker import LogLocator

    columns = min(2, len(found))
    lines = -(-len(found) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(6.5 * columns, 4 * lines), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(found) :]:
        axis.remove()
    for axis, ((measure, unit), curve) in zip(axes.flat, found.items(), strict=False):
        for name, values in curve.items():
            sizes = sorted(values)
            ours = name.startswith("ekd")
            axis.loglog(
                sizes,
                [values[size] for size in sizes],
                "o-" if ours else "s--",
                linewidth=2 if ours else 1,
                label=name,
            )
        axis.set(title=measure, xlabel="atoms", ylabel=unit)
        axis.margins(y=0.25)
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_formatter("{x:g}")
            scale.set_minor_formatter("")
            scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.grid(alpha=0.3)
        axis.legend(fontsize="x-small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def plot_ratios(records: Iterable[Record], path: Path) -> bool:
    """Draw :func:`bars`; returns whether there was anything to draw."""
    found = bars(records)
    if not found:
        return False
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(9, 1 + 0.45 * len(found)), layout="constrained")
    places = range(len(found))
    values = [ratio for _, ratio, _ in found]
    colors = [
        "tab:gray" if bound is None else "tab:blue" if ratio >= bound else "tab:red"
        for _, ratio, bound in found
    ]
    drawn = axis.barh(places, values, color=colors)
    axis.bar_label(drawn, fmt="%.2g×", padding=3, fontsize="small")
    for place, (_, _, bound) in zip(places, found, strict=True):
        if bound is not None:
            axis.plot([bound, bound], [place - 0.45, place + 0.45], color="black", linewidth=2)
    axis.axvline(1, color="gray", linewidth=1)
    axis.set_xscale("log")
    axis.set_yticks(places, [label for label, _, _ in found], fontsize="x-small")
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.set_xlabel("rate of ekd / rate of the peer (black: target; gray: none)")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def _pyplot():
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt
