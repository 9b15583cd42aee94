"""Models on a device in Python: `ExportedModel`, many structures in one call, `EKDCalculator`.

python benchmarks/gpu/part_python.py --device cuda
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from ekd.errors import EKDError
from ekd.inference import ExportedModel
from kit_models import path_of
from kit_structures import read
from paths import KIT
from records import median_seconds, tell


def measure_model(device: str, repeats: int, seconds: float) -> None:
    """One structure after the other, the list made by ekd."""
    arrays = read("water-375").repeated(repeats).arrays()
    moved = np.random.default_rng(0).normal(scale=0.01, size=(8, *arrays[1].shape))
    expected = None
    for where in ("cpu", device):
        model = ExportedModel(path_of(KIT, "student"), device=where, skin=0.5)
        results = model.evaluate(*arrays)
        forces = results.forces
        expected = forces if expected is None else expected
        off = float(np.abs(forces - expected).max() / np.abs(expected).max())
        step = iter(range(10**9))

        def evaluate(model: ExportedModel = model, step: object = step) -> None:
            numbers, positions, cell, pbc = arrays
            model.evaluate(numbers, positions + moved[next(step) % 8], cell, pbc)  # type: ignore[call-overload]

        took = median_seconds(evaluate, seconds)
        tell(
            "python",
            call="ExportedModel.evaluate",
            device=where,
            atoms=len(arrays[0]),
            seconds=took,
            steps_per_s=1.0 / took,
            largest=off,
            passed=off <= 1e-3,
        )


def measure_batch(device: str, n_structures: int, seconds: float) -> None:
    """Many molecules in one call."""
    numbers, positions, _, _ = read("molecule").arrays()
    moved = np.random.default_rng(0).normal(scale=0.01, size=(n_structures, *positions.shape))
    structures = [(numbers, positions + shift) for shift in moved]
    for where in ("cpu", device):
        model = ExportedModel(path_of(KIT, "student"), device=where)
        model.evaluate_batch(structures)
        took = median_seconds(lambda model=model: model.evaluate_batch(structures), seconds)
        tell(
            "python",
            call="ExportedModel.evaluate_batch",
            device=where,
            structures=n_structures,
            atoms=n_structures * len(numbers),
            seconds=took,
            structures_per_s=n_structures / took,
        )


def measure_calculator(device: str, repeats: int, seconds: float) -> None:
    """A step of MD as ASE asks for it."""
    from ase import Atoms

    from ekd.calculator import EKDCalculator

    numbers, positions, cell, pbc = read("water-375").repeated(repeats).arrays()
    for where in ("cpu", device):
        atoms = Atoms(numbers, positions, cell=cell, pbc=pbc)
        atoms.calc = EKDCalculator(path_of(KIT, "student"), device=where)
        atoms.get_forces()

        def step(atoms: Atoms = atoms) -> None:
            atoms.positions += 1e-4
            atoms.get_forces()

        took = median_seconds(step, seconds)
        tell(
            "python",
            call="EKDCalculator",
            device=where,
            atoms=len(atoms),
            seconds=took,
            steps_per_s=1.0 / took,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=2, help="of 375 atoms, along each axis")
    parser.add_argument("--structures", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    failed = []
    for measure, size in (
        (measure_model, options.repeats),
        (measure_batch, options.structures),
        (measure_calculator, options.repeats),
    ):
        try:
            measure(options.device, size, options.seconds)
        except (EKDError, ImportError) as error:
            reason = str(error).splitlines()[0]
            tell("python", call=measure.__name__, error=reason)
            failed.append(reason)
    print(*failed[:1])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
