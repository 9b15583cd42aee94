"""Many molecules of 3 to 12 atoms: all in one call, against one call for each.

python benchmarks/run.py --only molecules

With neighbour lists, forces and virials, from `ase.Atoms` to results: ``evaluate_batch`` against
``evaluate`` and against the calculator of ASE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms
from ase.build import molecule

from ekd.calculator import EKDCalculator
from ekd.inference import ExportedModel
from suite.cases import SMALL, TWO, Case, cases, random_model
from suite.plan import Plan
from suite.records import DisagreementError, Message, Skipped, Status, compare
from suite.timing import shortest

MOLECULES = {3: "H2O", 6: "CH3OH", 9: "CH3CH2OH", 12: "C6H6"}

N_MOLECULES = 1000


def measure(plan: Plan) -> Iterator[Message]:
    for name in (SMALL, TWO):
        yield from _case(plan, cases()[name])


def _case(plan: Plan, case: Case) -> Iterator[Message]:
    name = f"molecules, {case.name}"
    model, _ = random_model(case.config, plan.folder / "molecules.pt")
    calculator = EKDCalculator(plan.folder / "molecules.pt")
    for size in plan.choose((3, 12), tuple(MOLECULES)):
        if size not in MOLECULES:
            sizes = ", ".join(map(str, MOLECULES))
            yield Skipped(name, size, plan.threads, "ekd", f"there are molecules of {sizes} atoms")
            continue
        yield Status(f"{case.name}, {N_MOLECULES:,} molecules of {size} atoms")
        calls = _calls(model, calculator, _molecules(MOLECULES[size]))
        for call in calls.values():
            call()
        times = shortest(calls, plan.seconds)
        rates = {key: N_MOLECULES / seconds / 1e3 for key, seconds in times.items()}
        yield from compare(
            name, size, plan.threads, "kstructures/s", rates.pop("evaluate_batch"), rates
        )


def _molecules(name: str) -> list[Atoms]:
    generator = np.random.default_rng(0)
    found = [molecule(name) for _ in range(N_MOLECULES)]
    for atoms in found:
        atoms.positions += 0.01 * generator.normal(size=atoms.positions.shape)
    return found


def _calls(
    model: ExportedModel, calculator: EKDCalculator, molecules: list[Atoms]
) -> dict[str, Callable[[], object]]:
    def together() -> object:
        return list(model.evaluate_batch(molecules))

    def alone() -> object:
        return [model.evaluate(a.numbers, a.positions, a.cell.array, a.pbc) for a in molecules]

    def by_calculator() -> None:
        moving = molecules[0].copy()
        moving.calc = calculator
        for atoms in molecules:
            moving.positions = atoms.positions
            moving.get_forces()

    for one, atoms in zip(model.evaluate_batch(molecules), molecules, strict=True):
        expected = model.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        if one.energy != expected.energy or not np.array_equal(one.forces, expected.forces):
            raise DisagreementError("a molecule among others has other results than alone")
    return {
        "evaluate_batch": together,
        "single calls of ExportedModel.evaluate": alone,
        "single calls of EKDCalculator": by_calculator,
    }
