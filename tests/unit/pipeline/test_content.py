"""Content of result files: times are ignored, and differences of numbers are measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ekd.errors import EKDError
from ekd.pipeline.content import Verdict, compare_files, content_sha256, is_compared


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(content))
    elif path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, value in content.items():
                if name.startswith("@"):
                    file.attrs[name[1:]] = value
                else:
                    file[name] = value
    else:
        path.write_text(content)
    return path


def pair(folder: Path, name: str, there: Any, now: Any) -> tuple[Path, Path]:
    return write(folder / "there" / name, there), write(folder / "now" / name, now)


FORCES = np.array([[1.0, -2.0, 4.0]])

CASES = [
    ("times", "a.json", {"x": 1.5, "seconds": 1}, {"x": 1.5, "seconds": 2}, Verdict.EQUAL),
    ("speeds", "a.json", {"atom_steps_per_second": 1}, {"atom_steps_per_second": 2}, Verdict.EQUAL),
    ("folders", "a.json", {"path": "/a/b.h5"}, {"path": "/c/d/b.h5"}, Verdict.EQUAL),
    ("close", "a.json", {"x": [1.0, 2.0]}, {"x": [1.0, 2.000001]}, Verdict.CLOSE),
    ("far", "a.json", {"x": [1.0, 2.0]}, {"x": [1.0, 2.001]}, Verdict.DIFFERENT),
    ("rounding of zero", "a.json", {"x": 1e-13}, {"x": 3e-13}, Verdict.CLOSE),
    ("another key", "a.json", {"x": 1}, {"y": 1}, Verdict.DIFFERENT),
    ("another length", "a.json", {"x": [1, 2]}, {"x": [1, 2, 3]}, Verdict.DIFFERENT),
    ("none and zero", "a.json", {"x": None}, {"x": 0.0}, Verdict.DIFFERENT),
    ("words", "a.json", {"x": "a"}, {"x": "b"}, Verdict.DIFFERENT),
    ("NaN", "a.json", {"x": [1.0, float("nan")]}, {"x": [float("nan"), 1.0]}, Verdict.DIFFERENT),
    ("infinity", "a.json", {"x": float("inf")}, {"x": -float("inf")}, Verdict.DIFFERENT),
    ("checksums", "a.json", {"x": 64 * "a"}, {"x": 64 * "b"}, Verdict.CLOSE),
    ("history", "a.csv", "e,seconds\n1.0,2\n,3\n", "e,seconds\n1.0,9\n,8\n", Verdict.EQUAL),
    ("a row less", "a.csv", "e\n1.0\n2.0\n", "e\n1.0\n", Verdict.DIFFERENT),
    ("numbers in text", "a.dump", "id fx\n1 0.5\n", "id fx\n1 0.50000001\n", Verdict.CLOSE),
    ("text around numbers", "a.dump", "id fx\n1 0.5\n", "id fy\n1 0.5\n", Verdict.DIFFERENT),
    ("arrays", "a.npz", {"f": FORCES}, {"f": FORCES + 1e-7}, Verdict.CLOSE),
    ("types", "a.npz", {"f": FORCES}, {"f": FORCES.astype("f4")}, Verdict.CLOSE),
    ("shapes", "a.npz", {"f": FORCES}, {"f": FORCES[0]}, Verdict.DIFFERENT),
    ("HDF5", "a.h5", {"f": FORCES, "@n": 3}, {"@n": 3, "f": FORCES * (1 + 1e-8)}, Verdict.CLOSE),
    ("attributes", "a.h5", {"f": FORCES, "@n": 3}, {"f": FORCES, "@n": 4}, Verdict.DIFFERENT),
    ("JSON in HDF5", "a.h5", {"@t": '{"seconds": 1}'}, {"@t": '{"seconds": 2}'}, Verdict.EQUAL),
    ("strings in HDF5", "a.h5", {"g": ["a", "b"]}, {"g": ["a", "c"]}, Verdict.DIFFERENT),
]


@pytest.mark.parametrize(
    ("name", "there", "now", "verdict"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_verdicts(name: str, there: Any, now: Any, verdict: Verdict, tmp_path: Path) -> None:
    first, second = pair(tmp_path, name, there, now)
    found = compare_files(first, second)
    assert found.verdict is verdict, found
    assert found.passed == (verdict is not Verdict.DIFFERENT)
    assert (content_sha256(first) == content_sha256(second)) == (verdict is Verdict.EQUAL)
    assert compare_files(first, first).verdict is Verdict.EQUAL


def test_the_largest_deviation_is_named(tmp_path: Path) -> None:
    there = {"small": [1.0, 1.0], "large": [100.0, 200.0]}
    now = {"small": [1.0, 1.0 + 1e-8], "large": [100.001, 200.0]}
    found = compare_files(*pair(tmp_path, "a.json", there, now))
    assert found.where == "large"
    assert found.deviation == pytest.approx(0.001 / 200.0)
    assert found.verdict is Verdict.DIFFERENT
    first, second = tmp_path / "there" / "a.json", tmp_path / "now" / "a.json"
    assert compare_files(first, second, tolerance=1e-5).verdict is Verdict.CLOSE


def test_logs_are_compared_by_their_tables(tmp_path: Path) -> None:
    log = "LAMMPS\nStep Temp\n0 300.0\n10 {temperature}\nLoop time of {seconds} on 1 procs\n"
    first, second = pair(
        tmp_path,
        "a.log",
        log.format(temperature=301.0, seconds=1.0),
        log.format(temperature=301.0, seconds=2.0),
    )
    assert compare_files(first, second).verdict is Verdict.EQUAL
    second.write_text(log.format(temperature=302.0, seconds=1.0))
    assert compare_files(first, second).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize("name", ["a.json", "a.h5", "a.npz", "a.pt", "a.log"])
def test_damaged_files_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"{ damaged")
    with pytest.raises(EKDError, match=name):
        content_sha256(tmp_path / name)


def test_pictures_and_pages_are_not_compared() -> None:
    shown = ("plots/a.png", "report.html", "nve.screen", "member-0/events.out.tfevents.1.2.3")
    assert not any(map(is_compared, shown))
    assert all(map(is_compared, ("labels.h5", "student.pt", "nve.log", "rdf.dat")))
