"""The tests of the C++ core (tests/cpp), run one by one, with sanitizers except for devices.

`make sanitize` runs the device tests with sanitizers too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from built_core import built_core

SOURCE = Path(__file__).parents[1] / "cpp"
DEVICES = ("test_device_engine.cpp", "test_kernel_cache.cpp", "test_staging.cpp")
FORK = "test_fork.cpp"
"""The tests in this file are a separate program without sanitizers."""


def names(file: Path) -> list[str]:
    return re.findall(r"^TEST\((\w+)\)", file.read_text(), re.MULTILINE)


def program_of(file: Path) -> str:
    kinds = dict.fromkeys(DEVICES, "device") | {FORK: "fork"}
    return f"ekd_{kinds.get(file.name, 'core')}_tests"


TESTS = [
    pytest.param(program_of(file), name, id=name)
    for file in sorted(SOURCE.glob("test_*.cpp"))
    for name in names(file)
]


def run(*command: str | Path, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
    # LeakSanitizer traces the process, which some containers do not allow.
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
    core = built_core()
    options = ["-DEKD_SANITIZE_DEVICES=OFF", *([f"-DEKD_CORE_LIBRARY={core}"] if core else [])]
    for arguments in (
        ["-S", SOURCE, "-B", build, *options],
        ["--build", build],
    ):
        found = run(cmake, *arguments, timeout=1200.0)
        assert found.returncode == 0, found.stdout + found.stderr
    return build


@pytest.mark.parametrize(("program", "name"), TESTS)
def test_core(build: Path, program: str, name: str) -> None:
    found = run(build / program, name)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout == f"passed {name}\n"
