"""`pair_style ekd` on a device against the CPU: what it computes, and MD of water.

python benchmarks/gpu/part_lammps.py --device cuda --ranks 16 --atoms 98304
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kit_models import path_of
from kit_structures import Structure, read
from paths import BUILD, KIT, CannotError
from records import tell

# H and O as types 2 and 1: another order than that of the model.
_TYPES = {8: 1, 1: 2}

_INPUT = """
units metal
atom_style atomic
atom_modify map yes
newton {newton}
read_data water.data
replicate {repeat} {repeat} {repeat}
pair_style ekd energy total device {device} precision {precision}
pair_coeff * * {model} O H
neighbor 1.0 bin
neigh_modify every {rebuild} delay 0 check no
velocity all create 300 4711
fix nve all nve
timestep {step}
thermo_style custom step pe pxx pyy pzz pxy pxz pyz
thermo_modify format float %.17g norm no
thermo {every}
{body}
"""

# The time step is so small that any weights leave water as it is; the list is rebuilt as often as
# in a liquid at 0.5 fs.
_REBUILD = 20
_ALLOWED = {"double": 1e-9, "single": 1e-4}
"""Of the largest number of a kind, or of one."""


def write_data(path: Path, water: Structure) -> None:
    """A data file of atoms in a rectangular box."""
    side = [water.cell[d][d] for d in range(3)]
    lines = ["water", "", f"{len(water.numbers)} atoms", "2 atom types", ""]
    lines += [f"0 {side[d]!r} {axis}lo {axis}hi" for d, axis in enumerate("xyz")]
    lines += ["", "Masses", "", "1 15.999", "2 1.008", "", "Atoms # atomic", ""]
    for k, (number, place) in enumerate(zip(water.numbers, water.positions, strict=True)):
        wrapped = [x % edge for x, edge in zip(place, side, strict=True)]
        lines.append(f"{k + 1} {_TYPES[number]} " + " ".join(map(repr, wrapped)))
    path.write_text("\n".join(lines) + "\n")


def run(folder: Path, ranks: int, seconds: float, **settings: object) -> str:
    """What LAMMPS prints.

    Raises:
        CannotError: it has failed, or was not done in time.
    """
    text = _INPUT.format(**{"newton": "on", "rebuild": _REBUILD, "step": 1e-6, **settings})
    (folder / "in.water").write_text(text)
    command = [str(BUILD / "bin" / "lmp"), "-in", "in.water", "-log", "log", "-nocite"]
    if ranks > 1:
        command = [str(BUILD / "bin" / "mpirun"), "-n", str(ranks), *command]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise CannotError(f"LAMMPS was not done after {seconds:.0f} s") from None
    if done.returncode != 0:
        said = done.stdout + done.stderr
        errors = [line for line in said.splitlines() if "ERROR" in line] or said.splitlines()[-1:]
        raise CannotError(f"LAMMPS failed: {errors[0] if errors else 'it said nothing'}")
    return done.stdout


def _numbers(folder: Path, output: str) -> tuple[list[float], list[float]]:
    """Energy and pressures of the first step; forces by atom."""
    row = re.search(r"^\s*Step\s+PotEng.*\n\s*(.*)$", output, flags=re.MULTILINE)
    if row is None:
        raise CannotError("LAMMPS printed no energies")
    lines = (folder / "forces").read_text().splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("ITEM: ATOMS")) + 1
    forces = [float(word) for line in lines[start:] for word in line.split()[1:]]
    return [float(word) for word in row[1].split()[1:]], forces


def _difference(found: list[float], expected: list[float]) -> float:
    most = max(1.0, *(abs(number) for number in expected))
    return max(abs(a - b) for a, b in zip(found, expected, strict=True)) / most


def compare(device: str, ranks: list[int], tiny: bool) -> None:
    """Energies, pressures and forces on the device against those of one rank on the CPU."""
    body = (
        "dump forces all custom 1 forces id fx fy fz\n"
        "dump_modify forces sort id format float %.17g\nrun 0"
    )
    names = ["three-l2"] if tiny else ["one-l2", "three-l2", "committee"]

    def compare_one(name: str, precision: str) -> None:
        common = {"model": path_of(KIT, name), "precision": precision, "repeat": 1, "every": 1}
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_data(folder / "water.data", read("water-192"))
            said = run(folder, 1, 120, device="cpu", body=body, **common)
            expected = _numbers(folder, said)
            for n, newton in itertools.product(ranks, ("on", "off")):
                said = run(folder, n, 120, device=device, body=body, newton=newton, **common)
                found = _numbers(folder, said)
                off = [_difference(a, b) for a, b in zip(found, expected, strict=True)]
                tell(
                    "lammps check",
                    model=name,
                    precision=precision,
                    ranks=n,
                    newton=newton,
                    energy_and_pressure=off[0],
                    forces=off[1],
                    allowed=_ALLOWED[precision],
                    passed=max(off) <= _ALLOWED[precision],
                )

    cases = list(itertools.product(names, ("double", "single")))
    with ThreadPoolExecutor(1 if tiny else 4) as pool:
        for _ in pool.map(lambda case: compare_one(*case), cases):
            pass


def rate(device: str, ranks: int, repeat: int, n_steps: int, seconds: float) -> None:
    """MD of water with the default student, whole cycles of the neighbour list."""
    water = read("water-192")
    body = f"run {_REBUILD}\nrun {n_steps}"
    common = {"model": path_of(KIT, "student"), "precision": "single", "every": n_steps}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_data(folder / "water.data", water)
        said = run(folder, ranks, seconds, device=device, body=body, repeat=repeat, **common)
    last = re.findall(r"Loop time of (\S+) on", said)[-1]
    n_atoms = len(water.numbers) * repeat**3
    tell(
        "lammps rate",
        device=device,
        ranks=ranks,
        atoms=n_atoms,
        steps=n_steps,
        seconds=float(last),
        atom_steps_per_s=n_atoms * n_steps / float(last),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--ranks", type=int, default=16, help="of MD on the CPU")
    parser.add_argument("--repeat", type=int, default=8, help="of 192 atoms, along each axis")
    parser.add_argument("--tiny", action="store_true", help="to try this without a GPU")
    parser.add_argument("--only", choices=("compare", "rates"))
    options = parser.parse_args()
    failed: CannotError | None = None
    if options.only != "rates":
        try:
            compare(options.device, [2] if options.tiny else [1, 2, 4], options.tiny)
        except CannotError as error:
            failed = error
    if options.only != "compare":
        steps = _REBUILD if options.tiny else 200
        runs = [(options.device, 1), ("cpu", options.ranks)]
        for device, ranks in runs if options.tiny else [*runs, (options.device, 4)]:
            try:
                rate(device, ranks, options.repeat, steps, 60)
            except CannotError as error:
                tell("lammps rate", device=device, ranks=ranks, error=str(error))
                failed = error
    if failed is not None:
        print(failed)
    return 0 if failed is None else 1


if __name__ == "__main__":
    sys.exit(main())
