"""The scripts that write pages of the docs, at sizes too small for meaningful results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from ekd.neighbor_list import neighbor_list
from models import random_model

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the scripts, importable; the environment is restored afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the scripts set it themselves
    return FOLDER


def run(script: str, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / script), *map(str, options)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_parallel_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    small = ["--repeats", 1, "--domains", 1, "--interactions", 2, "--warm-up-repeats", 1]
    small += ["--networks", "small", "--steps", 1, "--repetitions", 1]
    done = run("pair_style_parallel.py", *small, "--write", page)
    assert done.returncode == 0, done.stderr[-3000:]
    text = page.read_text()
    assert "| small, staged, 2 ranks × 1 thread |" in text
    assert "| small, wide, 1 rank × 2 threads |" in text
    assert "| 2, 192 | 1,685 | 4,364 | 192 | 4,556 |" in text  # same as in LAMMPS
    assert "- 2 interactions: " in text
    assert "The largest ratio is " in text
    assert page.with_suffix(".png").stat().st_size > 10_000


@pytest.mark.slow
def test_energy_page(tmp_path: Path) -> None:
    model = random_model(tmp_path / "trial.pt", zbl=True)
    page = tmp_path / "page.md"
    small = ["--molecules", 27, "--equilibration", 0.005, "--duration", 0.01, "--ranks", 1]
    done = run("nve_drift.py", "--model", model, *small, "--write", page)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.split("|") for line in page.read_text().splitlines() if "`precision " in line]
    assert [row[1].strip() for row in rows] == ["`precision double`", "`precision single`"]
    for row in rows:
        drift, fluctuation, deviation = map(float, row[2:5])
        assert abs(drift) < 1.0
        assert 0 < fluctuation <= deviation < 1e-3
    assert page.with_suffix(".png").stat().st_size > 10_000


def test_energy_page_needs_a_model(tmp_path: Path) -> None:
    done = run("nve_drift.py", "--model", tmp_path / "none.pt")
    assert done.returncode == 2
    assert "run make demo, which writes demo/student.pt, or name" in " ".join(done.stderr.split())


@pytest.mark.slow
def test_liquid_that_falls_apart(tmp_path: Path) -> None:
    """Steps of 50 fs have the same effect as a model that is unsuitable for the liquid."""
    model = random_model(tmp_path / "trial.pt")
    small = ["--molecules", 27, "--timestep", 0.05, "--equilibration", 5, "--ranks", 1]
    done = run("nve_drift.py", "--model", model, *small)
    assert done.returncode == 1
    assert "ERROR" in done.stderr
    assert "the model does not know the liquid: name another one" in done.stderr


@pytest.mark.usefixtures("benchmarks")
def test_work_of_a_domain() -> None:
    """For a single domain, the pairs are those of the box, and ghosts follow from the volume."""
    from domain_work import count_work

    positions = np.random.default_rng(0).uniform(0, 12, (1000, 3))
    atoms = Atoms(f"H{len(positions)}", positions, cell=[12.0] * 3, pbc=True)
    cutoff, skin = 3.0, 0.5
    staged = count_work(atoms, 1, cutoff, skin, n_interactions=3, wide=False)
    wide = count_work(atoms, 1, cutoff, skin, n_interactions=3, wide=True)
    pairs = len(neighbor_list(atoms.positions, cutoff, atoms.cell.array, True).pairs[0])
    assert staged.n_owned == staged.centres == wide.n_owned == len(atoms)
    assert staged.pairs == staged.least_pairs == pairs
    edge = atoms.cell.array[0, 0]
    for work, reach in ((staged, cutoff + skin), (wide, 3 * cutoff + skin)):
        expected = len(atoms) * (((edge + 2 * reach) / edge) ** 3 - 1)
        assert work.n_ghosts == pytest.approx(expected, rel=0.05)
    assert wide.centres == wide.n_owned + wide.n_ghosts
    assert pairs < wide.least_pairs < wide.pairs
    halves = count_work(atoms, 2, cutoff, skin, n_interactions=3, wide=False)
    assert halves.n_owned == len(atoms) / 2  # mean of both domains
    assert halves.pairs == pairs / 2
    assert halves.n_ghosts < staged.n_ghosts


@pytest.mark.usefixtures("benchmarks")
def test_sentences_follow_the_numbers() -> None:
    from domain_work import Work
    from pair_style_parallel import Domain, in_words

    work = Work(1, 1, 1, 1, 1)

    def domain(n: int, n_atoms: int, ratio: float) -> Domain:
        return Domain(n, n_atoms, work, work, staged_seconds=1.0, wide_seconds=ratio)

    one, two = in_words(
        [domain(1, 192, 0.8), domain(1, 1536, 1.01), domain(2, 192, 9.0), domain(2, 1536, 4.0)]
    )
    assert one == (
        "- 1 interaction: wide ghosts are faster with 192 atoms on a rank, at best 1.25 times, "
        "with 192; no difference with 1,536."
    )
    assert two == (
        "- 2 interactions: staged exchange is faster with 192, 1,536 atoms on a rank, "
        "4.00 (1,536) to 9.00 times (192)."
    )


@pytest.mark.usefixtures("benchmarks")
def test_fluctuation_is_what_the_line_leaves() -> None:
    from ekd.evaluation.trajectories import energy_drift
    from nve_drift import Series

    time = np.linspace(0, 5, 501)
    wiggle = 3e-6 * np.sin(40 * time)
    energy = 2e-6 * time + wiggle
    found = Series(time, energy, 300.0, 1.0, energy_drift(time, energy, 1))
    assert found.drift.slope == pytest.approx(2e-6, rel=0.05)
    assert found.fluctuation == pytest.approx(wiggle.std(), rel=0.05)


@pytest.mark.slow
def test_long_run(tmp_path: Path) -> None:
    """Both halves of a long run; the second half starts from the restart file of the first."""
    model = random_model(tmp_path / "trial.pt", zbl=True)
    page = tmp_path / "page.md"
    small = ["--molecules", 27, "--duration", 0.02, "--sample", 0.001, "--ranks", 1]
    small += ["--timestep", 0.0001, "--folder", tmp_path / "kept"]
    done = run("long_run.py", "--model", model, *small, "--write", page)
    assert done.returncode == 0, done.stderr[-3000:]
    text = page.read_text()
    rows = [line.split("|") for line in text.splitlines() if "half |" in line]
    assert [row[1].strip() for row in rows] == 2 * ["first half"] + 2 * ["second half"]
    for row in rows:
        assert abs(float(row[4])) < 1.0
        assert 0.5 < float(row[8]) < 1.2  # oxygen and its hydrogen atoms
    jump = text.split("after it differ by ")[1].split(" eV")[0]
    assert float(jump) < 1e-9
    assert "0.0 ps reached" in text
    assert page.with_suffix(".png").stat().st_size > 10_000
    assert (tmp_path / "kept" / "end.restart").exists()
