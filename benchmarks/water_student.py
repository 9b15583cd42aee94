"""A student of a classical water, for measurements that need a liquid that lasts.

python benchmarks/water_student.py water_student.pt

The shipped data end at clusters of three molecules, and what is trained on them does not keep a
large box of water whole for long. Here LAMMPS runs SPC/Fw, a flexible water (Wu, Tepper and Voth,
J. Chem. Phys. 124, 024503 (2006); Coulomb forces damped and shifted to end at the cutoff), heated
from 200 to 800 K at three densities; a small network learns its energies
and forces.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset, split
from ekd.data.dataset import Provenance
from ekd.data.frames import read_frames
from ekd.lammps.inputs import Run
from ekd.lammps.logs import read_thermo
from ekd.lammps.run import start
from ekd.lammps.structures import water_box
from ekd.training.loop import train

DENSITIES = (0.95, 1.0, 1.05)  # g/cm³
CUTOFF = 5.5

SCRIPT = """
units real
atom_style full
bond_style harmonic
angle_style harmonic
pair_style lj/cut/coul/dsf 0.2 5.49 5.49
pair_modify shift yes
special_bonds lj/coul 0 0 0
read_data water.data
bond_coeff 1 529.581 1.012
angle_coeff 1 37.95 113.24
pair_coeff * * 0 3.165492
pair_coeff 1 1 0.1554253 3.165492
minimize 0 1e-2 500 5000
reset_timestep 0
velocity all create 200 4711 mom yes dist gaussian
timestep 0.5
thermo {every}
thermo_style custom step temp pe
thermo_modify format float %.12g
fix bath all nvt temp 200 800 50
dump frames all custom {every} frames.dump id type x y z fx fy fz
dump_modify frames sort id format float %.9g
run {steps}
"""

HEAD = """water

{atoms} atoms
{bonds} bonds
{angles} angles
2 atom types
1 bond types
1 angle types

0 {side} xlo xhi
0 {side} ylo yhi
0 {side} zlo zhi

Masses

1 15.999
2 1.008

Atoms

"""


def write_topology(path: Path, box: Atoms) -> None:
    """A LAMMPS data file with bonds and angles; molecules are O, H, H in turn."""
    n = len(box) // 3
    lines = [HEAD.format(atoms=3 * n, bonds=2 * n, angles=n, side=box.cell[0, 0])]
    for k, (number, position) in enumerate(zip(box.numbers, box.positions, strict=True)):
        kind, charge = (1, -0.82) if number == 8 else (2, 0.41)
        lines.append(f"{k + 1} {k // 3 + 1} {kind} {charge} {' '.join(map(str, position))}\n")
    lines.append("\nBonds\n\n")
    for m in range(n):
        lines.append(f"{2 * m + 1} 1 {3 * m + 1} {3 * m + 2}\n")
        lines.append(f"{2 * m + 2} 1 {3 * m + 1} {3 * m + 3}\n")
    lines.append("\nAngles\n\n")
    lines += [f"{m + 1} 1 {3 * m + 2} {3 * m + 1} {3 * m + 3}\n" for m in range(n)]
    path.write_text("".join(lines))


def classical_water(folder: Path, n_frames: int, seed: int) -> Dataset:
    """Boxes of 64 molecules with energies and forces of SPC/Fw."""
    kcal = 0.0433641153087705  # eV
    frames: list[Atoms] = []
    energies, forces = [], []
    every = 200
    for density in DENSITIES:
        box = water_box(64, density, seed=seed)
        part = folder / f"{density}"
        part.mkdir()
        write_topology(part / "water.data", box)
        n_steps = every * n_frames // len(DENSITIES)
        (part / "in.water").write_text(SCRIPT.format(every=every, steps=n_steps))
        run = Run(part / "in.water", n_steps)
        start(run, 1, progress=True)
        found = list(read_frames(part / "frames.dump", format="lammps-dump-text"))
        energies += list(kcal * read_thermo(run.log)[-1]["PotEng"][1:])
        for frame in found[1:]:
            forces.append(kcal * frame.get_forces())
            numbers = np.where(frame.numbers == 1, 8, 1)  # types 1 and 2
            frames.append(Atoms(numbers, frame.positions, cell=frame.cell, pbc=True))
    return Dataset(
        atomic_numbers=np.concatenate([frame.numbers for frame in frames]).astype(np.int64),
        positions=np.concatenate([frame.positions for frame in frames]),
        offsets=np.arange(len(frames) + 1) * len(frames[0]),
        energies=np.array(energies),
        groups=np.array(["water"] * len(frames)),
        provenance=Provenance("SPC/Fw", "", "SPC/Fw, damped shifted Coulomb forces", 0),
        forces=np.concatenate(forces),
        cells=np.array([frame.cell.array for frame in frames]),
        pbc=np.ones((len(frames), 3), dtype=bool),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("output", type=Path, help="exported student to write")
    parser.add_argument("--frames", type=int, default=150, help="boxes of 64 molecules")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = classical_water(Path(folder), options.frames, options.seed)
    learned, watched = split(data, 0.1, "configuration", 0)
    student = train(
        data,
        model=HIPNNConfig(
            l_max=1, n_atom_layers=1, n_features=32, n_sensitivities=16, cutoff=CUTOFF
        ),
        training=TrainingConfig(
            epochs=options.epochs,
            batch_size=2,
            energy_weight=0.05,
            optimizer="adam",
            learning_rate=1e-2,
        ),
        train_indices=learned,
        validation_indices=watched,
        # A box always has two H for each O: all of its energy is put on O.
        reference_energies={1: 0.0, 8: float(data.energies.mean()) / 64},
        seed=options.seed,
        labels=data.forces,
        report=lambda record: print(record, flush=True),
    )
    student.export(options.output, description="SPC/Fw, damped shifted Coulomb forces")
    print(f"done: {options.output}")


if __name__ == "__main__":
    main()
