"""A run with too large or non-finite forces ends with one error that names the atom."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import systems
from ekd.calculator import EKDCalculator
from ekd.errors import find_code
from lammps_runs import RunLammps, write_data
from models import random_model, rewritten

SCRIPT = """
units {units}
atom_style atomic
atom_modify map yes
newton {newton}
boundary p p p
read_data box.data
pair_style {style}
pair_coeff {coefficients}
neighbor 0.5 bin
neigh_modify every 1 delay 0 check yes
thermo 1
timestep 0.0005
fix nve all nve
{body}
"""
MESSAGE = re.compile(
    r"the force on atom (\d+) \((\w+)\) is (\S+) eV/Angstrom at step (\d+), above force_max (\S+); "
    r"its closest contact is atom (\d+) \((\w+)\) at (\S+) Angstrom"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose atoms repel each other."""
    return random_model(tmp_path_factory.mktemp("model") / "zbl.pt", zbl=True)


def crowded(distance: float) -> Atoms:
    """A box of water in which two oxygen atoms have this distance, Å."""
    atoms = systems.water_box(3)
    atoms.positions[6] = atoms.positions[3] + distance * np.array([0.6, 0.0, 0.8])
    return atoms


def script(model: Path, body: str = "run 5", **parts: str) -> str:
    usual = {
        "units": "metal",
        "newton": "on",
        "style": "ekd",
        "coefficients": f"* * {model} O H N C",
    }
    return SCRIPT.format(body=body, **{**usual, **parts})


@pytest.mark.on_devices
@pytest.mark.parametrize(
    ("parts", "n_ranks"),
    [
        ({}, 1),
        ({"newton": "off", "units": "real"}, 2),
        ({"style": "hybrid/overlay ekd zero 3.0"}, 2),
    ],
)
def test_explosion(
    run_lammps: RunLammps, model: Path, tmp_path: Path, parts: dict[str, str], n_ranks: int
) -> None:
    atoms = crowded(0.15)
    write_data(tmp_path / "box.data", atoms)
    if "style" in parts:
        parts = {**parts, "coefficients": f"* * ekd {model} O H N C\npair_coeff * * zero"}
    run = run_lammps(script(model, **parts), n_ranks)
    assert run.returncode != 0
    found = MESSAGE.search(run.error)
    assert found, run.screen[-2000:]
    tag, element, size, step, limit, partner, other, distance = found.groups()
    assert {tag, partner} == {"4", "7"}
    assert (element, other, step, float(limit)) == ("O", "O", "0", 1000)
    assert float(distance) == pytest.approx(0.15, rel=1e-3)
    atoms.calc = EKDCalculator(model)
    expected = np.linalg.norm(atoms.get_forces()[int(tag) - 1])
    # With several ranks, the rank that reports the force knows only its own part.
    assert float(size) == pytest.approx(expected, rel=1e-3 if n_ranks == 1 else 0.1)


def test_explosion_on_the_way(run_lammps: RunLammps, model: Path, tmp_path: Path) -> None:
    """Two atoms at 1.4 Å approach each other by 0.4 Å per step."""
    atoms = crowded(1.4)
    write_data(tmp_path / "box.data", atoms)
    body = """
group left id 4
group right id 7
velocity left set 240.0 0.0 320.0
velocity right set -240.0 0.0 -320.0
run 20
"""
    run = run_lammps(script(model, body))
    found = MESSAGE.search(run.error)
    assert found, run.screen[-2000:]
    assert 1 <= int(found[4]) <= 4
    assert {found[1], found[6]} == {"4", "7"}


def test_what_may_have_such_forces(run_lammps: RunLammps, model: Path, tmp_path: Path) -> None:
    """Large forces are allowed by larger limits, by no limit, and in minimizations."""
    write_data(tmp_path / "box.data", crowded(0.15))
    for style in ("ekd force_max none", "ekd force_max 0", "ekd force_max 1e8"):
        run = run_lammps(script(model, "run 0", style=style))
        assert run.returncode == 0, run.screen[-2000:]
    run = run_lammps(script(model, "unfix nve\nminimize 0 0 40 40"))
    assert run.returncode == 0, run.screen[-2000:]
    # A lower limit ends a run that the default allows, also after a restart.
    write_data(tmp_path / "box.data", crowded(1.2))
    assert run_lammps(script(model, "run 0")).returncode == 0
    body = "pair_style ekd force_max 1e8\npair_style ekd force_max 3.5\nwrite_restart end.restart"
    assert run_lammps(script(model, body)).returncode == 0
    run = run_lammps("read_restart end.restart\nfix nve all nve\nrun 0\n")
    assert "above force_max 3.5" in run.error, run.screen[-2000:]


