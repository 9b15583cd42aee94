"""Building the C++ sources that are installed with ekd, with CMake."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ekd.errors import BuildError


def source_directory() -> Path:
    """Folder of the C++ sources of ekd.

    Raises:
        BuildError: they are not installed.
    """
    package = Path(__file__).parent
    for folder in (package / "source", package.parents[1]):
        if (folder / "lammps_plugin" / "CMakeLists.txt").is_file():
            return folder
    raise BuildError(
        f"the C++ sources of ekd are not in '{package / 'source'}'; install ekd again, or run "
        "cmake in a checkout of it",
        code="EKD-BUILD-007",
    )


def build_with_cmake(
    output: Path,
    definitions: Sequence[str],
    jobs: int = 0,
    tell: Callable[[float], None] | None = None,
) -> None:
    """Configure, compile and install.

    Args:
        output: installation prefix; also holds the logs and the folder ``build``.
        definitions: CMake variables, such as ``EKD_BUILD_PYTHON=OFF``.
        jobs: number of parallel compilations; 0: one per core.
        tell: callback for the compiled fraction, 0 to 1.

    Raises:
        BuildError: no CMake, or the build fails.
    """
    cmake = shutil.which("cmake")
    if cmake is None:
        raise BuildError(
            "cmake was not found; load its module, or install it with 'pip install cmake'",
            code="EKD-BUILD-008",
        )
    source, folder = source_directory(), output / "build"
    defined = [
        f"-D{text}"
        for text in ("CMAKE_BUILD_TYPE=Release", f"CMAKE_INSTALL_PREFIX={output}", *definitions)
    ]
    if shutil.which("make") is None and shutil.which("ninja") is not None:
        defined += ["-G", "Ninja"]  # by default CMake looks for make
    # --fresh ignores the configuration of earlier attempts.
    _run(
        [cmake, "--fresh", "-S", str(source), "-B", str(folder), *defined], output / "configure.log"
    )
    n_jobs = jobs or len(os.sched_getaffinity(0))
    _run([cmake, "--build", str(folder), "--parallel", str(n_jobs)], output / "build.log", tell)
    _run([cmake, "--install", str(folder)], output / "install.log")


def _run(command: list[str], log: Path, tell: Callable[[float], None] | None = None) -> None:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(
            f"'{log.parent}' cannot be created ({error}); use another folder", code="EKD-BUILD-010"
        ) from None
    lines: list[str] = []
    with (
        log.open("w") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        file.write(f"{shlex.join(command)}\n\n")
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            file.write(line)
            if tell is not None and (share := _share(line)) is not None:
                tell(share)
    if process.returncode != 0:
        text = "".join(lines)
        errors = re.search(r"CMake Error(?: at [^\n]*\(message\))?:(.*?)\n\n", text, re.DOTALL)
        wrong = [line for line in lines if re.search(r"\berror\b", line)]
        reason = " ".join((errors[1] if errors else "".join(wrong[:3])).split())
        raise BuildError(
            f"the build failed: {reason or text[-300:]}; see '{log}'",
            code="EKD-BUILD-009",
        )


def _share(line: str) -> float | None:
    """Fraction done, from the output of make (``[ 23%] ...``) or Ninja (``[12/38] ...``)."""
    if (found := re.match(r"\[\s*(\d+)%\]", line)) is not None:
        return int(found[1]) / 100
    if (found := re.match(r"\[(\d+)/(\d+)\]", line)) is not None:
        return int(found[1]) / int(found[2])
    return None


@contextmanager
def compiling(console: Console, what: str) -> Iterator[Callable[[float], None]]:
    """Show a progress bar; yields the callback for :func:`build_with_cmake`.

    Args:
        console: console for the bar.
        what: title of the bar.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)
