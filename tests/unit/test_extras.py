"""Without the training packages, commands that need them state what to install."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ekd import extras
from ekd.errors import MissingPackageError
from models import random_model

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {packages}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

sys.meta_path.insert(0, Absent())
"""


ALL = set(extras._OF_TRAINING)
ABSENT = sorted(ALL - {"scipy", "matplotlib", "pydantic"})  # dependencies of ASE and typer


def without_training(code: str) -> str:
    return WITHOUT.format(packages=ABSENT) + code


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", without_training(code)], capture_output=True, text=True, check=False
    )


def verb(*words: str) -> subprocess.CompletedProcess[str]:
    return run(f"import sys; sys.argv = {['ekd', *words]!r}; from ekd.__main__ import main; main()")


def test_the_list_is_that_of_the_extra() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text())["project"]
    names = [
        re.split(r"[<>=\[;]", entry)[0].replace("-", "_")
        for entry in project["optional-dependencies"]["train"]
    ]
    assert set(names) == ALL


@pytest.mark.parametrize(
    "words",
    [
        ("run", "config.toml"),
        ("pool", "config.toml"),
        ("pretrain", "config.toml"),
        ("train", "config.toml"),
        ("label", "config.toml"),
        ("distill", "config.toml"),
        ("export", "config.toml"),
        ("md", "config.toml"),
        ("report", "config.toml"),
        ("prepare", "data.xyz", "-o", "data.h5"),
        ("evaluate", "run", "test.h5"),
        ("stability", "student.pt", "--molecule", "CH3OH"),
        ("committee", "a", "b", "-o", "c.pt"),
        ("import-hippynn", "folder"),
    ],
)
def test_verbs_of_training(words: tuple[str, ...]) -> None:
    done = verb(*words)
    assert done.returncode == 1
    assert "pip install 'ekd[train]'" in " ".join(done.stderr.split()), done.stderr


def test_a_student_needs_none_of_them(tmp_path: Path) -> None:
    path = random_model(tmp_path / "student.pt")
    assert "PASS" in verb("check", str(path)).stdout
    assert "cutoff" in verb("inspect", str(path)).stdout
    done = run("import ekd.lammps.build_plugin, ekd.lammps.comparison, ekd.lammps.registration")
    assert done.returncode == 0, done.stderr
    done = run(
        "from ase import Atoms; from ekd import EKDCalculator\n"
        f"print(Atoms('OH', [[0, 0, 0], [0, 0, 1.0]], calculator=EKDCalculator({str(path)!r}))"
        ".get_forces().shape)"
    )
    assert done.stdout.strip() == "(2, 3)", done.stderr


def test_in_python() -> None:
    done = run("import ekd; ekd.train_ensemble")
    assert "MissingPackageError" in done.stderr
    assert extras.explained(ModuleNotFoundError(name="something")) is None
    assert isinstance(extras.explained(ModuleNotFoundError(name="torch.nn")), MissingPackageError)
