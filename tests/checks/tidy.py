"""Runs clang-tidy on the C++ sources in parallel, with the checks of .clang-tidy.

    python tests/checks/tidy.py BUILD CLANG_TIDY [FILE...]

BUILD is a folder configured by CMake with CMAKE_EXPORT_COMPILE_COMMANDS=ON. Exit status 1: there
are warnings.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]


def sources(build: Path) -> list[str]:
    """Compiled sources of ekd; one for several instruction sets is listed only once."""
    commands = json.loads((build / "compile_commands.json").read_text())
    files = [os.path.relpath(command["file"], ROOT) for command in commands]
    return [file for file in dict.fromkeys(files) if file.startswith(("cpp/", "lammps_plugin/"))]


def openmp(build: Path) -> list[str]:
    """Options to find a copy of g++'s omp.h; clang cannot read the other headers in its folder."""
    header = subprocess.run(
        ["g++", "-print-file-name=include/omp.h"], capture_output=True, text=True, check=True
    ).stdout.strip()
    folder = build / "openmp"
    folder.mkdir(exist_ok=True)
    shutil.copy(header, folder / "omp.h")
    return [f"--extra-arg=-isystem{folder.resolve()}"]


def main(build: Path, program: str, chosen: list[str]) -> None:
    """Check the files, and print the results as they arrive."""
    files = chosen or sources(build)

    extra = openmp(build)

    def check(file: str) -> tuple[str, subprocess.CompletedProcess[str]]:
        command = [program, "-p", str(build), "--quiet", *extra, file]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return file, done

    n_failed = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for file, done in pool.map(check, files):
            print(f"{'ok' if done.returncode == 0 else 'FAILED'}  {file}", flush=True)
            if done.returncode != 0:
                n_failed += 1
                print(done.stdout or done.stderr, flush=True)
    print(f"{len(files)} files, {n_failed} with findings")
    if n_failed:
        sys.exit(1)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
