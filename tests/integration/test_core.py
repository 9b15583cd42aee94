"""The tests of the core in C++ (tests/cpp), compiled with sanitizers and run one by one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "cpp"
FORK = "test_fork.cpp"
"""Its tests are a program of their own, without sanitizers."""


def names(file: Path) -> list[str]:
    return re.findall(r"^TEST\((\w+)\)", file.read_text(), re.MULTILINE)


NAMES = [
    name for file in sorted(SOURCE.glob("test_*.cpp")) if file.name != FORK for name in names(file)
]


def run(*command: str | Path, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
    # Leaks are looked for by tracing the process, which not every container allows.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    cmake = shutil.which("cmake", path=folders)
    assert cmake is not None
    build = tmp_path_factory.mktemp("core")
    for arguments in (["-S", SOURCE, "-B", build], ["--build", build]):
        found = run(cmake, *arguments, timeout=1200.0)
        assert found.returncode == 0, found.stdout + found.stderr
    return build


def assert_passes(program: Path, name: str) -> None:
    found = run(program, name)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout == f"passed {name}\n"


@pytest.mark.parametrize("name", NAMES)
def test_core(build: Path, name: str) -> None:
    assert_passes(build / "ekd_core_tests", name)


@pytest.mark.parametrize("name", names(SOURCE / FORK))
def test_threads_after_a_fork(build: Path, name: str) -> None:
    assert_passes(build / "ekd_fork_tests", name)
