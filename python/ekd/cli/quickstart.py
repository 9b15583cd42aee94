"""The command ``quickstart``: run the pipeline on the example data."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from ekd.cli.options import Quiet, Resume, load
from ekd.errors import EKDError
from ekd.files import atomic_write
from ekd.pipeline.order import STAGES


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("quickstart")(quickstart)


def quickstart(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for data, configuration and results.")
    ] = Path("demo"),
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Run the pipeline on example CCSD(T) data: about seven minutes on two cores.

    Copies the data and a commented configuration into a folder, trains teachers and a student,
    compares them with true CCSD(T) forces, and runs the student in LAMMPS. All results, including
    `report.html`, are in that folder; use `quickstart.toml` there as a template for your own data.

    **Examples**

        ekd quickstart

        ekd quickstart --output demo --resume
    """
    from ekd.cli.stages import execute
    from ekd.pipeline.record import Existing

    if output.exists() and not output.is_dir():
        raise EKDError(f"'{output}' is a file; name a folder with --output", code="EKD-RUN-001")
    if output.is_dir() and any(output.iterdir()) and not resume:
        raise EKDError(
            f"folder '{output}' is not empty; add --resume to continue a quickstart in it, or "
            "choose another one with --output",
            code="EKD-RUN-001",
        )
    copy_files(output)
    config = load(output / "quickstart.toml", output)
    execute(config, Existing.RESUME if resume else Existing.REFUSE, quiet, STAGES)


def copy_files(target: Path) -> None:
    """Copy the example configuration and data, except for files that already exist.

    Raises:
        EKDError: ekd was installed without them, or the target cannot be written to.
    """
    source = Path(str(resources.files("ekd"))) / "quickstart"
    if not (source / "quickstart.toml").exists():
        raise EKDError(
            f"the files of the quickstart are not in '{source}'; install ekd again with "
            "pip install --force-reinstall ekd",
            code="EKD-BUILD-020",
        )
    for file in [source / "quickstart.toml", *sorted((source / "data").glob("*.h5"))]:
        copy = target / file.relative_to(source)
        if not copy.exists():
            with atomic_write(copy) as temporary:
                shutil.copyfile(file, temporary)
