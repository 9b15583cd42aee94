"""The command ``torch build``: build the training operators for the installed torch."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

program = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""
Support for other releases of torch in training.

ekd is built for one release of torch. To train with another release, run `ekd torch build`.
""",
)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.add_typer(program, name="torch")


@program.callback()
def _program() -> None:
    pass


@program.command()
def build(
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", help="Parallel compilations; 0: one per core.")
    ] = 0,
) -> None:
    """Build the training operators for the torch of this Python environment.

    This requires CMake and a C++20 compiler, and takes about two minutes. The library is installed
    in the folder of ekd, next to those for other releases. MD with exported models needs no torch.
    """
    import importlib.metadata

    from ekd import _native
    from ekd.compilation import build_with_cmake, compiling
    from ekd.errors import BuildError
    from ekd.files import atomic_write

    console = Console(highlight=False, soft_wrap=True)
    try:
        release = importlib.metadata.version("torch").split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        raise BuildError(
            "torch is not installed; install it with 'pip install torch'", code="EKD-BUILD-003"
        ) from None
    if release == _native.build_info().TORCH_VERSION:
        console.print(f"ekd was built for torch {release}: nothing to do")
        return
    target = _native.library_for_torch(release)
    if not os.access(_native.LIBRARY_DIRECTORY, os.W_OK):
        raise BuildError(
            f"'{_native.LIBRARY_DIRECTORY}' cannot be written to; install ekd into an environment "
            "of your own",
            code="EKD-BUILD-006",
        )
    folder = tempfile.mkdtemp(prefix="ekd-")  # kept after a failure, because it has the logs
    with compiling(console, f"building for torch {release}") as tell:
        build_with_cmake(
            Path(folder),
            [
                "EKD_BUILD_PYTHON=OFF",
                "EKD_BUILD_TORCH=ON",
                "EKD_BUILD_LIBRARY=OFF",
                "EKD_BUILD_LAMMPS_PLUGIN=OFF",
                f"Python_EXECUTABLE={sys.executable}",
            ],
            jobs,
            tell,
        )
        (library,) = Path(folder).glob("**/ekd/lib/libekd_torch.so")
        with atomic_write(target) as temporary:  # other processes may be using it
            shutil.copy(library, temporary)
    shutil.rmtree(folder)
    _native.load_ops()
    console.print(f"built for torch {release}: {target}")
