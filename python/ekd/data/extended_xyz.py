"""Extended XYZ as found in practice: split into frames and checked before ASE parses it.

ASE silently stops at a blank line between frames, uses the last of two equal keys, and ignores
``lattice`` and ``properties`` in lower case. It cannot read files from Windows or Fortran programs,
or atomic numbers in place of symbols.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import ase.io
from ase import Atoms
from ase.data import chemical_symbols
from ase.io.formats import open_with_compression

from ekd.errors import DataError

_FRAMES_AT_ONCE = 200
_ENTRY = re.compile(
    r"""(?P<key>[^\s=,"'{}\[\]]+)[ \t]*=[ \t]*"""
    r"""(?P<value>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\{[^}]*\}|\[[^]]*\]|[^\s]*)"""
    r"""|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
)
_FORTRAN = re.compile(r"(?<![\w.])([+-]?\d*\.\d*)[dD]([+-]?\d{1,3})(?![\w.])")
_SPELLINGS = {
    **dict.fromkeys(("lattice", "cell", "unit_cell", "box"), "Lattice"),
    "pbc": "pbc",
    "properties": "Properties",
}
_DEFAULT_COLUMNS = "species:S:1:pos:R:3"
_GHOSTS = {"x", "xx", "bq", "gh", "q", "du", "ghost"}
_SYMBOLS = set(chemical_symbols[1:])


def read_extended_xyz(path: Path, index: slice = slice(None)) -> Iterator[Atoms]:
    """Yield the frames of a file, which may be compressed with gzip, bzip2 or xz.

    Fortran exponents (``1.0D-01``), a byte order mark, Windows line ends, blank lines between
    frames, and atomic numbers in place of symbols are accepted.

    Args:
        path: the file.
        index: slice of frames.

    Raises:
        DataError: a frame is cut off or does not fit its number of atoms; a key is given twice with
            different values, or is spelled so that it would be ignored; an atom is not an element.
        Exception: whatever the parser of ASE raises.
    """
    start, stop, step = index.start, index.stop, index.step
    if any(value is not None and value < 0 for value in (start, stop, step)):
        with _opened(path) as file:
            n_frames = sum(1 for _ in _raw_frames(file, path))
        chosen = range(*index.indices(n_frames))
        ahead = chosen if chosen.step > 0 else chosen[::-1]
        if not chosen:
            return
        frames = read_extended_xyz(path, slice(ahead[0], ahead[-1] + 1, ahead.step))
        yield from frames if chosen.step > 0 else reversed(list(frames))
        return
    with _opened(path) as file:
        raw = islice(_raw_frames(file, path), start, stop, step)
        while some := list(islice(raw, _FRAMES_AT_ONCE)):
            cleaned = [_cleaned(lines, number, path) for number, lines in some]
            try:
                frames = ase.io.read(io.StringIO("".join(cleaned)), index=":", format="extxyz")
            except ValueError:
                for (number, _), text in zip(some, cleaned, strict=True):
                    _check_numbers(text, f"frame {number} of '{path}'")
                raise
            yield from frames


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    with (
        open_with_compression(str(path), "rb") as binary,
        io.TextIOWrapper(binary, encoding="utf-8-sig", errors="replace") as file,
    ):
        yield file


class _Lines:
    """The lines of a file, with the number of the last line that was read."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.number += 1
        return line


def _raw_frames(file: IO[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number (from 1) and lines of each frame; blank lines between frames are skipped."""
    lines = _Lines(file)
    number = 0
    for line in lines:
        if not (count := line.strip()):
            continue
        number += 1
        if not count.isascii() or not count.isdigit():
            raise DataError(
                f"line {lines.number} of '{path}' is {_shortened(count)}; expected the number of "
                f"atoms of frame {number}. The frame before it may have more lines than it has "
                "atoms, or the file is not in the XYZ format",
                code="EKD-DATA-071",
            )
        n_atoms = int(count)
        frame = [line, *islice(lines, n_atoms + 1)]
        blank = next((k for k, text in enumerate(frame[2:]) if not text.strip()), None)
        n_found = len(frame) - 2 if blank is None else blank
        if n_found < n_atoms:
            end = "the end of the file" if blank is None else "a blank line"
            raise DataError(
                f"frame {number} of '{path}' has {max(n_found, 0)} of {n_atoms} atoms before "
                f"{end}: it is cut off. Remove the frame, or get the whole file",
                code="EKD-DATA-072",
            )
        yield number, frame


def _cleaned(frame: list[str], number: int, path: Path) -> str:
    """Return a frame as text that ASE can read."""
    where = f"frame {number} of '{path}'"
    comment = _FORTRAN.sub(r"\1E\2", frame[1].rstrip())
    entries = _entries(comment, where)
    column = _column_of_symbols(_columns(entries))
    n_stated = len(_kinds(entries)) if "Properties" in entries else 0
    n_columns = len(frame[2].split()) if len(frame) > 2 else 0
    atoms = []
    for line in frame[2:]:
        if "D" in line or "d" in line:
            line = _FORTRAN.sub(r"\1E\2", line)
        fields = line.split()
        if len(fields) != n_columns and 0 < n_stated <= min(len(fields), n_columns):
            # ASE would read the first columns, which may be shifted.
            raise DataError(
                f"{where}: {_shortened(line.strip())} has {len(fields)} columns; expected "
                f"{n_columns}, as the first atom has; correct or remove the frame",
                code="EKD-DATA-072",
            )
        if "_" in line:
            _check_numbers_of_line(fields, _kinds(entries), where)
        if column is not None and column < len(fields) and fields[column] not in _SYMBOLS:
            fields[column] = _symbol(fields[column], where)
        atoms.append(" ".join(fields))
    return "\n".join([frame[0].strip(), comment, *atoms, ""])


def _entries(comment: str, where: str) -> dict[str, str]:
    """Return values by key, as written in the file.

    Raises:
        DataError: a key has two values, ASE expects it in another spelling, or a quotation mark is
            not closed.
    """
    if re.sub(r"\\.|='[^']*'", "", comment).count('"') % 2:
        raise DataError(
            f"{where} has a quotation mark that is not closed in its comment line, "
            f"{_shortened(comment)}; close the quotation, or remove the mark",
            code="EKD-DATA-089",
        )
    entries: dict[str, str] = {}
    for match in _ENTRY.finditer(comment):
        key, value = match["key"], match["value"]
        if key is None:  # text in quotes
            continue
        if entries.setdefault(key, value) != value:
            raise DataError(
                f"{where} gives '{key}' twice, as {_shortened(entries[key])} and "
                f"{_shortened(value)}; remove one of them",
                code="EKD-DATA-073",
            )
    for key in entries:
        expected = _SPELLINGS.get(key.casefold())
        if expected is not None and key != expected and expected not in entries:
            raise DataError(
                f"{where} has '{key}' in its comment line, which is not a key of extended XYZ and "
                f"would be ignored; expected '{expected}', spelled exactly so, or no such key",
                code="EKD-DATA-074",
            )
    return entries


def _columns(entries: dict[str, str]) -> str:
    return entries.get("Properties", _DEFAULT_COLUMNS).strip("\"'{}")


def _column_of_symbols(columns: str) -> int | None:
    """Column of the symbols according to ``Properties``; None: there is none."""
    fields = columns.split(":")
    before = 0
    for name, n_columns in zip(fields[::3], fields[2::3], strict=False):
        if name == "species":
            return before
        if not n_columns.isdigit():
            return None
        before += int(n_columns)
    return None


def _kinds(entries: dict[str, str]) -> list[str]:
    """Type of each column according to ``Properties``: S, R, I or L."""
    fields = _columns(entries).split(":")
    kinds: list[str] = []
    for kind, n_columns in zip(fields[1::3], fields[2::3], strict=False):
        kinds += [kind] * (int(n_columns) if n_columns.isdigit() else 0)
    return kinds


def _symbol(text: str, where: str) -> str:
    """Convert a symbol in any case, or an atomic number, to a chemical symbol."""
    name = text.capitalize()
    if name in _SYMBOLS:
        return name
    if text.isascii() and text.isdigit() and 0 < int(text) < len(chemical_symbols):
        return str(chemical_symbols[int(text)])
    if name in ("D", "T"):
        remedy = "an isotope of hydrogen, which has the same energy; write 'H'"
    elif text == "0" or re.split(r"[^a-z]", text.casefold())[0] in _GHOSTS:
        remedy = "a ghost or dummy atom, which models do not support; remove those configurations"
    else:
        remedy = "write it as in 'H' or 'Cl', without labels and charges"
    raise DataError(
        f"{where}: '{text}' is not a chemical symbol, but {remedy}", code="EKD-DATA-047"
    ) from None


def _check_numbers(frame: str, where: str) -> None:
    """Raise an error with a hint if a column of numbers contains something else."""
    _, comment, *atoms = frame.splitlines()
    kinds = _kinds(_entries(comment, where))
    for line in atoms:
        values = line.split(" ")
        if len(values) < len(kinds):
            raise DataError(
                f"{where}: {_shortened(line)} has {len(values)} columns; expected {len(kinds)} "
                "according to 'Properties'. The file may be cut off, or lack a column; remove the "
                "frame, or get the whole file",
                code="EKD-DATA-072",
            )
        _check_numbers_of_line(values, kinds, where)


def _check_numbers_of_line(values: list[str], kinds: list[str], where: str) -> None:
    for text, kind in zip(values, kinds, strict=False):
        if kind != "R":
            continue
        try:
            is_number = "_" not in text  # Python reads 1_000.0, other programs do not
            float(text)
        except ValueError:
            is_number = False
        if not is_number:
            comma = ", without a decimal comma" if re.fullmatch(r"[-+]?\d+,\d+", text) else ""
            raise DataError(
                f"{where}: {_shortened(text)} is in a column of numbers; expected a number"
                f"{comma}; correct or remove the frame",
                code="EKD-DATA-075",
            )


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
