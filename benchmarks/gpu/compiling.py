"""Compiles ekd with g++ alone: there may be no CMake on a machine with a GPU.

The files are those that lie in `cpp/src`; options that CMake gives single files stand here too.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from paths import BUILD, CPP, LAMMPS, ROOT, SITE, STYLE, CannotError

BENCH = Path(__file__).parent
PROGRAM = BUILD / "device_bench"

_DEVICE = CPP / "src" / "device"
_KERNEL_PROGRAMS = {"program.cu": "kProgram", "training.cu": "kTrainingProgram"}
_COMMON = (
    "-std=c++20",
    "-fPIC",
    "-fvisibility=hidden",
    "-pthread",
    f"-I{CPP / 'include'}",
    f"-I{BUILD / 'generated'}",
)
_CONTRACTED = ("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
_OF_FILES: dict[str, tuple[str, ...]] = {
    "neighbor_kernels.cpp": ("-ffp-contract=off",),
    "atom_kernels_cpu.cpp": _CONTRACTED,
    "message_cpu.cpp": _CONTRACTED,
    "pair_weights_cpu.cpp": _CONTRACTED,
}
_KERNELS = CPP / "src" / "kernels" / "hipnn_kernels.cpp"  # once for each instruction set
_SETS: dict[str, tuple[int, tuple[str, ...]]] = {
    "portable": (16, ()),
    "avx2": (32, ("-march=x86-64-v3",)),
    "avx512": (64, ("-march=x86-64-v4", "-mprefer-vector-width=512")),
}


@dataclass(frozen=True)
class Unit:
    """A source file with its options."""

    source: Path
    options: tuple[str, ...]

    @property
    def object(self) -> Path:
        key = hashlib.sha256(repr(self.options).encode()).hexdigest()[:8]
        return BUILD / "objects" / f"{self.source.stem}-{key}.o"


@dataclass
class Target:
    """A program or a library.

    Attributes:
        name: as messages call it.
        output: the file.
        units: what is compiled for it.
        link: options of the linker.
    """

    name: str
    output: Path
    units: list[Unit]
    link: list[str] = field(default_factory=list)


def version() -> str:
    """Of ekd."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def sources_checksum() -> str:
    """As CMakeLists.txt makes it: libraries of one build fit each other."""
    headers = sorted((CPP / "include" / "ekd").glob("*.hpp"))
    sums = "".join(hashlib.sha256(header.read_bytes()).hexdigest() for header in headers)
    return hashlib.sha256(sums.encode()).hexdigest()[:12]


def write_kernel_texts() -> None:
    """`sources.hpp`, the text of the kernels, as `cpp/cmake/DeviceSources.cmake` writes it."""
    found: dict[str, str] = {}
    waiting = list(_KERNEL_PROGRAMS)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = (_DEVICE / name).read_text()
        waiting += re.findall(r'^#include "(\w+\.hpp)"', found[name], flags=re.MULTILINE)
    entries = {name: f'{{"{name}", R"EKD({text})EKD"}}' for name, text in found.items()}
    programs = [
        f"inline constexpr Source {constant} = {entries.pop(name)};\n"
        for name, constant in _KERNEL_PROGRAMS.items()
    ]
    text = (
        "#pragma once\n\nnamespace ekd::device {\nstruct Source {\n  const char* name;\n"
        "  const char* text;\n};\ninline constexpr Source kHeaders[] = {\n"
        + ",\n".join(entries.values())
        + "};\n"
        + "".join(programs)
        + "}  // namespace ekd::device\n"
    )
    _write_if_changed(BUILD / "generated" / "sources.hpp", text)


def core_units(level: str = "-O3") -> list[Unit]:
    """Core, kernels, devices and runtime."""
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    options = (*_COMMON, level, f'-DEKD_VERSION="{version()}"', *(["-DEKD_X86"] * is_x86))
    units = []
    for folder in ("core", "kernels", "device", "runtime"):
        for source in sorted((CPP / "src" / folder).glob("*.cpp")):
            if source != _KERNELS:
                units.append(Unit(source, (*options, *_OF_FILES.get(source.name, ()))))
    for name, (size, machine) in _SETS.items():
        if is_x86 or name == "portable":
            defined = (
                f"-DEKD_ISA={name}",
                f"-DEKD_VECTOR_BYTES={size}",
                "-Wno-maybe-uninitialized",
            )
            units.append(Unit(_KERNELS, (*_COMMON, level, *defined, *_CONTRACTED, *machine)))
    return units


def program(level: str = "-O3", core: Path | None = None) -> Target:
    """`device_bench`; with `core`, a static library, everything else is in there."""
    own = [BENCH / "device_bench.cpp", *sorted((BENCH / "bench").glob("*.cpp"))]
    units = [Unit(source, (*_COMMON, level)) for source in own]
    if core is None:
        return Target("device_bench", PROGRAM, [*core_units(level), *units], ["-ldl", "-pthread"])
    return Target("device_bench", PROGRAM, units, [str(core), "-ldl", "-pthread"])


