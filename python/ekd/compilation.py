"""The C++ sources that ekd brings, built with CMake where ekd is installed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ekd.errors import BuildError


def source_directory() -> Path:
    """Where the C++ sources of ekd are.

    Raises:
        BuildError: this installation came without them.
    """
    package = Path(__file__).parent
    for folder in (package / "source", package.parents[1]):
        if (folder / "lammps_plugin" / "CMakeLists.txt").is_file():
            return folder
    raise BuildError(
        f"the C++ sources of ekd are not in '{package / 'source'}'; install ekd again, or run "
        "cmake in a checkout of it"
    )


def build_with_cmake(output: Path, definitions: Sequence[str], jobs: int = 0) -> None:
    """Configure, compile and install.

    Args:
        output: the prefix; logs and the folder ``build`` go there too.
        definitions: for CMake, such as ``EKD_BUILD_PYTHON=OFF``.
        jobs: compilations at a time; 0: one for each core.

    Raises:
        BuildError: no CMake, or the build fails.
    """
    cmake = shutil.which("cmake")
    if cmake is None:
        raise BuildError(
            "there is no cmake; load its module, or install it with 'pip install cmake'"
        )
    source, folder = source_directory(), output / "build"
    defined = [
        f"-D{text}"
        for text in ("CMAKE_BUILD_TYPE=Release", f"CMAKE_INSTALL_PREFIX={output}", *definitions)
    ]
    if shutil.which("make") is None and shutil.which("ninja") is not None:
        defined += ["-G", "Ninja"]  # CMake would look for make
    # Whatever an earlier attempt has left does not matter.
    _run(
        [cmake, "--fresh", "-S", str(source), "-B", str(folder), *defined], output / "configure.log"
    )
    n_jobs = jobs or len(os.sched_getaffinity(0))
    _run([cmake, "--build", str(folder), "--parallel", str(n_jobs)], output / "build.log")
    _run([cmake, "--install", str(folder)], output / "install.log")


def _run(command: list[str], log: Path) -> None:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"'{log.parent}' cannot be made ({error}); name another folder") from None
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    log.write_text(f"{shlex.join(command)}\n\n{done.stdout}{done.stderr}")
    if done.returncode != 0:
        text = done.stdout + done.stderr
        errors = re.search(r"CMake Error(?: at [^\n]*\(message\))?:(.*?)\n\n", text, re.DOTALL)
        lines = [line for line in text.splitlines() if re.search(r"\berror\b", line)]
        reason = " ".join((errors[1] if errors else "\n".join(lines[:3])).split())
        raise BuildError(f"the build failed: {reason or text[-300:]}; all of it is in '{log}'")
