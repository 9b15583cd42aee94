"""libekd: a foreign project builds against the installed package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

import ekd
from c_interface import PREFIX
from ekd.inference import ExportedModel
from tolerances import tolerance

ROOT = Path(__file__).parents[3]
WATER = ([8, 1, 1], [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
CELL = [[7.1, 0.0, 0.0], [0.4, 6.3, 0.0], [-0.3, 0.9, 8.2]]

pytestmark = pytest.mark.skipif(
    PREFIX == ROOT / "python" / "ekd" and not (PREFIX / "include" / "ekd.h").exists(),
    reason="of a source directory that nothing was installed to",
)


def cmake(*arguments: str | Path) -> None:
    program = shutil.which(
        "cmake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    assert program is not None
    found = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.fixture(scope="module", params=["c in place", "c moved", "cpp moved"])
def water_program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, built against the installed package and against a copy in another folder."""
    build = tmp_path_factory.mktemp("build")
    prefix = PREFIX
    language, place = request.param.split(" ", 1)
    if place == "moved":
        prefix = tmp_path_factory.mktemp("moved")
        shutil.copytree(PREFIX / "include", prefix / "include")
        shutil.copytree(PREFIX / "lib" / "cmake", prefix / "lib" / "cmake")
        shutil.copy(PREFIX / "lib" / "libekd.so", prefix / "lib")
    cmake("-S", ROOT / "examples" / language, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    cmake("--build", build)
    return build / "water"


def test_the_example_prints_what_python_finds(water_program: Path, several: Path) -> None:
    printed = subprocess.run([water_program, several], capture_output=True, text=True, check=True)
    lines = printed.stdout.splitlines()
    expected = ExportedModel(several).evaluate(*WATER)
    assert_allclose(float(lines[0].split()[1]), expected.energy, rtol=1e-12)
    forces = [[float(word) for word in line.split(":")[1].split()[:3]] for line in lines[1:]]
    assert_allclose(forces, expected.forces, **tolerance("runtime").bounds)


def test_the_example_tells_errors(water_program: Path, tmp_path: Path) -> None:
    printed = subprocess.run(
        [water_program, tmp_path / "nothing.pt"], capture_output=True, text=True, check=False
    )
    assert printed.returncode == 1
    assert "cannot be opened" in printed.stderr


def test_another_version_is_not_taken(tmp_path: Path) -> None:
    source = tmp_path / "CMakeLists.txt"
    for version, is_found in ((ekd.__version__, True), ("99.0", False)):
        source.write_text(
            "cmake_minimum_required(VERSION 3.16)\nproject(p LANGUAGES C)\n"
            f"find_package(ekd {version} QUIET)\n"
            f"if(NOT ekd_FOUND STREQUAL {int(is_found)})\n"
            "message(FATAL_ERROR ${ekd_FOUND})\nendif()"
        )
        cmake("-S", tmp_path, "-B", tmp_path / version, f"-DCMAKE_PREFIX_PATH={PREFIX}")


@pytest.mark.parametrize("compiler", ["cc -std=c99", "c++ -std=c++11"])
def test_header_is_plain(tmp_path: Path, compiler: str) -> None:
    """All compilers accept the header without warnings."""
    source = tmp_path / ("a.c" if "c99" in compiler else "a.cpp")
    source.write_text('#include "ekd.h"\nint main(void) { return ekd_version() == 0; }\n')
    found = subprocess.run(
        [
            *compiler.split(),
            *["-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"],
            f"-I{PREFIX / 'include'}",
            source,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_only_the_interface_is_visible() -> None:
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", PREFIX / "lib" / "libekd.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    symbols = {line.split()[-1].split("@")[0] for line in listed.splitlines() if " T " in line}
    declared = set(
        re.findall(r"EKD_API .*?(ekd_\w+)\(", (PREFIX / "include" / "ekd.h").read_text())
    )
    assert symbols == declared
    assert not [line for line in listed.splitlines() if line.split()[1] not in "TA"]


def test_the_page_names_what_there_is() -> None:
    page = (ROOT / "docs" / "c_interface.md").read_text()
    header = (PREFIX / "include" / "ekd.h").read_text()
    for name, value in re.findall(r"(EKD_\w+) = (\d)", header):
        if name == "EKD_OK" or name.startswith("EKD_ERROR"):
            assert f"| {value} | `{name}` |" in page
    for name in re.findall(r"EKD_API .*?(ekd_\w+)\(", header):
        assert f"| `{name}` |" in page
