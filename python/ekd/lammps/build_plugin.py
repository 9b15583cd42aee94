"""Building and testing ``pair_style ekd`` for the LAMMPS of a site."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from ekd.compilation import build_with_cmake
from ekd.errors import BuildError
from ekd.lammps.run import Program

TOLERANCE = 1e-9
"""Largest allowed difference between LAMMPS and ASE in the test, eV/atom and eV/Å."""


@dataclass(frozen=True)
class SiteLammps:
    """A LAMMPS installation, as described by ``lmp -h``.

    Attributes:
        program: path of ``lmp``.
        version: version, such as ``22 Jul 2025``.
        sizes: ``smallbig`` or ``bigbig``.
        mpi: name and version of the MPI library, or ``none``.
        compiler: compiler that LAMMPS was built with.
        has_plugins: whether it has the package PLUGIN.
        kokkos: backends of the package KOKKOS, such as ``OpenMP`` or ``CUDA OpenMP``; empty without
            this package.
        directory: installation folder with the headers; None if they were not found.
    """

    program: Path
    version: str
    sizes: str
    mpi: str
    compiler: str
    has_plugins: bool
    kokkos: str
    directory: Path | None


@dataclass(frozen=True)
class Built:
    """Result of a build.

    Attributes:
        lammps: the LAMMPS that it was built for.
        plugin: path of ``ekdplugin.so``.
        launcher: path of ``lmp-ekd``; None if the library of LAMMPS was not found.
    """

    lammps: SiteLammps
    plugin: Path
    launcher: Path | None

    @property
    def has_kokkos(self) -> bool:
        """Whether it includes ``ekd/kk``."""
        return self.plugin.is_file() and b"ekd_create_pair_kokkos" in self.plugin.read_bytes()

    @property
    def program(self) -> Path:
        """Program to run: ``lmp`` if it supports plugins, else ``lmp-ekd``.

        Raises:
            BuildError: there is neither.
        """
        if self.lammps.has_plugins:
            return self.lammps.program
        if self.launcher is None:
            raise BuildError(
                f"'{self.lammps.program}' has no package PLUGIN, and the library liblammps, which "
                "is needed to build a program for it, was not found; name it with "
                "-D EKD_LAMMPS_LIBRARY=/path/to/liblammps.so",
                code="EKD-BUILD-015",
            )
        return self.launcher


def inspect(program: str | os.PathLike[str] = "lmp") -> SiteLammps:
    """Determine the properties of a LAMMPS.

    Args:
        program: name or path of ``lmp``.

    Raises:
        BuildError: there is no such program, or its output is not that of LAMMPS.
    """
    found = shutil.which(program)
    if found is None:
        raise BuildError(
            f"program '{os.fspath(program)}' not found; load the module of LAMMPS, or name the "
            "program with --lmp",
            code="EKD-BUILD-011",
        )
    found = str(Path(found).absolute())
    try:
        done = subprocess.run(
            [found, "-h"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise BuildError(
            f"'{found}' cannot be run ({error}); name lmp with --lmp", code="EKD-BUILD-012"
        ) from None
    version = re.search(r"Simulator - (\d+ [A-Z][a-z]+ \d{4})", done.stdout)
    if done.returncode != 0 or version is None:
        raise BuildError(
            f"'{found} -h' ended with status {done.returncode} and printed no LAMMPS version: "
            f"{(done.stderr or done.stdout).strip()[:500]}; set up its environment (modules, "
            "LD_LIBRARY_PATH), or name another program with --lmp",
            code="EKD-BUILD-012",
        )
    kokkos = re.search(r"^KOKKOS package API:(.*)$", done.stdout, re.MULTILINE)
    path = Path(found).resolve()
    # The folder of the program and its parent: a build folder, or an installation prefix.
    places = [path.parent, path.parent.parent]
    headers = [p for p in places if any((p / h).is_file() for h in _HEADERS)]
    return SiteLammps(
        program=Path(found),
        version=version[1],
        sizes="bigbig" if re.search(r"sizeof\(tagint\):\s*64", done.stdout) else "smallbig",
        mpi=_line(r"^MPI v[\d.]+: (.*)$", done.stdout),
        compiler=_line(r"^Compiler: (.*)$", done.stdout),
        has_plugins=re.search(r"\bPLUGIN\b", done.stdout) is not None,
        kokkos=kokkos[1].strip() if kokkos else "",
        directory=headers[0] if headers else None,
    )


_HEADERS = ("include/lammps/pair.h", "include/pair.h")


def _line(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return " ".join(found[1].split()) if found else "unknown"


def build(
    lammps: SiteLammps,
    output: str | os.PathLike[str],
    source: str | os.PathLike[str] | None = None,
    definitions: Sequence[str] = (),
    jobs: int = 0,
    tell: Callable[[float], None] | None = None,
) -> Built:
    """Build the plugin and, if it can be linked, the launcher with CMake and a C++ compiler.

    Args:
        lammps: result of :func:`inspect`.
        output: folder for ``lib/ekdplugin.so``, ``bin/lmp-ekd`` and the build folder.
        source: source folder of that LAMMPS, if its headers are not installed.
        definitions: CMake variables, such as ``MPI_CXX_COMPILER=mpicxx``.
        jobs: number of parallel compilations; 0: one per core.
        tell: callback for the compiled fraction, 0 to 1.

    Raises:
        BuildError: CMake or the headers of LAMMPS are missing, or the build fails.
    """
    output = Path(output).resolve()
    if source is not None:
        where = [f"LAMMPS_SOURCE_DIR={Path(source).resolve()}"]
        if lammps.directory is not None:
            where.append(f"LAMMPS_DIR={lammps.directory}")
    elif lammps.directory is not None:
        where = [f"LAMMPS_DIR={lammps.directory}"]
    elif any(text.startswith("LAMMPS_DIR=") for text in definitions):
        where = []
    else:
        raise BuildError(
            f"the headers of '{lammps.program}' are not installed with it (include/lammps/pair.h); "
            "name the source of that LAMMPS with --source, or the folder of its headers with "
            "-D LAMMPS_DIR=FOLDER",
            code="EKD-BUILD-016",
        )
    build_with_cmake(
        output,
        [
            "EKD_BUILD_PYTHON=OFF",
            "EKD_BUILD_LIBRARY=OFF",
            f"LAMMPS_EXECUTABLE={lammps.program}",
            *where,
            *definitions,
        ],
        jobs,
        tell,
    )
    launcher = output / "bin" / "lmp-ekd"
    return Built(lammps, output / "lib" / "ekdplugin.so", launcher if launcher.is_file() else None)


def try_out(built: Built, ranks: Sequence[int] = (1,), mpirun: str = "mpirun") -> float:
    """Run the style in that LAMMPS and compare it with ASE.

    The model is a random network with two interactions, so that features are exchanged between
    ranks; the structure is small and periodic. LAMMPS also runs the self-test of the model.
    ``ekd/kk`` is also tested, except for GPUs.

    Args:
        built: result of :func:`build`.
        ranks: numbers of MPI ranks to test.
        mpirun: command that starts several ranks, with options.

    Returns:
        The largest difference, eV/atom and eV/Å.

    Raises:
        LammpsError: LAMMPS fails.
        BuildError: its results differ from those of ASE.
    """
    from ase import Atoms

    from ekd.lammps.comparison import compare_with_ase

    water = [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]]
    second = [[x + 2.8, y + 0.3, z + 0.4] for x, y, z in water]
    atoms = Atoms("OH2OH2", positions=[*water, *second], cell=[7.0, 6.0, 6.5], pbc=True)
    atoms *= (2, 2, 1)
    command = tuple(shlex.split(mpirun))
    if max(ranks) > 1 and (not command or shutil.which(command[0]) is None):
        raise BuildError(
            f"there is no program '{mpirun}' to start several ranks; name it with --mpirun, or "
            "test only one rank with --mpirun ''",
            code="EKD-BUILD-013",
        )
    # `lmp` loads the plugin from the folder in the environment variable.
    lmp = str(built.program)
    programs = {"": Program((lmp,), command, built.plugin.parent)}
    # The machine of the build usually has no GPU.
    if built.has_kokkos and set(built.lammps.kokkos.split()) <= {"OpenMP", "Serial", "Pthreads"}:
        options = ("-k", "on", "t", "1", "-sf", "kk")
        programs["-kk"] = Program((lmp, *options), command, built.plugin.parent)
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="ekd-") as folder,
        as_file(files("ekd.lammps") / "smoke_test.pt") as model,
    ):
        for suffix, program in programs.items():
            found += compare_with_ase(
                Path(folder), f"trial{suffix}", atoms, model, ["O", "H"], ranks, program=program
            )
    largest = max(max(each.energy, each.force) for each in found)
    if not largest <= TOLERANCE:
        raise BuildError(
            f"in '{built.program}' the style differs by {largest:.1e} eV/Å from ASE, expected "
            f"less than {TOLERANCE:.0e}; do not use it, and report this with the output of "
            "'lmp -h'",
            code="EKD-BUILD-014",
        )
    return largest


def job_lines(built: Built, mpirun: str = "mpirun") -> str:
    """Return lines for a job script and the input that use the build."""
    folder = built.plugin.parent
    mpirun = mpirun or "mpirun"
    if built.lammps.has_plugins:
        return (
            f"export LAMMPS_PLUGIN_PATH={folder}:$LAMMPS_PLUGIN_PATH\n"
            f"{mpirun} {built.lammps.program} -in in.water\n\n"
            f"# or, in the input, before pair_style:\n"
            f"# plugin load {built.plugin}\n"
        )
    return f"{mpirun} {built.program} -in in.water\n"
