"""A committee in LAMMPS: atoms move with the mean forces, and the spread is an output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

import systems
from ekd.calculator import EKDCalculator
from lammps_runs import KCAL_MOL_PER_EV, LammpsRun, RunLammps, observed_script, write_data
from models import random_committee, rewritten
from tolerances import tolerance

N_MEMBERS = 3
TYPES = "O H N C"

FIX = "fix spread all pair 1 ekd forces_std 1"
COLUMNS = "c_spread[1] c_spread[2] c_spread[3]"
POINT = """
dump d all custom 1 end.dump id type x y z fx fy fz f_spread
dump_modify d sort id format float %22.16g
run 0 post no
print "spread $(pe:%22.16g) $(c_spread[1]:%22.16g) $(c_spread[2]:%22.16g) $(c_spread[3]:%22.16g)"
"""
RECORD = """
velocity all create 1500 4711 loop geom
fix integrate all nve
variable values equal c_spread[1]
fix log all print 1 "$(step) $(c_spread[1]:%20.15g) $(c_spread[2]:%20.15g) $(c_spread[3]:%20.15g)" &
screen no file values.txt title ""
"""


@pytest.fixture(scope="session")
def committee(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A file with several students, and a separate file for each of them."""
    path = tmp_path_factory.mktemp("committee") / "committee.pt"
    return path, random_committee(path, N_MEMBERS, n_interactions=2, l_max=1)


def script(model: Path, boundary: str = "p p p", **changes: str) -> str:
    """The input script with some parts replaced."""
    parts = {"fix": FIX, "columns": COLUMNS, "body": POINT}
    return observed_script(model, "spread", boundary=boundary, **{**parts, **changes})


def finished(run: LammpsRun) -> LammpsRun:
    assert run.returncode == 0, run.screen[-3000:]
    return run


def expected(atoms: Atoms, members: Sequence[Path]) -> dict[str, np.ndarray]:
    """Mean and spread, from one ASE calculator per member."""
    energies, forces = [], []
    for path in members:
        copy = atoms.copy()
        copy.calc = EKDCalculator(path)
        energies.append(copy.get_potential_energy())
        forces.append(copy.get_forces())
    deviations = np.array(forces) - np.mean(forces, axis=0)
    return {
        "energy": np.mean(energies),
        "forces": np.mean(forces, axis=0),
        "forces_std": np.sqrt((deviations**2).sum(2).mean(0) / 3),
        "energy_std": np.std(energies),
    }


def assert_equals(run: LammpsRun, wanted: dict[str, np.ndarray], unit: float = 1.0) -> None:
    """Compare energy and forces, and the spread from fix pair and compute pair."""
    bounds = tolerance("lammps").bounds
    energy, largest, mean, energy_std = np.array(run.printed("spread")) / unit
    dump = np.loadtxt(run.folder / "end.dump", skiprows=9, ndmin=2)
    forces, forces_std = dump[:, 5:8] / unit, dump[:, 8] / unit
    np.testing.assert_allclose(energy, wanted["energy"], **bounds)
    np.testing.assert_allclose(forces, wanted["forces"], **bounds)
    np.testing.assert_allclose(forces_std, wanted["forces_std"], **bounds)
    np.testing.assert_allclose(largest, wanted["forces_std"].max(), **bounds)
    np.testing.assert_allclose(mean, wanted["forces_std"].mean(), **bounds)
    np.testing.assert_allclose(energy_std, wanted["energy_std"], **bounds)


def prepared(folder: Path, name: str) -> tuple[Atoms, str]:
    """Write a structure as box.data; return it and its boundary."""
    atoms = getattr(systems, name)()
    return atoms, write_data(folder / "box.data", atoms)


KINDS = [
    ("water_box", "staged", "on"),
    ("water_box", "staged", "off"),
    ("water_box", "wide", "on"),
    ("water_box", "wide", "off"),
    ("triclinic_crystal", "staged", "on"),
]
# On two cores, four ranks take twenty times as long as two, because they wait for each other.
RUNS = [pytest.param(*kind, 4, marks=pytest.mark.slow) for kind in KINDS[:-1]]


@pytest.mark.on_devices
@pytest.mark.parametrize(
    ("name", "ghosts", "newton", "n_ranks"),
    [*((*kind, n) for kind in KINDS for n in (1, 2)), (*KINDS[-1], 4), *RUNS],
)
def test_equals_ase_member_by_member(
    run_lammps: RunLammps,
    committee: tuple[Path, list[Path]],
    tmp_path: Path,
    name: str,
    ghosts: str,
    newton: str,
    n_ranks: int,
) -> None:
    atoms, boundary = prepared(tmp_path, name)
    text = script(committee[0], boundary, style=f"ekd energy total ghosts {ghosts}", newton=newton)
    run = finished(run_lammps(text, n_ranks))
    assert f", {N_MEMBERS} student(s), " in run.screen
    assert_equals(run, expected(atoms, committee[1]))


