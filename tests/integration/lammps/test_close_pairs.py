"""Atoms closer than in the training data cause warnings, and are counted and listed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import systems
from ekd.neighbor_list import neighbor_list
from lammps_runs import ORDER, RunLammps, write_data
from models import random_model

SCRIPT = """
units metal
atom_style atomic
atom_modify map yes
newton {newton}
boundary p p p
{before}
read_data box.data
pair_style {style}
pair_coeff {coefficients}
neighbor 0.5 bin
neigh_modify every 1 delay 0 check no
timestep 0.0005
velocity all create 1500 4711 loop geom
dump all all custom 1 all.dump id x y z
dump_modify all format float %.17g sort id
fix nve all nve
{body}
"""
CUTOFF = 4.0
# In the boxes below, some O-H pairs are closer and no H-H pairs are; the data have no O-O pairs.
CLOSEST = {"H-O": 0.95, "H-H": 1.0, "C-H": 1.0, "C-O": 1.1}
ROW = re.compile(r"^  (\w+)-(\w+) +(none|[\d.]+) +(>? *[\d.]+) +(\d+)$", re.MULTILINE)
WARNING = re.compile(
    r"WARNING: pair_style ekd: atoms (\d+) and (\d+) are (\S+) Angstrom apart at step (\d+), and "
    r"the training data have no pair (\w+)-(\w+) (closer than (\S+) Angstrom|within the cutoff)"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``1.pt`` and ``2.pt`` with this number of interactions, and distances in their metadata."""
    path = tmp_path_factory.mktemp("model")
    for n in (1, 2):
        random_model(path / f"{n}.pt", closest=CLOSEST, n_interactions=n)
    return path


def script(model: Path, body: str = "run 10", **parts: str) -> str:
    usual = {
        "newton": "on",
        "before": "",
        "style": "ekd",
        "coefficients": f"* * {model} O H N C",
    }
    return SCRIPT.format(body=body, **{**usual, **parts})


def table(screen: str) -> dict[tuple[str, str], tuple[str, str, int]]:
    """Last table of a log: training distance, closest distance and count by pair of elements."""
    last = screen.rsplit("pairs of atoms that were closer", 1)[1]
    return {(a, b): (known, found, int(count)) for a, b, known, found, count in ROW.findall(last)}


def frames(path: Path, atoms: Atoms) -> list[Atoms]:
    """Frames of the dump."""
    text = path.read_text().split("ITEM: TIMESTEP\n")[1:]
    found = []
    for frame in text:
        rows = np.array([line.split() for line in frame.splitlines()[8:]], dtype=float)
        moved = atoms.copy()
        moved.positions = rows[:, 1:]
        found.append(moved)
    return found


def expected(run: Sequence[Atoms], limits: dict[tuple[int, int], float]) -> dict[str, list[float]]:
    """Closest distance, and pairs below the limit, over all frames, by pairs of elements."""
    found = {pair: [np.inf, 0] for pair in limits}
    for atoms in run:
        pairs = neighbor_list(atoms.positions, CUTOFF, atoms.cell.array, atoms.pbc)
        distances = np.linalg.norm(pairs.pair_vectors, axis=1)
        numbers = np.sort(atoms.numbers[pairs.pairs], axis=0)
        for pair, limit in limits.items():
            those = distances[(numbers == np.array(pair)[:, None]).all(0)]
            found[pair][0] = min(found[pair][0], those.min(initial=np.inf))
            found[pair][1] += int((those < limit).sum()) // 2
    return found


