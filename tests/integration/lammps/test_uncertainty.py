"""The uncertainty of a student in LAMMPS equals that in ASE on any number of ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import systems
from ekd.calculator import EKDCalculator
from lammps_runs import KCAL_MOL_PER_EV, LammpsRun, RunLammps, observed_script, write_data
from models import random_committee, random_model
from tolerances import tolerance

FIX = "fix doubt all pair 1 ekd uncertainty 1"
POINT = """
dump d all custom 1 end.dump id fx fy fz f_doubt
dump_modify d sort id format float %22.16g
run 0 post no
print "doubt $(pe:%22.16g) {columns}"
"""


def script(model: Path, boundary: str = "p p p", n_before: int = 0, **changes: str) -> str:
    """The input script with some parts replaced.

    The first ``n_before`` values of compute pair are those of the spread.
    """
    names = [f"c_doubt[{n_before + k}]" for k in (1, 2)]
    parts = {
        "fix": FIX,
        "columns": " ".join(names),
        "body": POINT.format(columns=" ".join(f"$({name}:%22.16g)" for name in names)),
    }
    return observed_script(model, "doubt", boundary=boundary, **{**parts, **changes})


def prepared(folder: Path, atoms: Atoms) -> str:
    return write_data(folder / "box.data", atoms)


def assert_equals_ase(run: LammpsRun, atoms: Atoms, model: Path, unit: float = 1.0) -> None:
    """Compare atomic values from fix pair, and the largest and the mean value from compute pair."""
    assert run.returncode == 0, run.screen[-3000:]
    atoms = atoms.copy()
    atoms.calc = EKDCalculator(model)
    expected = atoms.calc.get_property("uncertainty", atoms)
    bounds = tolerance("lammps").bounds
    energy, largest, mean = np.array(run.printed("doubt")) / unit
    dump = np.loadtxt(run.folder / "end.dump", skiprows=9, ndmin=2) / unit
    np.testing.assert_allclose(energy, atoms.get_potential_energy(), **bounds)
    np.testing.assert_allclose(dump[:, 1:4], atoms.get_forces(), **bounds)
    np.testing.assert_allclose(dump[:, 4], expected, **bounds)
    np.testing.assert_allclose(largest, expected.max(), **bounds)
    np.testing.assert_allclose(mean, expected.mean(), **bounds)


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("uncertain") / "student.pt"
    return random_model(path, n_hidden=5, n_interactions=2, l_max=1)


@pytest.mark.on_devices
@pytest.mark.parametrize(
    ("changes", "n_ranks", "unit"),
    [
        ({}, 1, 1.0),
        ({}, 2, 1.0),
        ({"newton": "off"}, 2, 1.0),
        ({"style": "ekd energy total ghosts wide"}, 2, 1.0),
        ({"style": "ekd energy total block 5"}, 2, 1.0),
        ({"units": "real"}, 2, KCAL_MOL_PER_EV),
        ({"before": "comm_style tiled"}, 4, 1.0),
    ],
    ids=str,
)
def test_equals_ase(
    run_lammps: RunLammps,
    student: Path,
    tmp_path: Path,
    changes: dict[str, str],
    n_ranks: int,
    unit: float,
) -> None:
    atoms = systems.water_box()
    run = run_lammps(script(student, prepared(tmp_path, atoms), **changes), n_ranks)
    assert_equals_ase(run, atoms, student, unit)


def test_ranks_without_atoms(run_lammps: RunLammps, student: Path, tmp_path: Path) -> None:
    atoms = systems.methanol()
    text = script(student, prepared(tmp_path, atoms), before="processors * 1 1")
    text = text.replace("dump d all", "change_box all x final 0 60\ndump d all")
    assert_equals_ase(run_lammps(text, 2), atoms, student)


def test_one_interaction(run_lammps: RunLammps, tmp_path: Path) -> None:
    model = random_model(tmp_path / "student.pt", n_hidden=5)
    atoms = systems.triclinic_crystal()
    run = run_lammps(script(model, prepared(tmp_path, atoms)), 2)
    assert_equals_ase(run, atoms, model)


def test_committee_has_both(run_lammps: RunLammps, tmp_path: Path) -> None:
    """The uncertainty follows the three values of the spread."""
    model = tmp_path / "committee.pt"
    random_committee(model, 2, n_hidden=5, n_interactions=2)
    atoms = systems.water_box()
    run = run_lammps(script(model, prepared(tmp_path, atoms), n_before=3), 2)
    assert_equals_ase(run, atoms, model)
    spread = script(model, "p p p", n_before=0).replace("doubt all pair 1 ekd uncertainty", "s all")
    spread = spread.replace("fix s all", "fix doubt all pair 1 ekd forces_std")
    run = run_lammps(spread, 2)
    atoms.calc = EKDCalculator(model)
    forces_std = atoms.calc.get_property("forces_std", atoms)
    np.testing.assert_allclose(
        run.printed("doubt")[1], forces_std.max(), **tolerance("lammps").bounds
    )


def test_types_of_another_style_do_not_count(
    run_lammps: RunLammps, student: Path, tmp_path: Path
) -> None:
    atoms = systems.water_box()
    carbon = Atoms("C", positions=[[4.0, 4.0, 4.0]])
    boundary = prepared(tmp_path, atoms + carbon)
    text = script(
        student,
        boundary,
        style="hybrid ekd zero 4.0 full",
        coefficients=f"* * ekd {student} O H N NULL\npair_coeff * 4 zero",
    )
    run = run_lammps(text, 2)
    assert run.returncode == 0, run.screen[-3000:]
    atoms.calc = EKDCalculator(student)
    expected = atoms.calc.get_property("uncertainty", atoms)
    bounds = tolerance("lammps").bounds
    dump = np.loadtxt(run.folder / "end.dump", skiprows=9)
    np.testing.assert_allclose(dump[:, 4], [*expected, 0.0], **bounds)
    np.testing.assert_allclose(
        run.printed("doubt")[1:], [expected.max(), expected.mean()], **bounds
    )


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_along_a_trajectory(
    run_lammps: RunLammps, student: Path, tmp_path: Path, n_ranks: int
) -> None:
    """Trajectories do not depend on requests for it; values belong to the current step."""
    boundary = prepared(tmp_path, systems.water_box().repeat((2, 1, 1)))
    move = "velocity all create 1500 4711 loop geom\nfix integrate all nve\n"
    log = (
        'fix log all print 5 "$(step) $(c_doubt[1]:%20.15g) $(c_doubt[2]:%20.15g)" '
        'screen no file values.txt title ""\n'
    )
    end = 'run 20 post no\nprint "end $(pe:%22.16g)"\n'
    texts = (
        script(student, boundary, body=move + log + end),
        script(student, boundary, fix="", columns="", body="thermo 20\n" + move + end),
    )
    ends = []
    for text in texts:
        run = run_lammps(text, n_ranks)
        assert run.returncode == 0, run.screen[-3000:]
        ends.append(run.printed("end")[0])
    assert ends[0] == ends[1]
    values = np.loadtxt(tmp_path / "values.txt")
    assert values[:, 0].tolist() == [0, 5, 10, 15, 20]
    assert len(np.unique(values[:, 1])) == 5
    assert (values[:, 1] > values[:, 2]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "OTHER", "columns": ""}, "has no uncertainty; distill the student from labels"),
        ({"model": "OTHER", "fix": ""}, "compute doubt does not compute a vector"),
        (
            {"fix": "fix doubt all pair 1 ekd uncertainty 0", "body": "thermo 3\nrun 3"},
            "uncertainty was not evaluated at step 1; use fix pair with 'uncertainty 1'",
        ),
        ({"style": "ekd\n" + FIX, "fix": ""}, "uncertainty needs the model; put pair_coeff before"),
    ],
    ids=str,
)
def test_refuses(
    run_lammps: RunLammps, student: Path, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    prepared(tmp_path, systems.water_box())
    parts = dict(changes)
    model = student
    if parts.pop("model", None):
        model = random_model(tmp_path / "without.pt", n_interactions=2)
    run = run_lammps(script(model, **parts))
    assert run.returncode != 0
    assert message in run.error, run.screen[-3000:]
