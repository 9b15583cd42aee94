"""Runs of pair_style ekd in periodic water that are timed against each other."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from ase import Atoms

from ekd.config import HIPNNConfig
from ekd.export import export_model
from ekd.lammps.inputs import Run, write_data
from ekd.lammps.logs import read_thermo
from ekd.lammps.run import start
from ekd.lammps.structures import water_box
from ekd.models import HIPNN

SKIN = 1.0  # of the neighbour lists, Å

# The time step is so small that any weights leave water as it is; the list is rebuilt as often as
# in a liquid at 0.5 fs.
SCRIPT = f"""
units metal
atom_style atomic
atom_modify map yes
processors {{processors}}
read_data water.data
pair_style ekd ghosts {{ghosts}}
pair_coeff * * model.pt H O
neighbor {SKIN} bin
neigh_modify every 20 delay 0 check no
velocity all create 300 4711 loop geom
fix nve all nve
timestep 1e-6
thermo 1000
thermo_style custom step pe press
thermo_modify format float %.17g norm yes
run 2
run {{steps}}
"""

AGREEMENT = {"float64": 1e-9, "float32": 1e-4}
"""Largest differences between runs that are compared: energy (eV/atom), pressure (relative)."""


@dataclass(frozen=True)
class Network:
    """An architecture; its weights are random, for time does not depend on them."""

    name: str
    config: HIPNNConfig
    dtype: str

    def with_interactions(self, n: int) -> Network:
        """The same with another number of interactions."""
        return Network(self.name, self.config.model_copy(update={"n_interactions": n}), self.dtype)

    @property
    def description(self) -> str:
        """The numbers that its cost depends on."""
        c = self.config
        return (
            f"l = {c.l_max}, {c.n_features} features, {c.n_sensitivities} sensitivities, "
            f"{c.n_atom_layers} atom layer{'s' * (c.n_atom_layers > 1)}, cutoff {c.cutoff} Å, "
            f"{self.dtype}"
        )

    def export(self, path: Path) -> Path:
        """Write a model with random weights."""
        torch.manual_seed(0)
        network = HIPNN(self.config, [1, 6, 7, 8], [0.0] * 4)
        export_model(network, path, config=self.config, dtype=self.dtype)
        return path


def networks() -> dict[str, Network]:
    """A small student, and the size that is common elsewhere."""
    small = HIPNNConfig(l_max=1, n_atom_layers=1, n_features=32, n_sensitivities=16)
    large = HIPNNConfig(
        l_max=1,
        n_features=128,
        n_sensitivities=20,
        n_atom_layers=3,
        cutoff=6.5,
        soft_min=0.75,
        soft_max=5.5,
    )
    return {
        "small": Network("small", small, "float64"),
        "large": Network("large", large, "float32"),
    }


def water(repeats: tuple[int, int, int]) -> Atoms:
    """A periodic box of water at 0.997 g/cm³: cubes of 192 atoms, repeated along each axis."""
    return water_box(64, density=0.997).repeat(repeats)


@dataclass(frozen=True)
class Way:
    """How the same run can be made."""

    ghosts: str = "staged"
    n_ranks: int = 1
    n_threads: int = 1

    def __str__(self) -> str:
        return (
            f"{self.ghosts}, {self.n_ranks} rank{'s' * (self.n_ranks > 1)} × "
            f"{self.n_threads} thread{'s' * (self.n_threads > 1)}"
        )


@dataclass
class Timing:
    """What was found in the runs of one way."""

    seconds: list[float] = field(default_factory=list)
    """Per step, of each repetition."""
    energy: float = 0.0
    """eV/atom, after the last step."""
    pressure: float = 0.0
    """bar, after the last step."""
    n_ghosts: float = 0.0
    """Mean over the ranks."""

    @property
    def step(self) -> float:
        """Seconds per step, of the repetition that other processes disturbed least."""
        return min(self.seconds)


def prepare(folder: Path, network: Network, atoms: Atoms) -> None:
    """Write the model and the structure that the runs of a folder share."""
    folder.mkdir(parents=True, exist_ok=True)
    network.export(folder / "model.pt")
    write_data(folder / "water.data", atoms, ["H", "O"])


def compare_ways(
    folder: Path,
    network: Network,
    atoms: Atoms,
    ways: Sequence[Way],
    n_steps: int,
    n_repetitions: int,
    processors: str = "* * *",
    after_each: Callable[[], None] = lambda: None,
) -> dict[Way, Timing]:
    """Time several ways in turns, so that a slow minute of the machine hits all of them.

    Args:
        folder: where the runs are made.
        network: its random weights are the same in all runs.
        atoms: periodic water.
        ways: the first one is what the others are checked against.
        n_steps: steps that are timed, after two that are not.
        n_repetitions: runs of each way.
        processors: arguments of LAMMPS's command of that name.
        after_each: called after every run.

    Raises:
        SystemExit: two ways end with other energies or pressures.
        LammpsError: a run fails.
    """
    prepare(folder, network, atoms)
    timings = {way: Timing() for way in ways}
    for _ in range(n_repetitions):
        for way in ways:
            script = folder / "in.water"
            script.write_text(
                SCRIPT.format(processors=processors, ghosts=way.ghosts, steps=n_steps)
            )
            run = Run(script, n_steps)
            start(run, way.n_ranks, progress=False, n_threads=way.n_threads)
            _record(timings[way], run, n_steps)
            _require_agreement(way, timings[way], timings[ways[0]], network.dtype)
            after_each()
    return timings


def command() -> str:
    """The command that is running, without folders of this machine: for the page it writes."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table; all columns but the first are aligned to the right."""
    return [
        f"| {' | '.join(header)} |",
        "|" + "---|" + "---:|" * (len(header) - 1),
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]


def _record(timing: Timing, run: Run, n_steps: int) -> None:
    thermo = read_thermo(run.log)[-1]
    timing.energy, timing.pressure = thermo["PotEng"][-1], thermo["Press"][-1]
    for line in run.log.read_text().splitlines():
        words = line.split()
        if line.startswith("Loop time of"):  # the last one counts
            seconds = float(words[3]) / n_steps
        elif line.startswith("Nghost:"):
            timing.n_ghosts = float(words[1])
    timing.seconds.append(seconds)


def _require_agreement(way: Way, found: Timing, expected: Timing, dtype: str) -> None:
    differences = {
        "energy (eV/atom)": abs(found.energy - expected.energy),
        "pressure (relative)": abs(found.pressure / expected.pressure - 1),
    }
    for quantity, difference in differences.items():
        if not difference <= AGREEMENT[dtype]:
            raise SystemExit(
                f"{way}: {quantity} differs by {difference:.1e} from another way, allowed "
                f"{AGREEMENT[dtype]:.0e}: no comparison"
            )


def add_water_options(parser: argparse.ArgumentParser) -> None:
    """Options of all scripts that run water: the model, the temperature, ranks, the page."""
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("demo/student.pt"),
        help="exported model that knows H and O (default: %(default)s, which make demo writes)",
    )
    parser.add_argument("--temperature", type=float, default=300.0, help="K (default: 300)")
    parser.add_argument("--ranks", type=int, default=2, help="MPI ranks (default: 2)")
    parser.add_argument("--write", type=Path, help="Markdown file; the plot goes beside it")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line; a model that is not there is an error of it."""
    options = parser.parse_args()
    if not options.model.exists():
        parser.error(
            f"there is no model '{options.model}': run make demo, which writes demo/student.pt, or "
            "name another exported model with --model"
        )
    return options
