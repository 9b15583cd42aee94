"""Other programs in the benchmarks: comparisons use the same work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import bench_forces
import bench_md
from ekd.errors import LammpsError
from ekd.inference import ExportedModel
from suite.cases import SMALL, cases
from suite.peers import hippynn, reaxff, torchani
from suite.plan import Plan
from suite.records import DisagreementError, Message, Record, Skipped
from suite.water import water


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan with only the small network and one small box, without compilation."""
    monkeypatch.setattr(bench_forces, "cases", lambda: {SMALL: cases()[SMALL]})
    monkeypatch.setattr("suite.timing.SGEMM_SIDE", 64)
    monkeypatch.setattr(hippynn, "use_fastest_kernels", lambda forces: "torch")
    monkeypatch.setattr(hippynn, "use", lambda name: None)
    return Plan(tmp_path, sizes=(192,), seconds=0.0, without=frozenset({"torchani"}))


def _measured(plan: Plan) -> dict[str, Message]:
    found = [m for m in bench_forces.measure(plan) if isinstance(m, Record | Skipped)]
    return {message.measure.split(",")[0]: message for message in found}


def test_forces_of_hippynn_agree(plan: Plan) -> None:
    found = _measured(plan)
    forces, fraction = found["force evaluation"], found["fraction of the matrix rate"]
    assert isinstance(forces, Record)
    assert forces.peer == "hippynn (torch kernels)"
    assert forces.ratio
    assert isinstance(fraction, Record)
    # The rate of operations is the rate of atoms times 0.07 MFLOP per atom.
    assert fraction.ekd == pytest.approx(0.0723 * forces.ekd, rel=0.01)


def test_forces_that_differ_are_not_compared(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    right = hippynn.evaluation

    def wrong(*arguments: object) -> Callable[[], np.ndarray]:
        forces = right(*arguments)  # type: ignore[arg-type]
        return lambda: 1.01 * forces()

    monkeypatch.setattr(hippynn, "evaluation", wrong)
    with pytest.raises(DisagreementError, match=r"forces of hippynn differ by 1\.0e-02"):
        _measured(plan)


def test_peer_that_does_not_work_is_skipped(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(forces: object) -> str:
        raise RuntimeError("no kernels work: numba: not installed")

    monkeypatch.setattr(hippynn, "use_fastest_kernels", broken)
    messages = [m for m in bench_forces.measure(plan) if isinstance(m, Record | Skipped)]
    skipped, forces, _ = messages
    assert isinstance(skipped, Skipped)
    assert (skipped.what, skipped.reason) == ("hippynn", "no kernels work: numba: not installed")
    assert isinstance(forces, Record)
    assert forces.peer is None


def test_md_is_compared_with_bare_forces_and_reaxff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_md, "cases", lambda: {SMALL: cases()[SMALL]})
    monkeypatch.setattr(bench_md, "with_reaxff", lambda *_: 2_000.0)
    plan = Plan(tmp_path, sizes=(192,), seconds=0.0)
    messages = list(bench_md.measure(plan))
    bare, reactive = (message for message in messages if isinstance(message, Record))
    assert not any(isinstance(message, Skipped) for message in messages)
    assert bare.peer == "bare force evaluation"
    assert reactive.peer == "reaxff (with qeq/reaxff)"
    assert bare.ekd == reactive.ekd > 0
    assert reactive.peer_value == 2.0
    assert bare.note == "1 MPI rank"


def test_md_without_reaxff_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> float:
        raise LammpsError("LAMMPS is not installed, or without its file ffield.reax.cho")

    monkeypatch.setattr(bench_md, "cases", lambda: {SMALL: cases()[SMALL]})
    monkeypatch.setattr(bench_md, "with_lammps", _as_fast_as_nothing)
    monkeypatch.setattr(bench_md, "with_reaxff", absent)
    messages = list(bench_md.measure(Plan(tmp_path, sizes=(192,), seconds=0.0)))
    (skipped,) = (message for message in messages if isinstance(message, Skipped))
    assert skipped.what == "reaxff"
    assert skipped.reason == "LAMMPS is not installed, or without its file ffield.reax.cho"


def test_md_with_another_energy_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: Any) -> tuple[float, float]:
        speed, energy = _as_fast_as_nothing(*arguments)
        return speed, energy + 0.01

    monkeypatch.setattr(bench_md, "cases", lambda: {SMALL: cases()[SMALL]})
    monkeypatch.setattr(bench_md, "with_lammps", wrong)
    with pytest.raises(DisagreementError, match=r"LAMMPS differs by 1\.0e-02, allowed 1e-03"):
        list(bench_md.measure(Plan(tmp_path, sizes=(192,), seconds=0.0)))


def _as_fast_as_nothing(
    folder: Path, model: ExportedModel, atoms: Atoms, *_: object
) -> tuple[float, float]:
    """Replacement of LAMMPS: a speed, and the correct energy per atom."""
    results = model.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    return 1_000.0, results.energy / len(atoms)


def test_torchani_with_given_pairs_is_torchani() -> None:
    pytest.importorskip("torchani")
    box = water(192)
    own, given = (torchani.evaluation(box, own_pairs)() for own_pairs in (True, False))
    np.testing.assert_allclose(given, own, atol=1e-5)


def test_reaxff_runs_a_liquid(tmp_path: Path) -> None:
    assert reaxff.with_reaxff(tmp_path, 192, n_ranks=1, n_steps=2, equilibration=10) > 0
    assert "192 atoms" in (tmp_path / "reaxff.log").read_text()
