"""How pair_style ekd scales: two ranks against one, and staged exchange against wide ghosts.

python benchmarks/pair_style_parallel.py [--write docs/pair_ekd_parallel.md]

Runs that are compared take turns, and the shortest of each counts. They must end with the same
energy and pressure. Smaller and quicker, to see how it works:

python benchmarks/pair_style_parallel.py --repeats 1 --domains 1 --steps 2 --repetitions 1
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded, here and in every rank

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import warm_up
from common import machine
from domain_work import Work, count_work
from ekd.files import atomic_write
from ekd.reporting import style
from pair_style_runs import (
    SKIN,
    Network,
    Timing,
    Way,
    command,
    compare_ways,
    networks,
    table,
    water,
)

BAR = 0.85
"""Parallel efficiency that two ranks must reach."""

SAME = 0.03
"""Times that differ by less are called equal."""

COUNTS = 0.01
"""Largest relative difference between ghosts as counted here and by LAMMPS."""

WAYS = [
    Way(ghosts, n_ranks, n_threads)
    for ghosts in ("staged", "wide")
    for n_ranks, n_threads in ((1, 1), (2, 1), (1, 2))
]


# ---- two ranks against one ------------------------------------------------------------------


def efficiency(timings: dict[Way, Timing], way: Way) -> float:
    """T(1) / (n T(n)), n being ranks times threads."""
    alone = timings[Way(way.ghosts)]
    return alone.step / (way.n_ranks * way.n_threads * timings[way].step)


def efficiency_section(results: dict[Network, dict[Way, Timing]], n_atoms: int) -> list[str]:
    """A table in Markdown, and what it says."""
    lines = [
        "## Two ranks against one",
        "",
        f"{n_atoms:,} atoms of water, two interactions. Efficiency is the time of one rank with",
        "one thread, divided by ranks × threads × the time of the run.",
        "",
    ]
    rows = []
    for network, timings in results.items():
        for way, timing in timings.items():
            staged = timings[Way("staged", way.n_ranks, way.n_threads)]
            rows.append(
                [
                    f"{network.name}, {way}",
                    f"{1e3 * timing.step:.4g}",
                    f"{n_atoms / timing.step / 1e3:.3g}",
                    f"{efficiency(timings, way):.2f}",
                    f"{timing.step / staged.step:.2f}",
                ]
            )
    lines += table(["run", "ms/step", "katom-step/s", "efficiency", "× staged"], rows)
    lines.append("")
    for network, timings in results.items():
        two, wide = Way("staged", 2), Way("wide", 2)
        found = efficiency(timings, two)
        lines.append(
            f"- {network.name}: two ranks have an efficiency of {found:.2f}, "
            f"{'at least' if found >= BAR else '**less than**'} {BAR}; wide ghosts take "
            f"{timings[wide].step / timings[two].step:.2f} times as long."
        )
    return lines


# ---- staged against wide --------------------------------------------------------------------


@dataclass(frozen=True)
class Domain:
    """Staged and wide, on two ranks with so many atoms each."""

    n_interactions: int
    n_atoms: int  # of a rank
    staged: Work
    wide: Work
    staged_seconds: float
    wide_seconds: float

    @property
    def ratio(self) -> float:
        """Time with wide ghosts over that of staged exchange."""
        return self.wide_seconds / self.staged_seconds


def measure_domain(
    folder: Path,
    network: Network,
    repeats: int,
    options: argparse.Namespace,
    after_each: Callable[[], None],
) -> Domain:
    """Two cubic domains side by side, each of ``repeats``³ boxes of 192 atoms."""
    atoms = water((2 * repeats, repeats, repeats))
    ways = [Way("staged", 2), Way("wide", 2)]
    timings = compare_ways(
        folder,
        network,
        atoms,
        ways,
        options.steps,
        options.repetitions,
        processors="2 1 1",
        after_each=after_each,
    )
    config = network.config
    works = [
        count_work(atoms, 2, config.cutoff, SKIN, config.n_interactions, way.ghosts == "wide")
        for way in ways
    ]
    for way, work in zip(ways, works, strict=True):
        if not abs(work.n_ghosts / timings[way].n_ghosts - 1) <= COUNTS:
            raise SystemExit(
                f"{way}: LAMMPS has {timings[way].n_ghosts:.0f} ghosts on a rank, "
                f"{work.n_ghosts:.0f} were counted: the counts of this page would be wrong"
            )
    return Domain(
        n_interactions=config.n_interactions,
        n_atoms=len(atoms) // 2,
        staged=works[0],
        wide=works[1],
        staged_seconds=timings[ways[0]].step,
        wide_seconds=timings[ways[1]].step,
    )


def in_words(domains: Sequence[Domain]) -> list[str]:
    """Where wide ghosts win, if anywhere, and where they lose most: one sentence per number."""
    lines = []
    for n in sorted({domain.n_interactions for domain in domains}):
        mine = [domain for domain in domains if domain.n_interactions == n]
        wins = [domain for domain in mine if domain.ratio < 1 - SAME]
        draws = [domain for domain in mine if abs(domain.ratio - 1) <= SAME]
        losses = [domain for domain in mine if domain.ratio > 1 + SAME]
        parts = []
        if wins:
            best = min(wins, key=lambda domain: domain.ratio)
            parts.append(
                f"wide ghosts are faster with {_sizes(wins)} atoms on a rank, at best "
                f"{1 / best.ratio:.2f} times, with {best.n_atoms:,}"
            )
        if draws:
            parts.append(f"no difference with {_sizes(draws)}")
        if losses:
            worst = max(losses, key=lambda domain: domain.ratio)
            least = min(losses, key=lambda domain: domain.ratio)
            times = f"{worst.ratio:.2f} times"
            if least is not worst:
                times = f"{least.ratio:.2f} ({least.n_atoms:,}) to {times} ({worst.n_atoms:,})"
            parts.append(
                f"staged exchange is faster with {_sizes(losses)} atoms on a rank, {times}"
            )
        lines.append(f"- {n} interaction{'s' * (n > 1)}: {'; '.join(parts)}.")
    return lines


def _sizes(domains: Sequence[Domain]) -> str:
    return ", ".join(f"{n:,}" for n in sorted(domain.n_atoms for domain in domains))


def domain_section(network: Network, domains: Sequence[Domain]) -> list[str]:
    """A table in Markdown, and what it says."""
    rows = [
        [
            f"{d.n_interactions}, {d.n_atoms:,}",
            f"{d.staged.n_ghosts:,.0f}",
            f"{d.wide.n_ghosts:,.0f}",
            f"{d.staged.centres:,.0f}",
            f"{d.wide.centres:,.0f}",
            f"{d.staged.pairs / 1e3:,.1f}",
            f"{d.wide.pairs / 1e3:,.1f}",
            f"{d.wide.least_pairs / 1e3:,.1f}",
            f"{1e3 * d.staged_seconds:.4g}",
            f"{1e3 * d.wide_seconds:.4g}",
            f"{d.ratio:.2f}",
        ]
        for d in domains
    ]
    return [
        "## Staged exchange against wide ghosts",
        "",
        f"Two ranks with a cube of water each; network: {network.name}, with one to "
        f"{max(d.n_interactions for d in domains)} interactions.",
        "The columns show the centers and pairs that a rank evaluates in each interaction. With",
        "wide ghosts it evaluates all of them; *at least* counts only the pairs that an",
        "interaction needs, whose number decreases from one interaction to the next.",
        "",
        *table(
            [
                "interactions, atoms of a rank",
                "ghosts, staged",
                "wide",
                "centers, staged",
                "wide",
                "10³ pairs, staged",
                "wide",
                "wide, at least",
                "ms/step, staged",
                "wide",
                "wide / staged",
            ],
            rows,
        ),
        "",
        f"Summary (differences below {100 * SAME:.0f} % are ignored):",
        "",
        *in_words(domains),
    ]


def plot(domains: Sequence[Domain]) -> Figure:
    """Work and time with wide ghosts, relative to staged exchange."""
    figure = Figure(figsize=(8.4, 3.3), constrained_layout=True)
    work, time = figure.subplots(1, 2)
    colors = (style.STUDENT, style.ENSEMBLE, style.TARGET)
    for n, color in zip(sorted({d.n_interactions for d in domains}), colors, strict=False):
        mine = [d for d in domains if d.n_interactions == n]
        sizes = [d.n_atoms for d in mine]
        label = f"{n} interaction{'s' * (n > 1)}"
        work.plot(sizes, [d.wide.pairs / d.staged.pairs for d in mine], "o-", color=color)
        least = [d.wide.least_pairs / d.staged.pairs for d in mine]
        work.plot(sizes, least, "o:", color=color, mfc="white")
        time.plot(sizes, [d.ratio for d in mine], "o-", color=color, label=label)
    work.plot([], [], "o-", color=style.INK, label="evaluated")
    work.plot([], [], "o:", color=style.INK, mfc="white", label="at least")
    sizes = sorted({d.n_atoms for d in domains})
    for axes, title in ((work, "pairs"), (time, "time per step")):
        axes.axhline(1.0, color=style.INK, lw=1, ls="--")
        axes.set(
            xscale="log", yscale="log", xlabel="atoms of a rank", ylabel=f"{title}, wide / staged"
        )
        axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


# ---- the page -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Results:
    """Everything that the page shows."""

    scaling: dict[Network, dict[Way, Timing]]
    domains: list[Domain]
    first_steps: dict[Network, warm_up.WarmUp]


def measure(folder: Path, options: argparse.Namespace, bar: Progress) -> Results:
    """Make all runs."""
    n_cases = len(options.networks) * (len(WAYS) + len(warm_up.INTERACTIONS))
    n_cases += 2 * len(options.domains) * len(options.interactions)
    task = bar.add_task("", total=options.repetitions * n_cases)

    def advance() -> None:
        bar.advance(task)

    atoms = water((options.repeats,) * 3)
    scaling = {}
    for chosen in options.networks:
        network = networks()[chosen].with_interactions(2)
        bar.update(task, description=f"one and two ranks, {network.name}")
        scaling[network] = compare_ways(
            folder / network.name,
            network,
            atoms,
            WAYS,
            options.steps,
            options.repetitions,
            after_each=advance,
        )
    domains = []
    for n, repeats in itertools.product(options.interactions, options.domains):
        network = networks()[options.networks[0]].with_interactions(n)
        bar.update(task, description=f"{n} interaction(s), {192 * repeats**3} atoms")
        place = folder / f"domains-{n}-{repeats}"
        domains.append(measure_domain(place, network, repeats, options, advance))
    bar.update(task, description="the first steps")
    first_steps = warm_up.measure(
        folder / "first",
        options.networks,
        options.warm_up_repeats,
        options.repetitions,
        advance,
    )
    return Results(scaling, domains, first_steps)


def page(results: Results, options: argparse.Namespace, where: str) -> list[str]:
    """Lines of the Markdown page."""
    sizes = [[network.name, network.description] for network in results.scaling]
    lines = [
        "# pair_style ekd on one rank and on several",
        "",
        "Periodic water at 0.997 g/cm³, NVE in LAMMPS, neighbor list rebuilt every 20 steps. Times",
        f"are the minimum of {options.repetitions} run(s), which alternate with the runs that they "
        "are compared with.",
        "Weights are random, because times do not depend on them.",
        "",
        *table(["network", "size"], sizes),
        "",
        f"Written by `{command()}` on",
        *where.splitlines(),
        "",
        *efficiency_section(results.scaling, 192 * options.repeats**3),
        "",
        *domain_section(networks()[options.networks[0]], results.domains),
        "",
    ]
    if options.write:
        lines += [f"![Wide ghosts relative to staged exchange]({_image(options).name})", ""]
    return [
        *lines,
        "## The first steps",
        "",
        f"{192 * options.warm_up_repeats**3:,} atoms, one rank, one thread. The model has been "
        "evaluated",
        "before step 1: by its self-test, and by LAMMPS when it sets up the run. The table shows",
        f"the process with the smallest ratio out of {options.repetitions} for each network.",
        "",
        *warm_up.section(results.first_steps),
    ]


def _image(options: argparse.Namespace) -> Path:
    return options.write.with_suffix(".png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--repeats", type=int, default=4, help="192-atom boxes along each axis (default: 4)"
    )
    parser.add_argument(
        "--domains",
        type=int,
        nargs="+",
        default=[1, 2, 3, 4],
        help="the same for the domain of each rank, staged against wide (default: 1 2 3 4)",
    )
    parser.add_argument("--interactions", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=list(networks()),
        default=list(networks()),
        help="the first one also staged against wide (default: small large)",
    )
    parser.add_argument("--steps", type=int, default=20, help="that are timed (default: 20)")
    parser.add_argument("--repetitions", type=int, default=3, help="runs of each way (default: 3)")
    parser.add_argument(
        "--warm-up-repeats",
        type=int,
        default=2,
        help="192-atom boxes along each axis, for the first steps (default: 2)",
    )
    parser.add_argument("--write", type=Path, help="Markdown file; the plot goes beside it")
    options = parser.parse_args()
    where = machine(["ekd", "torch", "lammps"])
    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn())
    progress = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
    with tempfile.TemporaryDirectory(prefix="ekd-") as name, progress as bar:
        results = measure(Path(name), options, bar)
    lines = page(results, options, where)
    Console().print("\n".join(lines), markup=False, soft_wrap=True)
    if options.write:
        style.save(plot(results.domains), _image(options))
        with atomic_write(options.write) as temporary:
            temporary.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
