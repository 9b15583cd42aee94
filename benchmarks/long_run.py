"""A long run of liquid water: does it last, and does anything drift or grow?

python benchmarks/long_run.py --model student.pt [--write docs/long_run.md]

A box of water at constant temperature by pair_style ekd. Half of the time is one run of LAMMPS, the
other half another one, from the restart file of the first. Temperature, the conserved quantity of
the thermostat, whole molecules and closest contacts come from the log; the memory of the processes
is read from the operating system every few seconds.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded, here and in every rank

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from common import machine
from ekd.errors import LammpsError
from ekd.evaluation.trajectories import energy_drift
from ekd.files import atomic_write
from ekd.inference import ExportedModel
from ekd.lammps.inputs import Run, write_data
from ekd.lammps.logs import Table, last_step, read_speed, read_thermo
from ekd.lammps.run import start
from ekd.lammps.structures import water_box
from ekd.reporting import style
from pair_style_runs import add_water_options, command, parse, table

DENSITY = 0.997  # g/cm³
SECONDS_PER_SAMPLE = 2.0
BOND = 1.25
"""An oxygen atom holds the hydrogen atoms within this distance, Å."""

BEGIN = """
units metal
atom_style atomic
atom_modify map yes
read_data water.data
pair_style ekd
pair_coeff * * model.pt O H
"""

RELAX = """
minimize 0.0 0.05 100 500
reset_timestep 0
velocity all create {temperature} {seed} mom yes dist gaussian
"""

GO_ON = """
read_restart half.restart
"""

MOVE = """
group O type 1
group H type 2
compute held O coord/atom cutoff {bond} 2
variable whole atom c_held==2
compute whole O reduce ave v_whole
compute OO O pair/local dist
compute HH H pair/local dist
compute any all pair/local dist
compute nearest_OO O reduce min c_OO inputs local
compute nearest_HH H reduce min c_HH inputs local
compute nearest all reduce min c_any inputs local
fix bath all nvt temp {temperature} {temperature} 0.1
timestep {timestep}
neighbor 1.0 bin
neigh_modify every 1 delay 0 check yes
thermo {every}
thermo_style custom step time temp pe econserve press c_whole c_nearest_OO c_nearest_HH c_nearest
thermo_modify format float %.12g flush yes norm no
run {steps} upto
write_restart {restart}
"""


@dataclass
class Memory:
    """Resident memory of the processes of LAMMPS, in turn."""

    steps: list[int]
    mebibytes: list[float]  # the largest of a process

    @classmethod
    @contextmanager
    def watched(cls, log: Path):  # type: ignore[no-untyped-def]
        """Read it while the block runs."""
        found = cls([], [])
        done = threading.Event()

        def watch() -> None:
            while not done.wait(SECONDS_PER_SAMPLE):
                sizes = [size for size in map(_resident, _processes(log.parent)) if size]
                step = last_step(log)
                if sizes and step is not None:
                    found.steps.append(step)
                    found.mebibytes.append(max(sizes))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            done.set()
            thread.join()

    def growth(self) -> float:
        """From the second tenth of the run to its last, as a part of it."""
        tenth = max(1, len(self.mebibytes) // 10)
        early = np.median(self.mebibytes[tenth : 2 * tenth])
        return float(np.median(self.mebibytes[-tenth:]) / early - 1.0)


def _processes(folder: Path) -> list[int]:
    """Numbers of the processes called lmp that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().strip() == "lmp" and (
                entry / "cwd"
            ).resolve() == folder.resolve():
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended, or is not ours
    return found


