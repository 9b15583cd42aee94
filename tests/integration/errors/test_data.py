"""Every error of data sets and their files."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.db
import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

import ekd
from ekd.data.splits import folds, split
from ekd.evaluation.calibration import calibrate
from ekd.evaluation.curves import compare_curves, coordinates
from ekd.evaluation.metrics import compare
from ekd.evaluation.stored_predictions import ModelPredictions
from ekd.preparation.staging import Staging
from error_triggers import expect, frames, groups, refused, waters
from systems import water

CELLS = np.array([np.eye(3) * (3 + k) for k in range(4)])


def atom(symbol: str, energy: float) -> Atoms:
    one = Atoms(symbol, info={"config_type": "IsolatedAtom"})
    one.calc = SinglePointCalculator(one, energy=energy)
    return one


# ---- files ------------------------------------------------------------------------------------


def test_files(tmp_path: Path, training_file: Path) -> None:
    with expect("EKD-DATA-001"):
        ekd.load_dataset(tmp_path / "absent.h5")
    refused("EKD-DATA-001", "prepare", tmp_path / "absent.h5", "--output", tmp_path / "a.h5")
    with expect("EKD-DATA-002"):
        ekd.load_dataset(tmp_path)
    with expect("EKD-DATA-023"):
        ekd.load_dataset(training_file)
    with expect("EKD-DATA-024"):
        (tmp_path / "x.unknown").write_text("energies\n")
        ekd.load_dataset(tmp_path / "x.unknown")
    with expect("EKD-DATA-025"):
        ekd.load_dataset(frames(tmp_path / "x.xyz"), format="exyz")
    with expect("EKD-DATA-027"):
        (tmp_path / "x.traj").write_text("damaged")
        ekd.load_dataset(tmp_path / "x.traj")
    with expect("EKD-DATA-041"):
        h5py.File(tmp_path / "empty.h5", "w").close()
        ekd.load_dataset(tmp_path / "empty.h5")
    with expect("EKD-DATA-053"):
        (tmp_path / "none.xyz").write_text("0\n\n")
        ekd.read_structures(tmp_path / "none.xyz")


@pytest.mark.parametrize(
    ("code", "given", "options"),
    [
        ("EKD-DATA-017", {"cell": CELLS * np.nan}, {}),
        ("EKD-DATA-029", {"cell": b"cubic"}, {}),
        ("EKD-DATA-030", {"e": np.zeros(3), "coordinates": np.ones((3, 2, 3))}, {"cell": 3}),
        ("EKD-DATA-031", {"pbc": True}, {}),
        ("EKD-DATA-032", {"cell_lengths": [3.0, 4.0, 5.0]}, {}),
        ("EKD-DATA-034", {}, {"energy": "f"}),
        ("EKD-DATA-038", {}, {"keys": {"x": "y"}}),
        ("EKD-DATA-039", {"cell": CELLS, "lattice": CELLS}, {}),
        ("EKD-DATA-044", {"e": np.full(4, np.nan)}, {}),
        ("EKD-DATA-045", {"cell": np.ones((4, 6))}, {}),
        ("EKD-DATA-046", {"atomic_numbers": [0, 1]}, {}),
        ("EKD-DATA-047", {"atomic_numbers": [b"Al", b"CA1"]}, {}),
        ("EKD-DATA-049", {"e": (np.zeros(4), "eV")}, {"energy_unit": "Hartree"}),
        ("EKD-DATA-050", {"e": (np.zeros(4), "Debye")}, {}),
        ("EKD-DATA-051", {}, {"energy_unit": "eV/atom"}),
    ],
)
def test_groups(tmp_path: Path, code: str, given: dict[str, Any], options: dict[str, Any]) -> None:
    if options.pop("cell", 0):  # one cell, or the lengths of three
        given = given | {"cell": np.full((3, 3), 3.0) + np.eye(3)}
    path = groups(tmp_path / "x.h5", {"Al": given})
    with expect(code):
        ekd.load_dataset(path, **{"energy": "e", **options})


def test_structure_of_the_file(tmp_path: Path) -> None:
    path = groups(tmp_path / "link.h5", {"a": {}})
    with h5py.File(path, "a") as file:
        file["b"] = h5py.SoftLink("/nowhere")
    with expect("EKD-DATA-033"):
        ekd.load_dataset(path, energy="e")
    path = groups(tmp_path / "above.h5", {"a/m": {}})
    with h5py.File(path, "a") as file:
        file["a"].attrs["cell"] = np.eye(3)
    with expect("EKD-DATA-036"):
        ekd.load_dataset(path, energy="e")
    path = groups(tmp_path / "some.h5", {"a": {"e": (np.ones(4), "eV")}, "b": {}})
    with expect("EKD-DATA-037"):
        ekd.load_dataset(path, energy="e")
    path = groups(tmp_path / "two.h5", {"a": {"e": (np.ones(4), "eV")}})
    with h5py.File(path, "a") as file:
        file["a/e"].attrs["unit"] = "Hartree"
    with expect("EKD-DATA-048"):
        ekd.load_dataset(path, energy="e")


def test_other_formats(tmp_path: Path) -> None:
    with expect("EKD-DATA-040"):
        ekd.load_dataset(frames(tmp_path / "x.xyz"), keys={"positions": "pos"})
    np.savez(tmp_path / "x.npz", R=np.zeros((2, 3, 3)), z=[8, 1, 1], E=np.zeros(2))
    with expect("EKD-DATA-043"):
        ekd.load_dataset(tmp_path / "x.npz")
    frame = water(0)
    for name, value in (("two.db", np.array([1.0, 2.0])), ("differ.db", np.array([3.0]))):
        frame.calc = None if name == "two.db" else SinglePointCalculator(frame, energy=-10.0)
        with ase.db.connect(tmp_path / name) as rows:
            rows.write(frame, data={"energy": value})
    with expect("EKD-DATA-026"):
        ekd.load_dataset(tmp_path / "two.db")
    with expect("EKD-DATA-028"):
        ekd.load_dataset(tmp_path / "differ.db")
    with ase.db.connect(tmp_path / "unit.db") as rows:
        rows.metadata = {"_distance_unit": ["Ang"]}
        rows.write(frame)
    with expect("EKD-DATA-007"):
        ekd.load_dataset(tmp_path / "unit.db")


def test_configurations(tmp_path: Path) -> None:
    with expect("EKD-DATA-003"):
        (tmp_path / "x.xyz").write_text("")
        ekd.load_dataset(tmp_path / "x.xyz")
    path = tmp_path / "y.h5"
    nothing = {"coordinates": np.zeros((4, 0, 3)), "atomic_numbers": np.zeros(0, int)}
    with expect("EKD-DATA-014"):
        ekd.load_dataset(groups(path, {"a": nothing}), energy="e")
    with expect("EKD-DATA-015"):
        ekd.load_dataset(groups(path, {"a": {"coordinates": np.full((4, 2, 3), np.nan)}}), "e")
    with expect("EKD-DATA-016"):
        ekd.load_dataset(groups(path, {"a": {"f": np.full((4, 2, 3), np.nan)}}), "e", "f")


def test_isolated_atoms(tmp_path: Path) -> None:
    path = tmp_path / "x.xyz"
    with expect("EKD-DATA-008"):
        ekd.load_dataset(frames(path, atom("H", -13.6), energies=[-13.6]))
    with expect("EKD-DATA-009"):
        ekd.load_dataset(frames(path, water(0), atom("H2", -31.0)))
    with expect("EKD-DATA-010"):
        ekd.load_dataset(frames(path, water(0), atom("H", 0), atom("H", 0), energies=[0, 1, 2]))
    frames(path, water(0), atom("H", -13.6))
    with expect("EKD-DATA-006"):
        ekd.load_dataset(path)
    refused("EKD-DATA-011", "prepare", path, "--output", tmp_path / "a.h5")
    with expect("EKD-DATA-013"):
        ekd.load_dataset(path, reference_energies={"H": np.inf, "O": 1.0})


# ---- prepared files ---------------------------------------------------------------------------


def prepared(folder: Path) -> Path:
    ekd.prepare_dataset(frames(folder / "in.xyz"), folder / "p.h5", progress=False)
    return folder / "p.h5"


def test_prepared_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = prepared(tmp_path)
    with expect("EKD-DATA-012"):
        ekd.load_dataset(tmp_path / "in.xyz", stream=True)
    with expect("EKD-DATA-035"):
        ekd.load_dataset(path, forces="forces")
    with expect("EKD-DATA-042"):
        ekd.load_dataset(path, energy_unit="eV")
    with monkeypatch.context() as patch, expect("EKD-DATA-022"):

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr("ekd.data.prepared._unpack", full)
        ekd.load_dataset(path, stream=True)
    mapped = ekd.load_dataset(path, stream=True)
    sent = pickle.dumps(mapped)  # as for a worker process
    os.utime(tmp_path / "p.unpacked.h5", (0, 0))
    with expect("EKD-DATA-018"):
        pickle.loads(sent)
    refused("EKD-DATA-065", "prepare", tmp_path / "in.xyz", "-o", path, "--drop-duplicates")
    with Staging(tmp_path / ".q.h5.work", {}, has_forces=False):
        refused("EKD-RUN-010", "prepare", tmp_path / "in.xyz", "-o", tmp_path / "q.h5")
    with h5py.File(path, "a") as file:
        file["energies"][0] += 1.0
    with expect("EKD-DATA-019"):
        ekd.load_dataset(path)
    with h5py.File(path, "a") as file:
        file.attrs["ekd_dataset_format"] = 99
    with expect("EKD-DATA-021"):
        ekd.load_dataset(path)


def test_what_cannot_be_prepared(tmp_path: Path) -> None:
    path, output = tmp_path / "x.xyz", tmp_path / "x.h5"
    overlapping = water(0)
    overlapping.positions[1] = overlapping.positions[2]
    refused("EKD-DATA-067", "prepare", frames(path, water(1), overlapping), "-o", output)
    refused("EKD-DATA-068", "prepare", frames(path), "-o", output, "--drop-outliers",
            "--min-distance", 5)  # fmt: skip
    broken = water(0)
    broken.positions[0] = np.nan
    refused("EKD-DATA-066", "prepare", frames(path, water(1), broken), "-o", output)
    other = groups(tmp_path / "y.h5", {"a": {}})
    refused("EKD-DATA-069", "prepare", frames(path), other, "--energy", "energy",
            "--energy", "e", "-o", output)  # fmt: skip


# ---- arrays, splits, scans --------------------------------------------------------------------


def test_arrays(tmp_path: Path) -> None:
    data = waters(tmp_path)
    with expect("EKD-DATA-004"):
        replace(data, cells=np.zeros((len(data), 3, 3)))
    with expect("EKD-DATA-005"):
        replace(data, energies=data.energies[1:])
    with expect("EKD-DATA-052"):
        split(data.subset([0]), 0.1)
    with expect("EKD-DATA-052"):
        folds(data, np.arange(6), 7)
    with expect("EKD-DATA-054"):
        calibrate(np.ones(3), np.ones(2))
    with expect("EKD-DATA-055"):
        calibrate(np.array([1.0, np.nan]), np.ones(2))
    with expect("EKD-DATA-059"):
        compare(ModelPredictions(np.zeros(1), np.zeros((3, 3))), data)
    with expect("EKD-DATA-020"):
        ekd.Pool.load(groups(tmp_path / "x.h5", {"a": {}}))
    with expect("EKD-DATA-064"):
        ekd.Pool.load(prepared(tmp_path))


def scan(key: str) -> ekd.CurveConfig:
    return ekd.CurveConfig(path=Path("x"), coordinate=key)


@pytest.mark.filterwarnings("ignore::ekd.errors.DataWarning")  # the numbers are made up
def test_scans(tmp_path: Path) -> None:
    data = waters(tmp_path)
    with expect("EKD-DATA-056"):
        found = ModelPredictions(np.zeros(1), np.zeros((3, 3)))
        compare_curves("scan", data.subset([0]), scan("index"), {"m": found})
    with expect("EKD-DATA-058"):
        coordinates(data, scan("phi"))
    path = groups(tmp_path / "x.h5", {"a": {"phi": np.zeros(3)}})
    with expect("EKD-DATA-057"):
        coordinates(ekd.load_dataset(path, energy="e"), scan("phi"))


# ---- elements and forces, before training -----------------------------------------------------