def python_module(level: str = "-O3") -> Target:
    """`ekd._core` for the Python that runs this.

    Raises:
        CannotError: there are no headers of this Python, or of pybind11.
    """
    includes = [Path(sysconfig.get_paths()["include"])]
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    includes.append(BUILD / "headers" / name)
    python = next((folder for folder in includes if (folder / "Python.h").exists()), None)
    if python is None:
        raise CannotError(
            f"Python.h of {name} is neither in '{includes[0]}' nor in the kit; install the headers "
            "of Python, or fill the kit where there is one of this version"
        )
    pybind = SITE / "pybind11" / "include"
    if not pybind.exists():
        raise CannotError("pybind11 is not in the kit; fill it anew with 'make gpu-kit'")
    options = (*_COMMON, "-O2", f"-isystem{python}", f"-isystem{pybind}")
    output = SITE / "ekd" / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    own = Unit(CPP / "src" / "python" / "module.cpp", options)
    return Target("ekd._core", output, [*core_units(level), own], ["-shared", "-ldl", "-pthread"])


def style(torch_version: str | None, level: str = "-O3") -> list[Target]:
    """`pair_style ekd` for the LAMMPS of the kit, as `lammps_plugin/CMakeLists.txt` builds it.

    Raises:
        CannotError: the kit has no LAMMPS.
    """
    numbers = LAMMPS / "version.txt"
    if not numbers.exists():
        raise CannotError("the kit has no LAMMPS; fill it anew with 'make gpu-kit'")
    number, package = numbers.read_text().split()
    options = (
        *_COMMON,
        "-O2",
        f"-DEKD_LAMMPS_VERSION={number}",
        "-DLAMMPS_SMALLBIG",
        "-DOMPI_SKIP_MPICXX",
        "-DMPICH_SKIP_MPICXX",
        f"-isystem{LAMMPS / 'lammps' / 'include' / 'lammps'}",
        f"-isystem{LAMMPS / 'mpi' / 'include'}",
    )
    if torch_version is not None:
        known = f'-DEKD_TORCH_VERSION="{torch_version}"', f'-DEKD_SOURCES="{sources_checksum()}"'
        options = (*options, *known)
    folder = SITE / "ekd" / "lib"
    link = ["-shared", "-ldl", "-pthread", "-Wl,-z,nodelete"]
    parts = [
        Unit(source, options)
        for source in sorted(STYLE.glob("*.cpp"))
        if source.name not in ("ekdplugin.cpp", "launcher.cpp")
    ]
    entry = Unit(STYLE / "ekdplugin.cpp", (*options, f'-DEKD_LAMMPS_PACKAGE_VERSION="{package}"'))
    return [
        Target("pair_style ekd", folder / "libekd_pair.so", [*core_units(level), *parts], link),
        Target("ekdplugin", folder / "ekdplugin.so", [entry], link),
    ]


def torch_library(folder: Path, level: str = "-O3") -> Target:
    """What training needs and what runs TorchScript, for the torch in a folder."""
    headers = ("include", "include/torch/csrc/api/include")
    options = (*_COMMON, "-O2", "-fopenmp", *(f"-isystem{folder / name}" for name in headers))
    own = [Unit(source, options) for source in sorted((CPP / "src" / "torch_ops").glob("*.cpp"))]
    link = [
        *("-shared", "-fopenmp", "-ldl", "-pthread", "-Wl,--no-as-needed"),
        *(f"-L{folder / 'lib'}", f"-Wl,-rpath,{folder / 'lib'}"),
        *("-ltorch", "-ltorch_cpu", "-lc10"),
    ]
    output = SITE / "ekd" / "lib" / "libekd_torch.so"
    return Target("libekd_torch", output, [*core_units(level), *own], link)


def build(targets: Sequence[Target], jobs: int) -> Iterator[dict[str, object]]:
    """Compile and link; a record for each target: `name`, `seconds`, and `error` if it failed."""
    write_kernel_texts()
    (BUILD / "objects").mkdir(parents=True, exist_ok=True)
    units = list(dict.fromkeys(unit for target in targets for unit in target.units))
    # What takes longest comes first.
    units.sort(key=lambda unit: ("torch_ops" in str(unit.source), unit.source == _KERNELS))
    units.reverse()
    start = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        errors = dict(zip(units, pool.map(_compile, units), strict=True))
    for target in targets:
        failed = [error for unit in target.units if (error := errors[unit])]
        error = failed[0] if failed else _link(target)
        record: dict[str, object] = {"name": target.name, "seconds": time.monotonic() - start}
        yield record | ({"error": error} if error else {})


def _is_fresh(unit: Unit) -> bool:
    """Whether nothing that it was compiled from has changed since."""
    listed = unit.object.with_suffix(".d")
    if not unit.object.exists() or not listed.exists():
        return False
    made = unit.object.stat().st_mtime
    files = listed.read_text().replace("\\\n", " ").partition(":")[2].split()
    return all(Path(file).exists() and Path(file).stat().st_mtime <= made for file in files)


def _compile(unit: Unit) -> str:
    """An error, or nothing."""
    if _is_fresh(unit):
        return ""
    return _run(["g++", *unit.options, "-MD", "-c", str(unit.source), "-o", str(unit.object)])


def _link(target: Target) -> str:
    target.output.parent.mkdir(parents=True, exist_ok=True)
    objects = [str(unit.object) for unit in target.units]
    # A running program keeps the file that it has.
    target.output.unlink(missing_ok=True)
    return _run(["g++", *objects, "-o", str(target.output), *target.link])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "g++ was not found; install a C++ compiler"
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
    return f"{Path(command[-1] if '-c' not in command else command[-3]).name}: {lines[0]:.500}"


def _write_if_changed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def jobs() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