@pytest.mark.parametrize(
    ("changes", "n_ranks", "unit"),
    [
        ({"units": "real"}, 2, KCAL_MOL_PER_EV),
        ({"style": "ekd energy total block 5"}, 2, 1.0),
        ({"before": "comm_style tiled"}, 4, 1.0),
        ({"style": "ekd energy total committee_every 0"}, 2, 1.0),
    ],
    ids=str,
)
def test_every_way_to_evaluate(
    run_lammps: RunLammps,
    committee: tuple[Path, list[Path]],
    tmp_path: Path,
    changes: dict[str, str],
    n_ranks: int,
    unit: float,
) -> None:
    atoms, boundary = prepared(tmp_path, "water_box")
    run = finished(run_lammps(script(committee[0], boundary, **changes), n_ranks))
    assert_equals(run, expected(atoms, committee[1]), unit)


@pytest.mark.parametrize("n_ranks", [1, 4])
def test_molecule_and_ranks_without_atoms(
    run_lammps: RunLammps, committee: tuple[Path, list[Path]], tmp_path: Path, n_ranks: int
) -> None:
    atoms, boundary = prepared(tmp_path, "methanol")
    body = "change_box all x final 0 60\n" + POINT
    text = script(committee[0], boundary, body=body, before="processors * 1 1")
    assert_equals(finished(run_lammps(text, n_ranks)), expected(atoms, committee[1]))


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_along_a_trajectory(
    run_lammps: RunLammps, committee: tuple[Path, list[Path]], tmp_path: Path, n_ranks: int
) -> None:
    """Atoms change owners and positions in memory; fix pair must follow them."""
    atoms = systems.water_box().repeat((2, 1, 1))
    boundary = write_data(tmp_path / "box.data", atoms)
    body = RECORD + "run 30 post no\nunfix log\n" + POINT
    run = finished(run_lammps(script(committee[0], boundary, body=body), n_ranks))
    frame = read(tmp_path / "end.dump", format="lammps-dump-text", index=-1)
    moved = Atoms(atoms.numbers, frame.positions, cell=atoms.cell, pbc=True)
    changes = moved.get_distances(0, range(1, 48)) - atoms.get_distances(0, range(1, 48))
    assert np.abs(changes).max() > 0.01
    assert_equals(run, expected(moved, committee[1]))


# ---- frequency --------------------------------------------------------------------------------


def values(folder: Path) -> np.ndarray:
    """Step, largest and mean spread of the forces, spread of the energy; one row per step."""
    return np.loadtxt(folder / "values.txt")


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_committee_every(
    run_lammps: RunLammps, committee: tuple[Path, list[Path]], tmp_path: Path, n_ranks: int
) -> None:
    """The spread is evaluated at the start and at multiples, and kept in between.

    The trajectory does not depend on it.
    """
    prepared(tmp_path, "water_box")

    def record(style: str, **changes: str) -> np.ndarray:
        # The trajectory begins at step 2, which is not a multiple of 4.
        body = "reset_timestep 2\n" + RECORD + 'run 11 post no\nprint "end $(pe:%22.16g)"\n'
        text = script(committee[0], style=style, body=body, **changes)
        ends.append(finished(run_lammps(text, n_ranks)).printed("end")[0])
        return values(tmp_path)

    ends: list[float] = []
    always = record("ekd energy total", fix="")
    sometimes = record("ekd energy total committee_every 4", fix="")
    asked = "fix spread all pair 5 ekd forces_std 1"
    on_request = record("ekd energy total committee_every 0", fix=asked)
    assert ends[1] == pytest.approx(ends[0], rel=1e-14)
    assert ends[2] == pytest.approx(ends[0], rel=1e-14)
    steps = always[:, 0].astype(int)
    assert steps.tolist() == list(range(2, 14))
    assert len(np.unique(always[:, 1])) == len(steps)
    for step, row in zip(steps, sometimes, strict=True):
        evaluated = max(2, step - step % 4)
        np.testing.assert_array_equal(row[1:], always[steps == evaluated][0, 1:])
    for step, row in zip(steps, on_request, strict=True):
        if step >= 5:
            np.testing.assert_array_equal(row[1:], always[steps == step - step % 5][0, 1:])
        else:
            assert np.isnan(row[1:]).all()


