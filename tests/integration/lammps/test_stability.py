"""Periodic boxes in the stability test: LAMMPS runs, and failures with their reasons."""

from __future__ import annotations

from pathlib import Path

import pytest

import ekd
from ekd.dynamics import Stability
from ekd.errors import LammpsError
from ekd.lammps import run as lammps_run
from models import random_model
from systems import triclinic_crystal, water_box

LIMITS = {"broken_factor": 5.0, "contact_factor": 0.0, "energy_limit": 50.0, "false_alarm": 1e-300}
"""A random network does not describe water, so only the tested criterion may end a run."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("model") / "student.pt")


def survive(model: Path, output: Path | None = None, **settings: object) -> Stability:
    defaults: dict[str, object] = {
        "n_seeds": 1,
        "duration": 0.02,
        "n_workers": 1,
        "failure": LIMITS,
    }
    return ekd.stability(
        {"student": model},
        {"box": water_box(2)},
        output,
        progress=False,
        **{**defaults, **settings},
    )


def test_a_box_runs_in_lammps(model: Path, tmp_path: Path) -> None:
    result = survive(model, tmp_path / "out", n_seeds=2)
    (row,) = result.survival
    assert row.engine == "LAMMPS"
    assert [(o.seed, o.time, o.failure) for o in row.outcomes] == [(0, 0.02, None), (1, 0.02, None)]
    assert list((tmp_path / "out" / "lammps").glob("*/seed-1/stability.log"))
    assert not list((tmp_path / "out" / "lammps").glob("*/*/*.dump"))


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"failure": {**LIMITS, "bond_factor": 1.2, "broken_factor": 1.201}}, "bond"),
        ({"failure": {**LIMITS, "contact_factor": 1.2}}, "contact"),
        ({"failure": {**LIMITS, "energy_limit": 1e-6}}, "energy"),
        ({"failure": {**LIMITS, "false_alarm": 0.999}}, "temperature"),
    ],
)
def test_ways_to_fail(model: Path, settings: dict[str, object], kind: str) -> None:
    (row,) = survive(model, temperatures=[1500.0], duration=0.05, **settings).survival
    (outcome,) = row.outcomes
    assert outcome.failure == kind
    assert 0 < outcome.time <= 0.05


def test_a_run_that_lammps_gives_up(model: Path) -> None:
    """Atoms are lost with steps of 0.1 ps."""
    (row,) = survive(
        model, temperatures=[3e4], timestep=0.1, check_every=1, duration=50.0, friction=0.01
    ).survival
    assert row.outcomes[0].failure in ("engine", "numbers", "bond", "energy")
    assert row.outcomes[0].time < 50.0


def test_drift_is_that_of_ase(model: Path) -> None:
    """Velocities differ, but fluctuations have similar size and decrease with the timestep."""
    drift = {
        "timesteps": [0.5e-3, 0.25e-3],
        "duration": 0.1,
        "equilibration": 0.02,
        "n_seeds": 1,
        "temperature": 100.0,
    }
    found = {
        engine: survive(model, temperatures=[], drift=drift, engine=engine).drift
        for engine in ("auto", "ase")
    }
    assert {row.engine for row in found["auto"]} == {"LAMMPS"}
    assert {row.engine for row in found["ase"]} == {"ASE"}
    for rows in found.values():
        coarse, fine = rows
        assert coarse.fluctuation is not None
        assert fine.fluctuation is not None
        assert 2 < coarse.fluctuation / fine.fluctuation < 8
    ratio = (found["auto"][0].fluctuation or 0) / (found["ase"][0].fluctuation or 1)
    assert 0.2 < ratio < 5


def test_triclinic_cells_are_turned(model: Path) -> None:
    result = ekd.stability(
        {"student": model},
        {"crystal": triclinic_crystal()},
        progress=False,
        n_seeds=1,
        duration=0.01,
        n_workers=1,
        failure=LIMITS,
    )
    assert result.survival[0].engine == "LAMMPS"
    assert result.survival[0].outcomes[0].failure is None


def test_without_lammps_the_error_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lammps_run.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LammpsError, match="LAMMPS is not installed"):
        survive(model)