def _resident(process: int) -> float:
    """Resident memory in MiB; 0: it has ended."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024.0
    except OSError:
        pass
    return 0.0


@dataclass
class Half:
    """What one run of LAMMPS left."""

    name: str
    thermo: Table
    memory: Memory
    atom_steps_per_second: float | None  # None: it broke off
    failure: str = ""


def run_half(folder: Path, name: str, begin: str, options: argparse.Namespace) -> Half:
    """Run one half; a run that breaks off is told as far as it came."""
    total = max(2, round(options.duration / options.timestep))
    steps = total // 2 if begin is not GO_ON else total
    script = folder / f"{name}.in"
    script.write_text(
        (begin + MOVE).format(
            temperature=options.temperature,
            seed=options.seed + 1,
            bond=BOND,
            timestep=options.timestep,
            every=max(1, round(options.sample / options.timestep)),
            steps=steps,
            restart="half.restart" if begin is not GO_ON else "end.restart",
        )
    )
    run = Run(script, steps)
    failure, speed = "", None
    with Memory.watched(run.log) as memory:
        try:
            start(run, options.ranks, title=name)
            speed = read_speed(run.log)
        except LammpsError as error:
            failure = str(error).splitlines()[0]
    return Half(name, read_thermo(run.log)[-1], memory, speed, failure)


def rows_of(half: Half, n_atoms: int, options: argparse.Namespace) -> list[list[str]]:
    """Rows of the table: a half in two parts."""
    thermo, rows = half.thermo, []
    n = len(thermo["Time"])
    for first, last in ((0, n // 2), (n // 2, n)):
        part = {name: column[first:last] for name, column in thermo.items()}
        if len(part["Time"]) < 2:
            continue
        drift = energy_drift(part["Time"], part["Econserve"], n_atoms).slope
        rows.append(
            [
                half.name,
                f"{part['Time'][0]:.0f} to {part['Time'][-1]:.0f}",
                f"{part['Temp'].mean():.1f} ± {part['Temp'].std():.1f}",
                f"{drift:+.1e}",
                f"{100 * part['c_whole'].mean():.1f} %",
                f"{part['c_nearest_OO'].min():.2f}",
                f"{part['c_nearest_HH'].min():.2f}",
                f"{part['c_nearest'].min():.2f}",
            ]
        )
    return rows


def plot(halves: list[Half], options: argparse.Namespace) -> Figure:
    """Everything against time."""
    figure = Figure(figsize=(7.0, 8.0), constrained_layout=True)
    axes = figure.subplots(4, 1, sharex=True)
    labels = (
        "temperature (K)",
        "conserved quantity\n− its start (meV/atom)",
        "closest contact (Å)",
        "resident memory of a rank (MiB)",
    )
    n_atoms = 3 * options.molecules
    for half in halves:
        thermo = half.thermo
        axes[0].plot(thermo["Time"], thermo["Temp"], lw=0.4, color=style.STUDENT)
        start_energy = halves[0].thermo["Econserve"][0]
        axes[1].plot(
            thermo["Time"],
            1e3 * (thermo["Econserve"] - start_energy) / n_atoms,
            lw=0.8,
            color=style.STUDENT,
        )
        for name, color, label in (
            ("c_nearest_OO", style.STUDENT, "O-O"),
            ("c_nearest_HH", style.ENSEMBLE, "H-H"),
            ("c_nearest", style.TEACHER, "any"),
        ):
            axes[2].plot(
                thermo["Time"],
                thermo[name],
                lw=0.4,
                color=color,
                label=label if half is halves[0] else None,
            )
        axes[3].plot(
            options.timestep * np.array(half.memory.steps),
            half.memory.mebibytes,
            lw=0.8,
            color=style.STUDENT,
        )
    for axis, label in zip(axes, labels, strict=True):
        axis.set_ylabel(label, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        if len(halves) > 1:
            axis.axvline(halves[1].thermo["Time"][0], color="0.6", lw=0.8, ls=":")
    axes[2].legend(frameon=False, ncols=3, fontsize=8)
    axes[3].set_ylim(bottom=0)
    axes[3].set_xlabel("time (ps); dotted: the restart")
    return figure


def page(halves: list[Half], model: ExportedModel, options: argparse.Namespace) -> list[str]:
    """Lines of the Markdown page."""
    about = model.metadata
    n_atoms = 3 * options.molecules
    reached = float(halves[-1].thermo["Time"][-1])
    lines = [
        "# A long run of liquid water",
        "",
        f"{n_atoms:,} atoms of water at {DENSITY} g/cm³ and {options.temperature:g} K "
        "(Nosé-Hoover),",
        f"time step {1e3 * options.timestep:g} fs, {options.ranks} MPI ranks, "
        f"{options.duration:g} ps asked for, {reached:.1f} ps reached.",
        f"Model: {about.model.get('description') or 'no description'}; "
        f"{about.n_interactions} interaction(s), cutoff {about.cutoff} Å, {about.dtype}.",
        f"Written by `{command()}`",
        f"with {machine(['ekd', 'torch', 'lammps']).splitlines()[1]}.",
        "",
        *table(
            [
                "run",
                "time (ps)",
                "temperature (K)",
                "drift (eV/atom/ps)",
                "whole molecules",
                "closest O-O (Å)",
                "closest H-H (Å)",
                "closest (Å)",
            ],
            [row for half in halves for row in rows_of(half, n_atoms, options)],
        ),
        "",
        "*Drift* is the slope of the conserved quantity of the thermostat. A molecule is *whole* "
        f"while its oxygen atom has two hydrogen atoms within {BOND} Å; the share is the mean over "
        "the samples.",
        "",
    ]
    for half in halves:
        if half.failure:
            lines.append(f"- The {half.name} broke off: {half.failure}")
        if len(half.memory.mebibytes) >= 20:
            lines.append(
                f"- Resident memory of a rank in the {half.name}: "
                f"{half.memory.mebibytes[-1]:.1f} MiB at the end, "
                f"{100 * half.memory.growth():+.2f} % since its second tenth."
            )
        if half.atom_steps_per_second:
            lines.append(
                f"- Speed of the {half.name}: {half.atom_steps_per_second:,.0f} atom-steps/s."
            )
    if len(halves) > 1:
        before, after = (h.thermo["PotEng"][k] for h, k in zip(halves, (-1, 0), strict=True))
        lines.append(
            "- The potential energy of the last step before the restart and of the first one "
            f"after it differ by {abs(after - before):.1e} eV."
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n", 1)[0], epilog=__doc__.split("\n\n", 2)[2]
    )
    add_water_options(parser)
    parser.add_argument("--molecules", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--timestep", type=float, default=0.0005, help="ps (default: 0.0005)")
    parser.add_argument("--duration", type=float, default=1000.0, help="ps (default: 1000)")
    parser.add_argument(
        "--sample", type=float, default=0.1, help="ps between samples (default: 0.1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of structure and velocities")
    parser.add_argument("--folder", type=Path, help="keep logs and restart files here")
    options = parse(parser)
    model = ExportedModel(options.model)
    with tempfile.TemporaryDirectory(prefix="ekd-") as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / "model.pt"
        link.unlink(missing_ok=True)
        link.symlink_to(options.model.resolve())
        atoms = water_box(options.molecules, DENSITY, seed=options.seed)
        write_data(folder / "water.data", atoms, ["O", "H"])
        halves = [run_half(folder, "first half", BEGIN + RELAX, options)]
        if not halves[0].failure:
            halves.append(run_half(folder, "second half", GO_ON, options))
    lines = page(halves, model, options)
    Console().print("\n".join(lines), markup=False, soft_wrap=True)
    if options.write:
        image = options.write.with_suffix(".png")
        style.save(plot(halves, options), image)
        lines += ["", f"![Temperature, conserved quantity, contacts, memory]({image.name})"]
        with atomic_write(options.write) as temporary:
            temporary.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