def test_trials_are_no_explosions(run_lammps: RunLammps, model: Path, tmp_path: Path) -> None:
    """Fix widom inserts atoms at random positions; their forces are large, but not used."""
    write_data(tmp_path / "box.data", systems.water_box(2))
    body = "timestep 1e-6\nfix w all widom 1 {} 1 29494 300.0 full_energy\nrun 2"
    assert run_lammps(script(model, body.format(1), style="ekd force_max 50")).returncode == 0
    run = run_lammps(script(model, body.format(100), style="ekd force_max 50"))
    assert run.returncode == 0, run.screen[-2000:]
    # Random insertions do have such forces; if they were part of the run, it would have ended.
    atoms = systems.water_box(2)
    calculator = EKDCalculator(model)
    generator = np.random.default_rng(0)
    n_large = 0
    for _ in range(100):
        trial = atoms + Atoms("O", positions=[generator.uniform(0, 6.2, 3)])
        trial.calc = calculator
        n_large += bool(np.linalg.norm(trial.get_forces(), axis=1).max() > 50)
    assert n_large > 10


def test_a_position_that_is_no_number(run_lammps: RunLammps, model: Path, tmp_path: Path) -> None:
    """LAMMPS would notice it with the next neighbor list, but here there is none."""
    write_data(tmp_path / "box.data", systems.water_box(2))
    body = """
neigh_modify delay 1000
variable huge atom exp(800)
group one id 5
fix push one addforce v_huge 0.0 0.0
run 5
"""
    for n_ranks in (1, 2):
        run = run_lammps(script(model, body), n_ranks)
        assert run.returncode != 0
        message = "the position of atom 5 (H) is not finite at step 1;"
        assert message in run.error, run.screen[-2000:]
        assert find_code(run.error) == "EKD-PAIR-027"


@pytest.mark.parametrize(
    ("factor", "weights", "what"),
    [(1e200, "energy.weight", "force on"), (1e160, "weight", "energy of")],
)
def test_results_that_are_no_numbers(
    run_lammps: RunLammps, tmp_path: Path, factor: float, weights: str, what: str
) -> None:
    """Energies of 1e200 eV are finite, but the squares of their forces are not."""
    sound = random_model(tmp_path / "sound.pt")
    with zipfile.ZipFile(sound) as file:
        (name,) = (name for name in file.namelist() if name.endswith("ekd_weights.json"))
        arrays = json.loads(file.read(name))["arrays"]

    def enlarge(name: str, content: bytes) -> bytes:
        if name != "extra/ekd_weights.bin":
            return content
        changed = bytearray(content)
        for array in arrays:
            if weights in array["name"]:
                n = int(np.prod(array["shape"]))
                part = np.frombuffer(changed, np.float64, n, array["offset"])
                part *= factor
        return bytes(changed)

    rewritten(sound, tmp_path / "large.pt", enlarge)
    write_data(tmp_path / "box.data", systems.water_box(2))
    for style in ("ekd self_test no", "ekd self_test no force_max none"):
        run = run_lammps(script(tmp_path / "large.pt", style=style))
        assert run.returncode != 0
        assert re.search(
            rf"the {what} atom \d+ \(\w\) is not finite at step 0; its closest contact is atom ",
            run.error,
        ), run.screen[-2000:]
        code = "EKD-PAIR-028" if what == "force on" else "EKD-PAIR-022"
        assert find_code(run.error) == code


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("force_max -1", "force_max is -1, expected a force in eV/Angstrom, or none"),
        ("force_max", "keyword 'force_max' lacks its value"),
        ("force_max much", "much"),
    ],
)
def test_refuses(
    run_lammps: RunLammps, model: Path, tmp_path: Path, words: str, message: str
) -> None:
    write_data(tmp_path / "box.data", systems.water_box(2))
    run = run_lammps(script(model, style=f"ekd {words}"))
    assert run.returncode != 0
    assert message in run.error
