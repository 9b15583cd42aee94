"""Reading of LAMMPS output: thermodynamic tables, error messages, dumps, averages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd.errors import LammpsError

Table = dict[str, NDArray[np.float64]]
"""Columns by name, each [n_samples]."""


def read_thermo(path: Path) -> list[Table]:
    """Read the thermodynamic output of a log, one table for each ``run`` and ``minimize``.

    The table of a failed run ends where LAMMPS stopped.

    Raises:
        LammpsError: the log is missing or contains no table.
    """
    tables: list[Table] = []
    names: list[str] | None = None
    rows: list[list[float]] = []

    def finish() -> None:
        if names and rows:
            columns = np.array(rows).T
            tables.append(dict(zip(names, columns, strict=True)))

    for line in _read(path).splitlines():
        words = line.split()
        if words and words[0] == "Step" and not _is_number(words[-1]):
            finish()
            names, rows = words, []
        elif names and line.startswith("Loop time of"):
            finish()
            names, rows = None, []
        elif names and len(words) == len(names) and all(map(_is_number, words)):
            rows.append([float(word) for word in words])
    finish()
    if not tables:
        raise LammpsError(
            f"'{path}' contains no thermodynamic output; see this file for errors",
            code="EKD-LAMMPS-009",
        )
    return tables


def last_step(path: Path) -> int | None:
    """Return the last step in a growing log; None before the first one."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4096))
            tail = file.read().decode(errors="replace")
    except FileNotFoundError:
        return None
    # The last line may be incomplete: use only complete ones.
    for line in reversed(tail.split("\n")[:-1]):
        words = line.split()
        if len(words) > 1 and words[0].isdigit() and all(map(_is_number, words)):
            return int(words[0])
    return None


def read_speed(path: Path) -> float:
    """Return the speed of the last run in a log, atoms times steps per second.

    Raises:
        LammpsError: the log is missing or contains no finished run.
    """
    for line in reversed(_read(path).splitlines()):
        if line.startswith("Loop time of"):  # Loop time of T on P procs for S steps with N atoms
            words = line.split()
            seconds, n_steps, n_atoms = (float(words[k]) for k in (3, 8, 11))
            return n_steps * n_atoms / seconds if seconds > 0 else 0.0
    raise LammpsError(
        f"'{path}' contains no finished run; see this file for errors", code="EKD-LAMMPS-009"
    )


def error_message(text: str) -> str | None:
    """Return the last error of LAMMPS in a log or screen output, on one line."""
    for line in reversed(text.splitlines()):
        if line.startswith("ERROR"):
            return line.strip()
    return None


def read_dump_frame(path: Path) -> Table:
    """Read the numerical columns of the last frame of a ``dump custom``.

    Raises:
        LammpsError: the file is missing or contains no complete frame.
    """
    lines = _read(path).splitlines()
    for start in reversed([i for i, line in enumerate(lines) if line.startswith("ITEM: ATOMS")]):
        header = lines.index("ITEM: NUMBER OF ATOMS", max(0, start - 10))
        n_atoms = int(lines[header + 1])
        names = lines[start].split()[2:]
        rows = [line.split() for line in lines[start + 1 : start + 1 + n_atoms]]
        if len(rows) == n_atoms and all(len(row) == len(names) for row in rows):
            return {
                name: np.array([float(row[k]) for row in rows])
                for k, name in enumerate(names)
                if all(_is_number(row[k]) for row in rows)
            }
    raise LammpsError(
        f"'{path}' contains no complete frame; the run ended too early", code="EKD-LAMMPS-009"
    )


def read_dump_frames(path: Path) -> Iterator[tuple[int, Table]]:
    """Yield all complete frames of a ``dump custom`` with numerical columns.

    Yields:
        Time step, and columns by name.

    Raises:
        LammpsError: the file is missing.
    """
    try:
        file = path.open(errors="replace")
    except FileNotFoundError:
        raise LammpsError(
            f"LAMMPS wrote no file '{path}'; run it again", code="EKD-LAMMPS-010"
        ) from None
    with file:
        step, n_atoms = 0, 0
        for line in file:
            if line.startswith("ITEM: TIMESTEP"):
                step = int(next(file, "0"))
            elif line.startswith("ITEM: NUMBER OF ATOMS"):
                n_atoms = int(next(file, "0"))
            elif line.startswith("ITEM: ATOMS"):
                names = line.split()[2:]
                rows = [next(file, "").split() for _ in range(n_atoms)]
                if any(len(row) != len(names) for row in rows):
                    return  # the run ended during the write
                columns = np.array(rows, dtype=float).T
                yield step, dict(zip(names, columns, strict=True))


def read_rdf(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read the last block of a ``compute rdf`` written by ``fix ave/time ... mode vector``.

    Returns:
        r [n_bins] Å, g [n_bins].

    Raises:
        LammpsError: the file is missing or contains no complete block.
    """
    blocks: list[list[list[float]]] = []
    remaining = 0
    for line in _read(path).splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if remaining == 0:
            remaining = int(words[1])
            blocks.append([])
        else:
            blocks[-1].append([float(word) for word in words])
            remaining -= 1
    if not blocks or remaining:
        raise LammpsError(
            f"'{path}' contains no complete g(r); the run ended too early", code="EKD-LAMMPS-009"
        )
    _, r, g, *_ = np.array(blocks[-1]).T
    return r, g


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        raise LammpsError(
            f"LAMMPS wrote no file '{path}'; run the LAMMPS stage again", code="EKD-LAMMPS-010"
        ) from None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
