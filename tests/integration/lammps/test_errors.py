"""User errors in LAMMPS inputs: one clear message each, never a crash."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from ekd import _native
from ekd.files import sha256
from ekd.lammps import plugin
from lammps_runs import RunLammps
from models import other_format, without_weights

BOX = """
units {units}
atom_style {style}
{before}
region box block 0 10 0 10 0 10
create_box 2 box {box}
{atoms}
mass 1 16.0
mass 2 1.0
pair_style ekd {settings}
pair_coeff {coefficients}
run 0
"""
ATOMS = "create_atoms 1 single 1 1 1\ncreate_atoms 2 single 2 1 1"


def script(model: Path | str, **changes: str) -> str:
    """A valid input script for two atoms, with some parts replaced."""
    parts = {
        "units": "metal",
        "style": "atomic",
        "before": "",
        "box": "",
        "atoms": ATOMS,
        "settings": "",
        "coefficients": f"* * {model} O H",
    }
    return BOX.format(**{**parts, **changes}).replace("MODEL", str(model))


def test_the_input_itself_is_sound(run_lammps: RunLammps, model_folder: Path) -> None:
    run = run_lammps(script(model_folder / "2-float64.pt"))
    assert run.returncode == 0, run.screen
    assert "types 1=O 2=H, cutoff 4 Angstrom, 2 interaction(s), float64" in run.screen


def test_loading_prints_nothing_but_lammps(run_lammps: RunLammps, model_folder: Path) -> None:
    """With LD_BIND_NOW, the loader would warn about functions that are selected during linking."""
    run = run_lammps(script(model_folder / "2-float64.pt"), environment={"LD_BIND_NOW": "1"})
    assert run.returncode == 0, run.screen
    assert "Relink" not in run.screen
    assert run.screen.startswith("LAMMPS (")


def test_no_function_is_chosen_by_the_loader() -> None:
    """The compiled libraries have no IFUNC symbols; see EKD_FUNCTION."""
    libraries = [
        *_native.LIBRARY_DIRECTORY.glob("*.so"),
        *_native.LIBRARY_DIRECTORY.parent.glob("_core*.so"),
    ]
    assert len(libraries) >= 4
    for library in libraries:
        assert not ifunc_symbols(library.read_bytes()), library


def ifunc_symbols(elf: bytes) -> int:
    """Number of dynamic symbols of a 64-bit ELF file whose type is GNU_IFUNC (10)."""
    assert elf[:5] == b"\x7fELF\x02"
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count = struct.unpack_from("<HH", elf, 0x3A)
    found = 0
    for k in range(count):
        kind, _, _, offset, length = struct.unpack_from("<IQQQQ", elf, table + k * size + 4)
        if kind in (2, 11):  # SYMTAB, DYNSYM
            found += sum(elf[at + 4] & 15 == 10 for at in range(offset, offset + length, 24))
    return found


@pytest.mark.parametrize("n_ranks", [1, 2])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coefficients": "* * MODEL O"}, "names 1 element(s), but there are 2 atom types"),
        ({"coefficients": "* * MODEL O H H"}, "names 3 element(s), but there are 2 atom types"),
        ({"coefficients": "* * MODEL"}, "names 0 element(s)"),
        ({"coefficients": "* * MODEL O Xx"}, "gives atom type 2 the element 'Xx', which is not"),
        ({"coefficients": "* *"}, "reads: pair_coeff * * student.pt"),
        ({"coefficients": "1 2 MODEL O H"}, "Pair_coeff"),  # LAMMPS itself requires * *
        ({"coefficients": "* * nothing.pt O H"}, "'nothing.pt' cannot be opened"),
        ({"coefficients": "* * in.test O H"}, "'in.test' is not an exported model"),
        ({"units": "lj"}, "needs units metal or units real, found units lj"),
        ({"settings": "fast"}, "Unknown pair_style ekd keyword 'fast'"),
        ({"settings": "ghosts"}, "keyword 'ghosts' lacks its value"),
        ({"settings": "ghosts all"}, "ghosts is 'all', expected wide or staged"),
        ({"settings": "precision half"}, "precision is 'half', expected single or double"),
        ({"settings": "self_test maybe"}, "self_test is 'maybe', expected yes or no"),
        ({"settings": "block -1"}, "block is -1, expected 0 (all atoms) or more"),
        ({"settings": "device warp"}, "pair_style ekd: "),
        ({"settings": "energy free"}, "energy is 'free', expected relative or total"),
        (
            {"atoms": "create_atoms 1 single 1 1 1\ncreate_atoms 2 single 1 1 1"},
            "atoms 1 and 2 are 0 Angstrom apart",
        ),
        ({"coefficients": "* * MODEL O NULL"}, "All pair coeffs are not set"),
    ],
)
def test_refuses(
    run_lammps: RunLammps,
    model_folder: Path,
    changes: dict[str, str],
    message: str,
    n_ranks: int,
) -> None:
    run = run_lammps(script(model_folder / "1-float64.pt", **changes), n_ranks)
    assert run.returncode != 0
    assert message in run.error, run.screen[-3000:]


def test_truncated_model(run_lammps: RunLammps, model_folder: Path, tmp_path: Path) -> None:
    content = (model_folder / "1-float64.pt").read_bytes()
    (tmp_path / "short.pt").write_bytes(content[: len(content) // 2])
    run = run_lammps(script("short.pt"))
    assert "'short.pt' is truncated or damaged" in run.error


def test_newer_format(run_lammps: RunLammps, model_folder: Path, tmp_path: Path) -> None:
    other_format(model_folder / "1-float64.pt", tmp_path / "future.pt")
    run = run_lammps(script("future.pt"))
    assert "'future.pt' has model format 5" in run.error


# ---- another torch, another LAMMPS ----------------------------------------------------------


def assert_names_both(error: str, found: str, built_for: str, *mends: str) -> None:
    for part in (found, built_for, *mends):
        assert part in error


def test_another_torch(run_lammps: RunLammps, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "version.py").write_text("__version__ = '2.9.1+cu130'\n")
    model = without_weights(model_folder / "1-float64.pt", tmp_path / "script.pt")
    run = run_lammps(script(model), environment={"EKD_TORCH_DIR": f"{tmp_path}/torch"})
    assert run.returncode != 0
    assert "ekd upgrade" in run.error
    built_for = _native.build_info().TORCH_VERSION
    assert_names_both(
        run.error,
        "torch 2.9.1",
        f"torch {built_for}",
        f"pip install torch=={built_for}",
        "ekd torch build",
    )


def test_no_torch(run_lammps: RunLammps, model_folder: Path, tmp_path: Path) -> None:
    """The error occurs only if torch is needed."""
    model = model_folder / "1-float64.pt"
    without = {"EKD_TORCH_DIR": f"{tmp_path}/none"}
    portable = without_weights(model, tmp_path / "script.pt")
    for needy in (script(portable), script(portable, settings="device cuda")):
        assert "no torch was found at" in run_lammps(needy, environment=without).error
    assert run_lammps(script(model), environment=without).returncode == 0


def test_another_lammps(run_lammps: RunLammps, model_folder: Path, tmp_path: Path) -> None:
    """A preloaded library makes LAMMPS report another version."""
    compiler = shutil.which("c++") or shutil.which("g++")
    assert compiler, "building ekd needed a C++ compiler, so there must be one"
    source = tmp_path / "other.cpp"
    source.write_text('extern "C" int lammps_version(void*) { return 20240829; }\n')
    subprocess.run([compiler, "-shared", "-fPIC", source, "-o", tmp_path / "other.so"], check=True)
    run = run_lammps(
        script(model_folder / "1-float64.pt"), environment={"LD_PRELOAD": f"{tmp_path}/other.so"}
    )
    assert run.returncode != 0
    package = _native.build_info().LAMMPS_PACKAGE_VERSION
    assert_names_both(
        run.error,
        "LAMMPS 29 Aug 2024",
        "LAMMPS 22 Jul 2025",
        f"lammps[mpi]=={package}",
        "ekd lammps build",
    )


def test_plugin_needs_no_plugin_load() -> None:
    assert os.path.exists(os.path.join(plugin.directory(), "ekdplugin.so"))


def test_model_by_its_sha256(run_lammps: RunLammps, model_folder: Path) -> None:
    model = model_folder / "2-float64.pt"
    digits = sha256(model)
    run = run_lammps(script(model, settings=f"sha256 {digits.upper()}"))
    assert run.returncode == 0, run.screen
    run = run_lammps(script(model, settings=f"sha256 {'0' * 64}"))
    assert run.returncode != 0
    assert f"is not the expected file: its SHA-256 is {digits}, expected {'0' * 64}" in run.error
    run = run_lammps(script(model, settings="sha256 abc"))
    assert run.returncode != 0
    assert "the expected SHA-256 is 'abc'; give 64 hexadecimal digits" in run.error


def test_sha256_is_compared_before_anything_else(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path
) -> None:
    """The file is not a model, or a model that torch would run."""
    (tmp_path / "odd.pt").write_text("no archive")
    script_alone = without_weights(model_folder / "2-float64.pt", tmp_path / "script.pt")
    for path in (tmp_path / "odd.pt", script_alone):
        run = run_lammps(script(path, settings=f"sha256 {'0' * 64}"))
        assert run.returncode != 0
        assert "is not the expected file" in run.error


def test_restart_file_with_an_absurd_length(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path
) -> None:
    model = model_folder / "2-float64.pt"
    run = run_lammps(script(model) + "write_restart end.restart\n")
    assert run.returncode == 0, run.screen
    content = (run.folder / "end.restart").read_bytes()
    word = struct.pack("i", len("committee_every")) + b"committee_every"
    assert content.count(word) == 1
    for length in (-1, 2**31 - 1):
        damaged = content.replace(word, struct.pack("i", length) + b"committee_every")
        (run.folder / "damaged.restart").write_bytes(damaged)
        run = run_lammps("units metal\natom_style atomic\nread_restart damaged.restart\n")
        assert run.returncode != 0
        assert f"the restart file holds a text of {length} bytes, expected up to" in run.error
