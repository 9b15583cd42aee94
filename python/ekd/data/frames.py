"""Structures from files that ASE reads, including all data of database rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import ase.db
import ase.io
from ase import Atoms
from ase.io.formats import filetype, open_with_compression, string2index

from ekd.data.extended_xyz import read_extended_xyz
from ekd.errors import DataError
from ekd.units import length_unit

_DATABASES = ("db", "json")
_CHARGE = "charge"


@dataclass(frozen=True)
class StatedUnits:
    """Units stated in the metadata of a database, as in those of SchNetPack."""

    length: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


def is_database(format: str) -> bool:
    """Whether an ASE format is a database with key-value pairs and data."""
    return format in _DATABASES


def read_frames(path: Path, index: str = ":", format: str | None = None) -> Iterator[Atoms]:
    """Yield the structures of a file that ASE reads.

    An ``@`` is treated as part of the file name; by default, ASE takes what follows it as an index.
    Key-value pairs and data of a database row are stored in ``info``; if both have the same key,
    the data take precedence. Positions and cells of a database are converted to Å if its metadata
    state another unit.

    Args:
        path: the file.
        index: slice of the structures: ``:``, ``5:``, ``::10``.
        format: name of an ASE format; None: determined by name and content.

    Raises:
        Exception: whatever the parser of ASE raises; every parser fails differently.
    """
    format = format or str(filetype(str(path)))
    if format == "extxyz":
        chosen = string2index(index)
        one = isinstance(chosen, int)
        yield from read_extended_xyz(path, slice(chosen, (chosen + 1) or None) if one else chosen)
        return
    if not is_database(format):
        yield from ase.io.iread(str(path), index=index, format=format, do_not_split_by_at_sign=True)
        return
    stated = stated_units(path, format)
    size = 1.0 if stated.length is None else length_unit(stated.length)
    with _connected(path, format) as database:
        chosen = range(*string2index(index).indices(database.count()))
        if not chosen:
            return
        first, last = min(chosen), max(chosen)
        rows = database.select(offset=first, limit=last - first + 1)
        if chosen.step < 0:
            rows = reversed(list(rows))
        charges: Mapping[int, Any] | None = None
        for row in islice(rows, None, None, abs(chosen.step)):
            frame = row.toatoms()
            frame.info |= {**row.key_value_pairs, **row.data}
            if _CHARGE in row.key_value_pairs and _CHARGE not in row.data:
                charges = _charges(path, format) if charges is None else charges
                frame.info[_CHARGE] = charges.get(row.id)
            if size != 1.0:
                frame.set_cell(frame.cell * size, scale_atoms=False)
                frame.positions *= size
            yield frame


def stated_units(path: Path, format: str) -> StatedUnits:
    """Return the units stated in the metadata of a database; empty for other files.

    Raises:
        DataError: the units are not text.
        Exception: whatever ASE raises if the file is damaged.
    """
    if not is_database(format):
        return StatedUnits()
    with _connected(path, format) as database:
        metadata = database.metadata
    length = metadata.get("_distance_unit")
    properties = metadata.get("_property_unit_dict") or {}
    texts = [length or "", *properties.values()] if isinstance(properties, dict) else [properties]
    if any(not isinstance(text, str | None) for text in texts):
        raise DataError(
            f"'_distance_unit' and '_property_unit_dict' in the metadata of '{path}' are "
            f"{length!r} and {properties!r}; expected a text, and a dictionary of texts by key",
            code="EKD-DATA-007",
        )
    return StatedUnits(length or None, {key: unit for key, unit in properties.items() if unit})


def _charges(path: Path, format: str) -> Mapping[int, Any]:
    """Values of the key ``charge`` by row id; ASE returns sums over the atoms instead."""
    if format == "json":
        with open_with_compression(str(path), "r") as file:
            rows = json.load(file)
        return {
            int(name): row.get("key_value_pairs", {}).get(_CHARGE)
            for name, row in rows.items()
            if name.isdigit()
        }
    if path.suffix == ".aselmdb":
        return {}
    with closing(_read_only(path)) as connection:
        return dict(
            connection.execute("select id, value from number_key_values where key = ?", (_CHARGE,))
        )


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _check_is_of_ase(path: Path) -> None:
    """Refuse databases of other programs, because ASE would write its tables into them.

    Raises:
        DataError: the database has no tables of ASE.
    """
    with closing(_read_only(path)) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master")]
    if "systems" not in tables:
        raise DataError(
            f"'{path}' cannot be read as 'db': it is a database with the tables "
            f"{', '.join(sorted(tables)) or 'none'}, but not one of ASE; convert it",
            code="EKD-DATA-076",
        )


@contextmanager
def _connected(path: Path, format: str) -> Iterator[Any]:
    if format == "json":  # ASE reads it from an open file, which may be compressed
        with open_with_compression(str(path), "r") as file:
            yield ase.db.connect(file, type="json", use_lock_file=False)
        return
    kind = "aselmdb" if path.suffix == ".aselmdb" else "db"
    if kind == "db":
        _check_is_of_ase(path)
    with ase.db.connect(str(path), type=kind, use_lock_file=False) as database:
        yield database