def test_restart_keeps_the_keyword(
    run_lammps: RunLammps, committee: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    atoms, boundary = prepared(tmp_path, "water_box")
    body = "reset_timestep 3\nrun 0 post no\nwrite_restart end.restart\n"
    text = script(committee[0], boundary, style="ekd energy total committee_every 3", body=body)
    finished(run_lammps(text, 2))
    head, tail = text.split("read_data box.data")
    tail = tail[tail.index("neighbor 0.5") :].split("timestep 0.0005")[0]
    again = head + "read_restart end.restart\n" + tail.replace(FIX, "") + RECORD + "run 5 post no\n"
    finished(run_lammps(again, 2))
    recorded = values(tmp_path)
    assert recorded[:, 0].tolist() == [3, 4, 5, 6, 7, 8]
    assert len(set(recorded[:3, 1])) == len(set(recorded[3:, 1])) == 1
    assert recorded[0, 1] != recorded[3, 1]
    wanted = expected(atoms, committee[1])
    np.testing.assert_allclose(
        recorded[0, 1], wanted["forces_std"].max(), **tolerance("lammps").bounds
    )


# ---- with other styles ------------------------------------------------------------------------


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_under_hybrid_overlay(
    run_lammps: RunLammps, committee: tuple[Path, list[Path]], tmp_path: Path, n_ranks: int
) -> None:
    atoms, boundary = prepared(tmp_path, "water_box")
    text = script(
        committee[0],
        boundary,
        style="hybrid/overlay ekd energy total zero 5.0",
        coefficients=f"* * ekd {committee[0]} {TYPES}\npair_coeff * * zero",
    )
    assert_equals(finished(run_lammps(text, n_ranks)), expected(atoms, committee[1]))


@pytest.mark.parametrize("newton", ["on", "off"])
def test_types_of_another_style_do_not_count(
    run_lammps: RunLammps, committee: tuple[Path, list[Path]], tmp_path: Path, newton: str
) -> None:
    """Oxygen uses ekd, and hydrogen uses another style without forces."""
    atoms, boundary = prepared(tmp_path, "water_box")
    text = script(
        committee[0],
        boundary,
        newton=newton,
        style="hybrid ekd zero 5.0",
        coefficients=f"* * ekd {committee[0]} O NULL NULL NULL\npair_coeff * 2*4 zero",
    )
    oxygen = atoms.numbers == 8
    wanted = expected(atoms[oxygen], committee[1])
    run = finished(run_lammps(text, 2))
    dump = np.loadtxt(run.folder / "end.dump", skiprows=9)
    bounds = tolerance("lammps").bounds
    np.testing.assert_allclose(dump[oxygen, 8], wanted["forces_std"], **bounds)
    np.testing.assert_array_equal(dump[~oxygen, 8], 0.0)
    found = run.printed("spread")
    np.testing.assert_allclose(found[1], wanted["forces_std"].max(), **bounds)
    np.testing.assert_allclose(found[2], wanted["forces_std"].mean(), **bounds)
    np.testing.assert_allclose(found[3], wanted["energy_std"], **bounds)


def test_second_of_two_instances(
    run_lammps: RunLammps, committee: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    """`compute pair ekd 2` selects the committee; the first instance is a single student."""
    atoms, boundary = prepared(tmp_path, "water_box")
    text = script(
        committee[0],
        boundary,
        style="hybrid/overlay ekd energy total ekd",
        coefficients=f"* * ekd 1 {committee[1][0]} {TYPES}\n"
        f"pair_coeff * * ekd 2 {committee[0]} {TYPES}",
        fix="",
        body='run 0 post no\nprint "spread $(c_spread[1]:%22.16g)"\n',
    ).replace("all pair ekd", "all pair ekd 2")
    run = finished(run_lammps(text, 2))
    wanted = expected(atoms, committee[1])["forces_std"].max()
    np.testing.assert_allclose(run.printed("spread"), [wanted], **tolerance("lammps").bounds)


# ---- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"style": "ekd committee_every -1"}, "committee_every is -1, expected a number of steps"),
        (
            {"coefficients": "* * ALONE O H N C", "columns": ""},
            "holds one student, and forces_std is the spread of several",
        ),
        (
            {"coefficients": "* * ALONE O H N C", "fix": ""},
            "compute spread does not compute a vector",
        ),
        (
            {
                "style": "ekd energy total committee_every 2",
                "fix": "fix spread all pair 1 ekd forces_std 0",
                "body": "run 1",
            },
            "forces_std was not evaluated at step 1; use fix pair with 'forces_std 1'",
        ),
        ({"style": "ekd\n" + FIX, "fix": ""}, "put pair_coeff before fix pair"),
        ({"fix": "fix spread all pair 1 ekd forces 1"}, "cannot extract forces_flag"),
    ],
    ids=str,
)
def test_refuses(
    run_lammps: RunLammps,
    committee: tuple[Path, list[Path]],
    tmp_path: Path,
    changes: dict[str, str],
    message: str,
) -> None:
    prepared(tmp_path, "water_box")
    text = script(committee[0], **changes).replace("ALONE", str(committee[1][0]))
    run = run_lammps(text, 2)
    assert run.returncode != 0
    assert message in run.error, run.screen[-3000:]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"n_members": 2, "provenance": [{}, {}]}, "n_members"),
        ({"cutoff": 3.0, "interaction_range": 6.0}, "cutoff"),
    ],
)
def test_metadata_that_contradict_the_model(
    run_lammps: RunLammps,
    committee: tuple[Path, list[Path]],
    tmp_path: Path,
    changes: dict[str, object],
    name: str,
) -> None:
    def edit(record: str, content: bytes) -> bytes:
        if record != "extra/ekd_metadata.json":
            return content
        return json.dumps({**json.loads(content), **changes}).encode()

    prepared(tmp_path, "water_box")
    run = run_lammps(script(rewritten(committee[0], tmp_path / "other.pt", edit)))
    assert f"other.pt' is damaged: '{name}' in its metadata does not match the model" in run.error