@pytest.mark.on_devices
@pytest.mark.parametrize(
    ("n_interactions", "parts", "n_ranks"),
    [
        (1, {}, 1),
        (1, {"newton": "off", "before": "comm_style tiled"}, 2),
        (1, {"style": "hybrid/overlay ekd zero 3.0"}, 2),
        (2, {}, 2),
        (2, {"style": "ekd ghosts wide"}, 2),
    ],
)
def test_counts(
    run_lammps: RunLammps,
    folder: Path,
    tmp_path: Path,
    n_interactions: int,
    parts: dict[str, str],
    n_ranks: int,
) -> None:
    atoms = systems.water_box(3)
    write_data(tmp_path / "box.data", atoms)
    model = folder / f"{n_interactions}.pt"
    if "hybrid" in parts.get("style", ""):
        parts = {**parts, "coefficients": f"* * ekd {model} O H N C\npair_coeff * * zero"}
    # Devices check only steps with new neighbor lists, which are all steps here.
    body = "neigh_modify delay 0 every 1 check no\nrun 10"
    run = run_lammps(script(model, body, **parts), n_ranks)
    assert run.returncode == 0, run.screen[-3000:]
    assert "in 11 force evaluation(s)" in run.screen
    found = table(run.screen)
    limits = {(1, 8): 0.95, (1, 1): 1.0, (8, 8): CUTOFF}
    there = expected(frames(tmp_path / "all.dump", atoms), limits)
    assert set(found) == {("H", "H"), ("H", "O"), ("O", "O")}
    for (a, b), numbers in zip(
        (("H", "O"), ("H", "H"), ("O", "O")), ((1, 8), (1, 1), (8, 8)), strict=True
    ):
        known, closest, count = found[a, b]
        distance, n_close = there[numbers]
        assert known == ("none" if numbers == (8, 8) else f"{limits[numbers]:.4f}")
        assert float(closest) == pytest.approx(distance, abs=1.1e-4)
        assert count == n_close
    assert found["H", "O"][2] > 0
    assert found["O", "O"][2] > 0
    warnings = WARNING.findall(run.screen)
    assert len(warnings) == 2  # one for each pair of elements
    for first, second, distance, step, a, b, *_ in warnings:
        frame = frames(tmp_path / "all.dump", atoms)[int(step)]
        i, j = int(first) - 1, int(second) - 1
        assert frame.get_distance(i, j, mic=True) == pytest.approx(float(distance), rel=1e-3)
        assert sorted(frame.symbols[[i, j]]) == [a, b]


def test_nothing_to_tell(run_lammps: RunLammps, tmp_path: Path) -> None:
    """All pairs are further apart than in the data, or the file has no distances of the data."""
    atoms = systems.water_box(3)
    write_data(tmp_path / "box.data", atoms)
    near = {f"{a}-{b}": 0.3 for a, b in (*_pairs("H", "O"), ("H", "H"), ("O", "O"))}
    random_model(tmp_path / "near.pt", closest=near | {"C-C": 0.9})
    text = script(tmp_path / "near.pt", coefficients="* * near.pt O H H O")
    run = run_lammps(text, 2)
    assert run.returncode == 0, run.screen[-3000:]
    line = "pair_style ekd: no pair of atoms was closer than in the training data in 11 force"
    assert line in run.screen
    assert "WARNING: pair_style ekd" not in run.screen
    random_model(tmp_path / "silent.pt")
    run = run_lammps(script(tmp_path / "silent.pt"))
    assert run.returncode == 0, run.screen[-3000:]
    assert "training data" not in run.screen


def _pairs(*symbols: str) -> list[tuple[str, str]]:
    return [tuple(sorted(symbols))]  # type: ignore[list-item]


def test_pairs_that_the_data_lack(run_lammps: RunLammps, folder: Path, tmp_path: Path) -> None:
    """They are named once, for elements that have a type."""
    assert ORDER == [8, 1, 7, 6]
    write_data(tmp_path / "box.data", systems.water_box(2))
    for coefficients, named in (
        ("O H N C", "C-C, H-N, C-N, N-N, N-O, O-O"),
        ("O H H H", "O-O"),
        ("H H H H", ""),
    ):
        model = folder / "1.pt"
        text = script(model, "run 0\nrun 0", coefficients=f"* * {model} {coefficients}")
        screen = run_lammps(text).screen
        told = re.findall(r"WARNING: .* have no pair (.*?) within the cutoff of 4 Angst", screen)
        if not named:
            assert told == []
        else:
            assert len(told) == 1
            assert sorted(told[0].split(", ")) == sorted(named.split(", "))


def test_each_run_has_its_own_table(run_lammps: RunLammps, folder: Path, tmp_path: Path) -> None:
    """Counts are reset, but warnings are not repeated. Trials are not counted."""
    atoms = systems.water_box(3)
    write_data(tmp_path / "box.data", atoms)
    body = "run 4\nrun 6 post no\nfix w all widom 1 20 1 29494 300.0 full_energy\nrun 5\n"
    body += "unfix nve\nunfix w\nminimize 0 0 3 5\n"
    run = run_lammps(script(folder / "1.pt", body))
    assert run.returncode == 0, run.screen[-3000:]
    numbers = re.findall(r"in (\d+) force evaluation", run.screen)
    assert numbers[:3] == ["5", "7", "6"]
    assert len(numbers) == 4
    told = [match[4:6] for match in WARNING.findall(run.screen)]
    assert {("H", "O"), ("O", "O")} <= set(told)
    assert len(told) == len(set(told))
