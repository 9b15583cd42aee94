"""``pair_style ekd`` for the LAMMPS of a site: built from the sources of ekd, and tried."""

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
"""What LAMMPS and ASE may differ by in the trial, eV/atom and eV/Å."""


@dataclass(frozen=True)
class SiteLammps:
    """What ``lmp -h`` says.

    Attributes:
        program: path of ``lmp``.
        version: such as ``22 Jul 2025``.
        sizes: ``smallbig`` or ``bigbig``.
        mpi: name and version of the MPI library, or ``none``.
        compiler: that LAMMPS was built with.
        has_plugins: whether it has the package PLUGIN.
        kokkos: backends of the package KOKKOS, such as ``OpenMP`` or ``CUDA OpenMP``; empty: it has
            no such package.
        directory: that it is installed in, with its headers; None: they were not found.
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
    """What was built, and for which LAMMPS.

    Attributes:
        lammps: that it is for.
        plugin: ``ekdplugin.so``.
        launcher: ``lmp-ekd``; None: the headers came without the library of LAMMPS.
    """

    lammps: SiteLammps
    plugin: Path
    launcher: Path | None

    @property
    def has_kokkos(self) -> bool:
        """Whether it has ``ekd/kk``."""
        return self.plugin.is_file() and b"ekd_create_pair_kokkos" in self.plugin.read_bytes()

    @property
    def program(self) -> Path:
        """What to run: ``lmp`` with the plugin where it takes plugins, else ``lmp-ekd``.

        Raises:
            BuildError: neither is there.
        """
        if self.lammps.has_plugins:
            return self.lammps.program
        if self.launcher is None:
            raise BuildError(
                f"'{self.lammps.program}' has no package PLUGIN, and the library liblammps, to "
                "build a program for it, was not found; name it with "
                "-D EKD_LAMMPS_LIBRARY=/path/to/liblammps.so",
                code="EKD-BUILD-015",
            )
        return self.launcher


def inspect(program: str | os.PathLike[str] = "lmp") -> SiteLammps:
    """Ask a LAMMPS what it is.

    Args:
        program: name or path of ``lmp``.

    Raises:
        BuildError: there is no such program, or it does not say what LAMMPS says.
    """
    found = shutil.which(program)
    if found is None:
        raise BuildError(
            f"there is no program '{os.fspath(program)}'; load the module of LAMMPS, or name the "
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
            f"'{found} -h' ended with status {done.returncode} and does not say which LAMMPS it "
            "is: "
            f"{(done.stderr or done.stdout).strip()[:500]}; set what it needs to run (modules, "
            "LD_LIBRARY_PATH), or name another program with --lmp",
            code="EKD-BUILD-012",
        )
    kokkos = re.search(r"^KOKKOS package API:(.*)$", done.stdout, re.MULTILINE)
    path = Path(found).resolve()
    # Folders of the program and above: a build folder, or the prefix of an installation.
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
    """Build the plugin, and where it can be linked the launcher, with CMake and a C++ compiler.

    Args:
        lammps: see :func:`inspect`.
        output: folder for ``lib/ekdplugin.so``, ``bin/lmp-ekd`` and the folder of the build.
        source: of that LAMMPS, where its headers are not installed.
        definitions: for CMake, such as ``MPI_CXX_COMPILER=mpicxx``.
        jobs: compilations at a time; 0: one for each core.
        tell: called with the share that is compiled, 0 to 1.

    Raises:
        BuildError: no CMake, no headers of LAMMPS, or the build fails.
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
            f"the headers of '{lammps.program}' are not beside it (include/lammps/pair.h); name "
            "the source of that LAMMPS with --source, or where its headers are installed with "
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
    """Run the style in that LAMMPS and compare with ASE.

    The model is a random network with two interactions, so that ranks exchange what they know; the
    structure is a small periodic one. LAMMPS also runs the self-test of the model. ``ekd/kk`` is
    tried too, unless it is for GPUs.

    Args:
        built: from :func:`build`.
        ranks: numbers of MPI ranks to try.
        mpirun: what starts several, options included.

    Returns:
        the largest difference found, eV/atom and eV/Å.

    Raises:
        LammpsError: LAMMPS fails.
        BuildError: its results are not those of ASE.
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
            f"there is no program '{mpirun}' to start several ranks; name it with --mpirun, or try "
            "one rank alone with --mpirun ''",
            code="EKD-BUILD-013",
        )
    # `lmp` takes the plugin from the folder that the environment names.
    lmp = str(built.program)
    programs = {"": Program((lmp,), command, built.plugin.parent)}
    # GPUs are rarely there where the style is built.
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
            f"below {TOLERANCE:.0e}; do not use it, and report this with the output of 'lmp -h'",
            code="EKD-BUILD-014",
        )
    return largest


def job_lines(built: Built, mpirun: str = "mpirun") -> str:
    """The lines for a job script, and the input, that use what was built."""
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
