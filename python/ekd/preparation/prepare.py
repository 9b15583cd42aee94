"""Conversion of any number of files to one prepared file, which can be killed and resumed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ekd.data.readers import Request, open_source
from ekd.data.readers.hdf5_walk import SUFFIXES
from ekd.errors import ConfigError, DataError
from ekd.files import cannot_write, state_of
from ekd.preparation.data_summary import Summary
from ekd.preparation.preparation_job import Options, PreparationJob

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


PerInput = str | Sequence[str | None] | None


def prepare_dataset(
    inputs: Paths,
    output: str | os.PathLike[str],
    energy: PerInput = None,
    forces: PerInput = None,
    energy_unit: PerInput = None,
    *,
    length_unit: PerInput = None,
    gradients: bool = False,
    format: PerInput = None,
    keys: Mapping[str, str] | None = None,
    where: Mapping[str, Any] | None = None,
    states: Literal["neutral", "all"] | None = None,
    level_of_theory: str | None = None,
    drop_duplicates: bool = False,
    drop_outliers: bool = False,
    drop_incomplete: bool = False,
    outlier_deviations: float = 20.0,
    min_distance: float = 0.4,
    compress: bool = True,
    overwrite: bool = False,
    progress: bool = True,
) -> Summary:
    """Convert data files to one prepared file, which :func:`ekd.load_dataset` reads without keys.

    Keys and units are given once for all inputs, or as a sequence with one entry per input.
    Configurations without an energy are left out and counted. A picture with histograms is written
    to the same folder, with suffix ``.png`` instead of ``.h5``.

    The result depends only on the inputs and options. If the process is killed, the same call
    continues the work, which is stored in ``.NAME.work`` in the folder of the output. If the output
    is already complete, the same call returns its summary.

    Args:
        inputs: one file or several, of any format of :func:`ekd.load_dataset`.
        output: ``.h5`` file to write.
        energy: key of the energy; None: see :func:`ekd.load_dataset`.
        forces: key of the forces; None: energies only. Kept if all inputs have them.
        energy_unit: unit of the energy; None: stated in the file, or the default of its format.
        length_unit: unit of lengths; None: stated in the file, or the default of its format.
        gradients: the forces are energy gradients, whose sign is reversed.
        format: name of an ASE format; None: determined by suffix and content.
        keys: names of positions, atomic numbers and cells in the inputs, see
            :func:`ekd.load_dataset`; the same for all inputs.
        where: required values of keys, see :func:`ekd.load_dataset`; the same for all inputs.
        states: treatment of charges and spins, see :func:`ekd.load_dataset`.
        level_of_theory: description; None: as stated in the inputs.
        drop_duplicates: keep only the first configuration of every geometry.
        drop_outliers: drop energies and contacts beyond the two limits below.
        drop_incomplete: drop configurations with an energy but without finite positions, finite
            forces (if requested), atoms, or a valid cell, instead of raising an error.
        outlier_deviations: energies per atom, minus the reference energies, are outliers if they
            are more than this many robust standard deviations (1.4826 MAD) from the median of
            their formula, or of all formulas that occur fewer than 10 times.
        min_distance: Å; configurations with a closer contact are outliers.
        compress: write compressed chunks; otherwise the arrays can be streamed without unpacking.
        overwrite: replace an output made from other inputs or options.
        progress: show progress on standard error, if it is a terminal.

    Raises:
        ConfigError: an option is invalid, or the number of keys differs from that of inputs.
        DataError: an input is missing or damaged or lacks a requested quantity, or the output
            already exists or cannot be written.
        EKDError: another process is preparing the same output.
    """
    output = Path(output)
    paths = [Path(p) for p in ([inputs] if isinstance(inputs, (str, os.PathLike)) else inputs)]
    options = Options(
        drop_duplicates, drop_outliers, drop_incomplete, outlier_deviations, min_distance,
        compress, level_of_theory,
    )  # fmt: skip
    _check_paths(paths, output)
    columns = {
        "energy": energy, "forces": forces, "energy_unit": energy_unit,
        "length_unit": length_unit, "format": format,
    }  # fmt: skip
    requests = _requests(paths, gradients, columns, keys, where, states)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (progress and console.is_terminal),
    ) as bars:
        file_states = [state_of(path) for path in paths]
        sources = [open_source(path, one) for path, one in zip(paths, requests, strict=True)]
        job = PreparationJob(output, sources, requests, options, bars, file_states)
        try:
            return job.run(overwrite)
        except OSError as error:  # errors of the inputs are handled by their readers
            problem = cannot_write(output, error)
            raise DataError(problem.message, code=problem.code) from error


def _check_paths(paths: list[Path], output: Path) -> None:
    if not paths:
        raise ConfigError("no input; give one or more files", code="EKD-CONFIG-033")
    if output.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"the output '{output}' must end in .h5, by which it is recognized",
            code="EKD-CONFIG-027",
        )
    if output.is_dir():
        raise DataError(
            f"'{output}' is a folder; name a file to write, such as data.h5", code="EKD-RUN-012"
        )
    if output.absolute() in [path.absolute() for path in paths]:
        raise ConfigError(
            f"'{output}' is both input and output; choose another output", code="EKD-CONFIG-034"
        )


def _requests(
    paths: list[Path],
    gradients: bool,
    given_once_or_each: dict[str, PerInput],
    keys: Mapping[str, str] | None,
    where: Mapping[str, Any] | None,
    states: str | None,
) -> list[Request]:
    columns = {}
    for name, given in given_once_or_each.items():
        values = [given] if given is None or isinstance(given, str) else list(given)
        if len(values) not in (1, len(paths)):
            raise ConfigError(
                f"{name} is given {len(values)} times for {len(paths)} inputs; give it once, or "
                "once per input",
                code="EKD-CONFIG-035",
            )
        columns[name] = values * (len(paths) if len(values) == 1 else 1)
    return [
        Request(
            energy=columns["energy"][index],
            forces=columns["forces"][index],
            energy_unit=columns["energy_unit"][index],
            length_unit=columns["length_unit"][index],
            gradients=gradients,
            format=columns["format"][index],
            keys=keys,
            where=where,
            states=states,
        )
        for index in range(len(paths))
    ]
