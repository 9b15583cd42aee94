"""Label files: header, chunks and extra configurations."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ekd.config import WallConfig
from ekd.data import Dataset, Provenance
from ekd.data.hdf5_checks import (
    WRITTEN_AS,
    check_seal,
    fixed_text,
    plain_text,
    require_possible_size,
    seal,
)
from ekd.data.mapped import Reference
from ekd.distillation.parts import Arrays, digest
from ekd.errors import ConfigError, DataError
from ekd.hdf5 import new_file

FORMAT = 2


UNITS = {
    "energies": "eV",
    "energies_std": "eV",
    "member_energies": "eV",
    "forces": "eV/Å",
    "forces_std": "eV/Å",
}
"""Arrays of a label file and their units; the first two are missing if no energies are used."""


NO_DATA = ""
"""Fingerprint if only extra configurations were labeled."""


PER_ATOM = ("forces", "forces_std")


_EXTRA = ("atomic_numbers", "positions", "offsets", "cells", "pbc")


@dataclass(frozen=True)
class TeacherRecord:
    """Record of a teacher in a label file.

    Attributes:
        name: name for display.
        sha256: identity, see :class:`ekd.distillation.teachers.Teacher`.
        use_energies: whether its energies are included in the mean energy.
    """

    name: str
    sha256: str
    use_energies: bool

    @property
    def identity(self) -> tuple[str, bool]:
        """The properties that determine the labels, without the name."""
        return self.sha256, self.use_energies


@dataclass(frozen=True, eq=False)
class Header:
    """Contents of a label file other than the labels."""

    data_fingerprint: str
    teachers: tuple[TeacherRecord, ...]
    chunk_size: int
    extra: Dataset | None
    wall: WallConfig | None

    @property
    def plan(self) -> dict[str, Any]:
        """Everything that the labels depend on, as JSON values; names are only for messages."""
        return {
            "format": FORMAT,
            "data": self.data_fingerprint,
            "extra": None if self.extra is None else self.extra.fingerprint,
            "chunk_size": self.chunk_size,
            "wall": self.wall and self.wall.model_dump(),
            "teachers": [[t.sha256, t.use_energies] for t in self.teachers],
            "_teachers": [f"{t.name} ({t.sha256[:8]})" for t in self.teachers],
        }


class LabelFile:
    """Context manager for reading a label file.

    Raises:
        DataError: on entry: the file is missing, is not a label file, or its header is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self.n_chunks = 0

    def __enter__(self) -> LabelFile:
        path = self.path
        if not Path(path).is_file():
            raise DataError(
                f"label file '{path}' not found; check the path, or label the data",
                code="EKD-LABELS-001",
            )
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise self._damaged(error) from None
        try:
            found = self._file.attrs.get("ekd_labels_format")
            if found != FORMAT:
                raise DataError(
                    f"'{path}' has label format {found}, expected {FORMAT}; label the data again",
                    code="EKD-LABELS-006",
                )
            check_seal(self._file)
            self._require_arrays()
            self._sha256 = self._file["chunk_sha256"].asstr()[()]
            self._configs = self._file["chunk_configs"][()]
            self._atoms = self._file["chunk_atoms"][()]
            self.n_chunks = len(self._sha256)
            self._require_bounds()
            self.header = self._header()
        except DataError:
            self._file.close()
            raise
        except (
            OSError,
            KeyError,
            ValueError,
            TypeError,
            RuntimeError,
            AttributeError,
            OverflowError,
            ConfigError,
        ) as error:
            self._file.close()
            raise self._damaged(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _require_arrays(self) -> None:
        """Check that all arrays exist, with valid types and possible sizes."""
        rows = {"forces": 2, "member_energies": 2}
        for name in (*UNITS, "chunk_sha256", "chunk_configs", "chunk_atoms"):
            if name not in self._file:
                if name in ("energies", "energies_std"):
                    continue
                raise KeyError(name)
            array = self._file[name]
            if not isinstance(array, h5py.Dataset):
                raise TypeError(f"'{name}' is a group, expected an array")
            require_possible_size(array)
            if array.ndim != rows.get(name, 1):
                raise ValueError(f"'{name}' has the shape {array.shape}")
            if name in UNITS and array.dtype != np.float64:
                raise TypeError(f"'{name}' is of type {array.dtype}, expected float64")
        if self._file["forces"].shape[1] != 3:
            raise ValueError(f"'forces' has the shape {self._file['forces'].shape}")

    def _require_bounds(self) -> None:
        """Check that the chunks cover the arrays: other rows would have no checksum."""
        for ends, names in ((self._configs, UNITS.keys() - PER_ATOM), (self._atoms, PER_ATOM)):
            lengths = {len(self._file[name]) for name in names if name in self._file}
            if (
                ends.dtype.kind not in "iu"
                or len(ends) != self.n_chunks + 1
                or ends[0] != 0
                or (np.diff(ends.astype(np.int64)) < 0).any()
                or lengths != {int(ends[-1])}
            ):
                raise ValueError("its chunks are not those of its arrays")

    def chunk(self, number: int) -> Arrays:
        """Read the arrays of a chunk.

        Raises:
            DataError: the chunk is damaged.
        """
        if not self.is_intact(number):
            raise self._damaged(f"chunk {number}")
        return self._read(number)

    def is_intact(self, number: int) -> bool:
        """Whether the arrays of a chunk match their checksum."""
        try:
            return digest(self._read(number)) == str(self._sha256[number])
        except (OSError, KeyError, RuntimeError, ValueError, TypeError):
            return False

    def everything(self, mapped: bool = False) -> dict[str, Any]:
        """Read all arrays, optionally mapping those per atom; None if not in the file."""
        arrays: dict[str, Any] = dict.fromkeys(UNITS)
        try:
            for name in filter(self._file.__contains__, UNITS):
                array = self._file[name]
                offset = array.id.get_offset() if mapped and name in PER_ATOM else None
                if offset is None:
                    arrays[name] = array[()]
                else:
                    place = Reference.to(self.path, array.dtype, array.shape, offset)
                    arrays[name] = place.open()
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise self._damaged(error) from None
        return arrays

    def _read(self, number: int) -> Arrays:
        arrays = {}
        for name in UNITS:
            if name in self._file:
                ends = self._atoms if name in PER_ATOM else self._configs
                arrays[name] = self._file[name][ends[number] : ends[number + 1]]
        return arrays

    def _header(self) -> Header:
        attributes = {name: plain_text(value) for name, value in self._file.attrs.items()}
        extra = None
        if "extra" in self._file:
            extra = _read_extra(self._file["extra"], str(self.path))
            groups = attributes.get("extra_groups_sha256")
            if extra.fingerprint != attributes["extra_fingerprint"] or (
                groups is not None and groups != _groups_digest(extra)
            ):
                raise self._damaged("the extra configurations")
        return Header(
            data_fingerprint=str(attributes["data_fingerprint"]),
            teachers=tuple(TeacherRecord(**entry) for entry in json.loads(attributes["teachers"])),
            chunk_size=int(attributes["chunk_size"]),
            extra=extra,
            wall=WallConfig(**json.loads(attributes["wall"])) if "wall" in attributes else None,
        )

    def _damaged(self, error: object) -> DataError:
        return DataError(
            f"'{self.path}' is not a label file or is damaged ({error}); label the data again",
            code="EKD-LABELS-002",
        )


def write_labels(
    path: Path, header: Header, sizes: NDArray[np.int64], chunks: Iterator[Mapping[str, Any]]
) -> None:
    """Write a label file.

    Args:
        path: file to write, not atomically.
        header: header of the file.
        sizes: number of atoms of each configuration, including extra ones.
        chunks: arrays of each chunk, in order.

    Raises:
        OSError: the file cannot be written.
    """
    bounds = np.append(np.arange(0, len(sizes), header.chunk_size), len(sizes))
    atoms = np.concatenate([[0], np.cumsum(sizes)])[bounds]
    checksums = []
    with new_file(path, libver=WRITTEN_AS) as (file, check):
        for number, arrays in enumerate(chunks):
            checksums.append(digest(arrays))
            for name in filter(arrays.__contains__, UNITS):
                array = arrays[name]
                ends = atoms if name in PER_ATOM else bounds
                if name not in file:
                    file.create_dataset(name, (ends[-1], *array.shape[1:]), np.float64)
                    file[name].attrs["unit"] = fixed_text(UNITS[name])
                file[name][ends[number] : ends[number + 1]] = array
            check()
        file["chunk_sha256"] = fixed_text(checksums)
        file["chunk_configs"] = bounds
        file["chunk_atoms"] = atoms
        if header.extra is not None:
            _write_extra(file.create_group("extra"), header.extra)
            file.attrs["extra_fingerprint"] = fixed_text(header.extra.fingerprint)
            file.attrs["extra_groups_sha256"] = fixed_text(_groups_digest(header.extra))
        file.attrs["ekd_labels_format"] = FORMAT
        file.attrs["data_fingerprint"] = fixed_text(header.data_fingerprint)
        file.attrs["chunk_size"] = header.chunk_size
        if header.wall is not None:
            file.attrs["wall"] = fixed_text(header.wall.model_dump_json())
        teachers = json.dumps([vars(teacher) for teacher in header.teachers])
        file.attrs["teachers"] = fixed_text(teachers)
        seal(file)


def _groups_digest(extra: Dataset) -> str:
    return hashlib.sha256("\0".join(extra.groups.tolist()).encode()).hexdigest()


def _write_extra(group: h5py.Group, extra: Dataset) -> None:
    for name in _EXTRA:
        if getattr(extra, name) is not None:
            group[name] = getattr(extra, name)
    group["groups"] = fixed_text(extra.groups.tolist())
    group["positions"].attrs["unit"] = fixed_text("Å")


def _read_extra(group: h5py.Group, path: str) -> Dataset:
    for name in filter(group.__contains__, (*_EXTRA, "groups")):
        require_possible_size(group[name])
    arrays: dict[str, Any] = {name: group[name][()] if name in group else None for name in _EXTRA}
    kinds = {"positions": "f8", "cells": "f8", "offsets": "i8", "pbc": "b1"}
    for name, kind in kinds.items():
        if arrays[name] is not None and arrays[name].dtype != np.dtype(kind):
            raise TypeError(f"'extra/{name}' is of type {arrays[name].dtype}, expected {kind}")
    if arrays["atomic_numbers"].dtype.kind not in "iu":
        raise TypeError(f"'extra/atomic_numbers' is of type {arrays['atomic_numbers'].dtype}")
    n_configs = len(arrays["offsets"]) - 1
    try:
        return Dataset(
            **arrays,
            energies=np.full(n_configs, np.nan),
            groups=group["groups"].asstr()[()].astype(np.str_),
            provenance=Provenance(path, "", "none", 0),
        )
    except DataError as error:  # it does not name the file
        raise ValueError(f"the extra configurations: {error}") from None
