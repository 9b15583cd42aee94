"""Does liquid water keep its energy? pair_style ekd at constant energy, in both precisions.

python benchmarks/nve_drift.py [--model student.pt] [--write docs/pair_ekd_energy.md]

A box of water is minimized and equilibrated once, with a Langevin thermostat. From there it runs at
constant energy, once with `precision double` and once with `precision single`. The drift is the
slope of a line through the total energy. The model has to know the liquid: where molecules fall
apart, the temperature rises, and no time step is short enough.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded, here and in every rank

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure
from rich.console import Console

from common import machine
from ekd.errors import LammpsError
from ekd.evaluation.trajectories import Drift, energy_drift, intact_waters
from ekd.files import atomic_write
from ekd.inference import ExportedModel
from ekd.lammps.inputs import Run, write_data
from ekd.lammps.logs import read_dump_frame, read_thermo
from ekd.lammps.run import start
from ekd.lammps.structures import water_box
from ekd.reporting import style
from pair_style_runs import add_water_options, command, parse, table

BAR = 1e-5
"""Drift that a run must stay below, eV/atom/ps."""

DENSITY = 0.997  # g/cm³

N_SAMPLES = 1000

HEAD = """
units metal
atom_style atomic
atom_modify map yes
read_data {data}
pair_style ekd precision {precision}
pair_coeff * * model.pt O H
neighbor 1.0 bin
neigh_modify every 1 delay 0 check yes
timestep {timestep}
thermo {every}
thermo_style custom step time temp etotal
thermo_modify format float %.17g flush yes norm no
"""

EQUILIBRATE = """
minimize 0.0 0.05 100 500
reset_timestep 0
velocity all create {temperature} {seed} mom yes dist gaussian
fix bath all langevin {temperature} {temperature} 0.05 {seed} zero yes
fix integrate all nve
run {steps}
write_data equilibrated.data nocoeff
"""

CONSERVE = """
fix integrate all nve
run {steps}
write_dump all custom {precision}.dump id type x y z modify sort id
"""


@dataclass(frozen=True)
class Series:
    """Total energy of one run."""

    time: np.ndarray  # [n_samples] ps
    energy: np.ndarray  # [n_samples] eV/atom, from that of the first sample
    temperature: float  # mean, K
    intact: float  # share of the oxygen atoms that hold two hydrogen atoms at the end
    drift: Drift

    @property
    def fluctuation(self) -> float:
        """Standard deviation from the line, eV/atom."""
        line = self.drift.slope * (self.time - self.time.mean()) + self.energy.mean()
        return float((self.energy - line).std())


def equilibrate(folder: Path, options: argparse.Namespace) -> Atoms:
    """Write ``equilibrated.data``; returns the structure before."""
    atoms = water_box(options.molecules, DENSITY, seed=options.seed)
    write_data(folder / "water.data", atoms, ["O", "H"])
    _run(
        folder, "equilibration", "water.data", "double", EQUILIBRATE, options.equilibration, options
    )
    return atoms


def conserve(folder: Path, precision: str, atoms: Atoms, options: argparse.Namespace) -> Series:
    """Run at constant energy."""
    run = _run(
        folder, precision, "equilibrated.data", precision, CONSERVE, options.duration, options
    )
    thermo = read_thermo(run.log)[-1]
    frame = read_dump_frame(folder / f"{precision}.dump")
    final = atoms.copy()
    final.positions[:] = np.column_stack([frame[axis] for axis in "xyz"])
    return Series(
        time=thermo["Time"],
        energy=(thermo["TotEng"] - thermo["TotEng"][0]) / len(atoms),
        temperature=float(thermo["Temp"].mean()),
        intact=intact_waters(final),
        drift=energy_drift(thermo["Time"], thermo["TotEng"], len(atoms)),
    )


def _run(
    folder: Path,
    name: str,
    data: str,
    precision: str,
    body: str,
    duration: float,
    options: argparse.Namespace,
) -> Run:
    n_steps = max(1, round(duration / options.timestep))
    script = folder / f"{name}.in"
    script.write_text(
        (HEAD + body).format(
            data=data,
            precision=precision,
            timestep=options.timestep,
            every=max(1, n_steps // N_SAMPLES),
            temperature=options.temperature,
            seed=options.seed + 1,
            steps=n_steps,
        )
    )
    run = Run(script, n_steps)
    start(run, options.ranks, title=name)
    return run


def plot(series: dict[str, Series]) -> Figure:
    """Total energy against time."""
    figure = Figure(figsize=(7.0, 3.2), constrained_layout=True)
    axes = figure.subplots()
    for (name, found), color in zip(series.items(), (style.STUDENT, style.ENSEMBLE), strict=True):
        axes.plot(found.time, 1e6 * found.energy, lw=0.7, color=color, label=f"precision {name}")
        line = found.drift.slope * (found.time - found.time.mean()) + found.energy.mean()
        axes.plot(found.time, 1e6 * line, lw=1.6, color=color)
    axes.set(xlabel="time (ps)", ylabel="total energy − its start (µeV/atom)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def page(
    series: dict[str, Series],
    model: ExportedModel,
    n_atoms: int,
    options: argparse.Namespace,
    where: str,
) -> list[str]:
    """Lines of the Markdown page."""
    about = model.metadata
    rows = [
        [
            f"`precision {name}`",
            f"{found.drift.slope:+.1e}",
            f"{found.fluctuation:.1e}",
            f"{found.drift.max_deviation:.1e}",
            f"{found.temperature:.0f}",
            f"{100 * found.intact:.0f} %",
            "yes" if abs(found.drift.slope) < BAR else "**no**",
        ]
        for name, found in series.items()
    ]
    return [
        "# Energy conservation of pair_style ekd",
        "",
        f"{n_atoms:,} atoms of water at {DENSITY} g/cm³, time step "
        f"{1e3 * options.timestep:g} fs: {options.equilibration:g} ps with a Langevin",
        f"thermostat at {options.temperature:g} K, then {options.duration:g} ps at constant "
        "energy. Both precisions",
        "start from the same state.",
        f"Model: {about.model.get('description') or 'no description'}; "
        f"{about.n_interactions} interaction(s),",
        f"cutoff {about.cutoff} Å, {about.dtype}. Written by",
        f"`{command()}`",
        f"with {where}.",
        "",
        *table(
            [
                "run",
                "drift (eV/atom/ps)",
                "fluctuation (eV/atom)",
                "largest deviation (eV/atom)",
                "mean temperature (K)",
                "intact molecules",
                f"drift below {BAR:g}",
            ],
            rows,
        ),
        "",
        "The drift is the slope of a least-squares line through the total energy, the fluctuation",
        "is the standard deviation from that line, and the largest deviation is relative to the",
        "first step.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n", 1)[0], epilog=__doc__.split("\n\n", 2)[2]
    )
    add_water_options(parser)
    parser.add_argument("--molecules", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--timestep", type=float, default=0.00025, help="ps (default: 0.00025)")
    parser.add_argument("--equilibration", type=float, default=1.0, help="ps (default: 1)")
    parser.add_argument("--duration", type=float, default=5.0, help="ps (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of structure, velocities, thermostat")
    options = parse(parser)
    where = machine(["ekd", "torch", "lammps"]).splitlines()[1]
    model = ExportedModel(options.model)
    with tempfile.TemporaryDirectory(prefix="ekd-") as name:
        folder = Path(name)
        (folder / "model.pt").symlink_to(options.model.resolve())
        try:
            atoms = equilibrate(folder, options)
            series = {
                precision: conserve(folder, precision, atoms, options)
                for precision in ("double", "single")
            }
        except LammpsError as error:
            raise SystemExit(
                f"{error}\nIf molecules have fallen apart, the model does not know the liquid: "
                "name another one with --model"
            ) from None
    lines = page(series, model, len(atoms), options, where)
    Console().print("\n".join(lines), markup=False, soft_wrap=True)
    if options.write:
        image = options.write.with_suffix(".png")
        style.save(plot(series), image)
        lines += ["", f"![Total energy against time]({image.name})"]
        with atomic_write(options.write) as temporary:
            temporary.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
