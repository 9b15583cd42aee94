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
NAMES = [
    name
    for file in sorted(SOURCE.glob("test_*.cpp"))
    for name in re.findall(r"^TEST\((\w+)\)", file.read_text(), re.MULTILINE)
]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    # Leaks are looked for by tracing the process, which not every container allows.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    cmake = shutil.which("cmake", path=folders)
    assert cmake is not None
    build = tmp_path_factory.mktemp("core")
    for arguments in (["-S", SOURCE, "-B", build], ["--build", build]):
        found = run(cmake, *arguments)
        assert found.returncode == 0, found.stdout + found.stderr
    return build / "ekd_core_tests"


@pytest.mark.parametrize("name", NAMES)
def test_core(program: Path, name: str) -> None:
    found = run(program, name)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout == f"passed {name}\n"
