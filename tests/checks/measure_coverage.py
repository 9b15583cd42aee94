"""Measures which lines of Python and C++ the tests run.

    python tests/checks/measure_coverage.py [--folder coverage] [--least 90] [PYTEST ARGUMENT...]

Builds ekd with coverage counters in a copy of the package, and runs all tests with it, or those
given as arguments. ``python.html/``, ``cpp.html``, and ``coverage.json`` with the percentages are
written to the folder. Exit status 1: a test has failed, or less than --least percent of the lines
were run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COUNTERS = "-O1 --coverage -fprofile-update=atomic -fprofile-abs-path"


def run(*command: str | Path, **environment: str) -> int:
    """Run a command in the root of the repository; return its exit status."""
    print("$", *command, flush=True)
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=ROOT, env={**os.environ, **environment}, check=False
    ).returncode


def require(*command: str | Path) -> None:
    """Run a command; exit if it fails."""
    if run(*command) != 0:
        sys.exit("this failed; see above")


def build(folder: Path) -> Path:
    """Compile with coverage counters; return the folder of the complete package."""
    package = folder / "package"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(
        ROOT / "python" / "ekd",
        package / "ekd",
        ignore=shutil.ignore_patterns(
            "__pycache__", "*.so", "lib", "include", "source", "_build.py"
        ),
    )
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    jobs = str(len(os.sched_getaffinity(0)))
    common = ["-DCMAKE_BUILD_TYPE=None", f"-DCMAKE_CXX_FLAGS={COUNTERS}"]
    require(
        *("cmake", "-S", ROOT, "-B", folder / "ekd", *generator, *common),
        *(f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_INSTALL_PREFIX={package}"),
    )
    require("cmake", "--build", folder / "ekd", "--parallel", jobs)
    require("cmake", "--install", folder / "ekd")
    source = ROOT / "tests" / "cpp"
    require(
        *("cmake", "-S", source, "-B", folder / "core", *generator, *common, "-DEKD_SANITIZE=OFF")
    )
    require("cmake", "--build", folder / "core", "--parallel", jobs)
    return package


def measure(folder: Path, package: Path, arguments: list[str]) -> int:
    """Run the tests; return the exit status of pytest."""
    for old in [*folder.rglob("*.gcda"), *folder.glob("python.data*")]:
        old.unlink()
    status = run(folder / "core" / "ekd_core_tests") or run(folder / "core" / "ekd_device_tests")
    parallel = ["-n", "logical", "--maxprocesses", "8", "--dist", "loadfile"]
    return status or run(
        *(sys.executable, "-m", "coverage", "run"),
        f"--rcfile={Path(__file__).with_name('coverage.ini')}",
        *("-m", "pytest", "-q"),
        *(parallel if "-n" not in arguments else ()),
        *arguments,
        PYTHONPATH=str(package),
        COVERAGE_FILE=str(folder / "python.data"),
        OMP_NUM_THREADS="1",
    )


def report(folder: Path) -> dict[str, float]:
    """Write the reports; return the percentages of lines that were run."""
    data = [f"--data-file={folder / 'python.data'}"]
    config = [f"--rcfile={Path(__file__).with_name('coverage.ini')}"]
    coverage = [sys.executable, "-m", "coverage"]
    require(*coverage, "combine", *data, *config, "-q")
    require(*coverage, "html", *data, *config, "-q", "-d", folder / "python.html")
    require(*coverage, "json", *data, *config, "-q", "-o", folder / "python.json")
    require(*coverage, "report", *data, *config, "--skip-covered", "--sort=cover")
    require(
        *(sys.executable, "-m", "gcovr", "--root", ROOT, "--filter", f"{ROOT}/cpp/"),
        *("--filter", f"{ROOT}/lammps_plugin/", "--exclude-throw-branches"),
        *(
            "--gcov-ignore-parse-errors=negative_hits.warn_once_per_file",
            # A line of a kernel can run billions of times.
            "--gcov-ignore-parse-errors=suspicious_hits.warn_once_per_file",
            "--sort",
            "uncovered-percent",
        ),
        *(
            "--html-details",
            folder / "cpp.html",
            "--json-summary",
            folder / "cpp.json",
            "--txt",
            "-",
        ),
        *(folder / "ekd", folder / "core"),
    )
    python = json.loads((folder / "python.json").read_text())["totals"]
    cpp = json.loads((folder / "cpp.json").read_text())
    return {"python": python["percent_covered"], "cpp": cpp["line_percent"]}


def main() -> None:
    """Build, measure, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "coverage")
    parser.add_argument("--least", type=float, default=90.0)
    arguments, rest = parser.parse_known_args()
    folder = arguments.folder.resolve()
    status = measure(folder, build(folder), rest)
    shares = report(folder)
    (folder / "coverage.json").write_text(json.dumps(shares, indent=1) + "\n")
    for language, share in shares.items():
        print(f"{language}: {share:.1f} % of the lines")
    low = [language for language, share in shares.items() if share < arguments.least]
    if status != 0:
        sys.exit("tests have failed")
    if low:
        sys.exit(f"less than {arguments.least:g} % of the lines of: {', '.join(low)}")


if __name__ == "__main__":
    main()
