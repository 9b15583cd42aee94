"""The file that ``ekd prepare`` writes: one indexed HDF5 of flat arrays. See docs/data.md.

A compressed file is small and is read into memory. The arrays of an unpacked file are stored as in
memory, and are mapped instead of read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from ekd.data.dataset import FINGERPRINTED, Dataset, Provenance
from ekd.data.hdf5_checks import (
    WRITTEN_AS,
    check_seal,
    fixed_text,
    plain_text,
    require_possible_size,
    seal,
)
from ekd.data.mapped import Reference
from ekd.elements import atomic_number, symbol
from ekd.errors import DataError
from ekd.files import exclusive, sync
from ekd.hdf5 import new_file

FORMAT = 2
"""Format with reference energies; files without them use format 1, which older versions read."""

STREAM_ABOVE = 2**30
"""bytes of per-atom arrays above which they are mapped instead of read"""

_STORED = {
    "offsets": ("<i8", ""),
    "atomic_numbers": ("|u1", ""),
    "positions": ("<f8", "Å"),
    "energies": ("<f8", "eV"),
    "cells": ("<f8", "Å"),
    "pbc": ("|u1", ""),
    "forces": ("<f8", "eV/Å"),
    "group_index": ("<i4", ""),
}
# Arrays of the fingerprint first, then the rest of the content.
_IN_ORDER = sorted(_STORED, key=[*dict(FINGERPRINTED), *_STORED].index)
_MAPPED = ("atomic_numbers", "positions", "forces", "cells")
_CHUNK_BYTES = 2**20
_COPY_BYTES = 2**26


@dataclass(frozen=True)
class Header:
    """Metadata of a prepared file, available without reading its arrays.

    Attributes:
        n_configs: configurations in the file.
        n_atoms: atoms in all configurations.
        has_forces: whether forces are stored.
        unpacked: whether the arrays can be mapped.
        fingerprint: :attr:`ekd.data.Dataset.fingerprint` of the content.
        content_sha256: SHA-256 over the same arrays, the forces and the groups.
        level_of_theory: level of theory of the energies.
        n_dropped: configurations of the sources that are not in the file.
        preparation: sources, options and summary, see docs/data.md.
        reference_energies: energies of isolated atoms, eV by atomic number; None: none were given.
    """

    n_configs: int
    n_atoms: int
    has_forces: bool
    unpacked: bool
    fingerprint: str
    content_sha256: str
    level_of_theory: str
    n_dropped: int
    preparation: dict[str, Any]
    reference_energies: dict[int, float] | None


def is_prepared(file: h5py.File) -> bool:
    """Whether an open HDF5 file is a prepared file of any format version."""
    return "ekd_dataset_format" in file.attrs


def read_header(path: Path) -> Header:
    """Read the metadata of a file.

    Raises:
        DataError: the file is missing, not a prepared file, damaged, or of a newer format.
    """
    with opened(path) as file:
        return _header(file)


def load(
    path: Path,
    stream: bool | None = None,
    progress: bool = True,
    reference_energies: Mapping[int, float] | None = None,
) -> Dataset:
    """Read a prepared file, or map its arrays.

    Args:
        path: the file.
        stream: map the per-atom arrays instead of reading them; a compressed file is unpacked once,
            in the same folder. None: if they take more than :data:`STREAM_ABOVE` bytes.
        progress: show the progress of unpacking on standard error, if it is a terminal.
        reference_energies: eV by atomic number, replacing those in the file.

    Raises:
        DataError: the file is damaged, or the unpacked copy cannot be written. Arrays that are read
            into memory are compared with the checksum of the content; mapped arrays are not.
    """
    header = read_header(path)
    if stream is None:
        per_atom = 25 + (24 if header.has_forces else 0)
        stream = header.n_atoms * per_atom > STREAM_ABOVE
    place = _unpacked(path, header, progress) if stream and not header.unpacked else path
    with opened(place) as file:
        arrays: dict[str, Any] = {name: _array(file, name, stream) for name in _STORED}
        names = np.array(group_names(file), dtype=np.str_)
    _require_arrays(path, arrays, header.n_configs, header.n_atoms, len(names))
    if not stream and (found := _digests(arrays, names)) != _stated(header):
        raise DataError(
            f"'{path}' has the content {found[1][:12]} and the fingerprint {found[0][:12]}, but "
            f"was written with {header.content_sha256[:12]} and {header.fingerprint[:12]}: it is "
            "damaged; prepare it again",
            code="EKD-DATA-019",
        )
    if (pbc := arrays["pbc"]) is not None:
        arrays["pbc"] = pbc.astype(bool)
    if not stream:
        arrays["atomic_numbers"] = arrays["atomic_numbers"].astype(np.int64)
    dataset = Dataset(
        groups=names[arrays.pop("group_index")],
        provenance=Provenance(
            str(path), header.content_sha256, header.level_of_theory, header.n_dropped
        ),
        reference_energies=reference_energies or header.reference_energies,
        **arrays,
    )
    # Cached property: it was compared above, or must not cause mapped arrays to be read.
    vars(dataset)["fingerprint"] = header.fingerprint
    return dataset


def _stated(header: Header) -> tuple[str, str]:
    return header.fingerprint, header.content_sha256


def _digests(arrays: Mapping[str, Any], names: NDArray[np.str_]) -> tuple[str, str]:
    """Fingerprint and SHA-256 of the content, which begins with the same arrays."""
    kinds = dict(FINGERPRINTED)
    content = hashlib.sha256()
    fingerprint = ""
    for name in _IN_ORDER:
        if fingerprint == "" and name not in kinds:
            fingerprint = content.hexdigest()
        if arrays[name] is not None:
            kind = kinds.get(name, _STORED[name][0])
            content.update(np.ascontiguousarray(arrays[name], dtype=kind).data)
    content.update("\0".join(names.tolist()).encode())
    return fingerprint, content.hexdigest()


def _require_arrays(
    path: Path, arrays: Mapping[str, Any], n_configs: int, n_atoms: int, n_groups: int
) -> None:
    """Check that every array has the expected type and shape.

    Raises:
        DataError: an array does not, or has indices outside of another one.
    """
    shapes = {
        "offsets": (n_configs + 1,),
        "atomic_numbers": (n_atoms,),
        "positions": (n_atoms, 3),
        "energies": (n_configs,),
        "cells": (n_configs, 3, 3),
        "pbc": (n_configs, 3),
        "forces": (n_atoms, 3),
        "group_index": (n_configs,),
    }
    for name, shape in shapes.items():
        array = arrays[name]
        if array is None and name in ("cells", "pbc", "forces"):
            continue
        found = "missing" if array is None else f"{array.dtype.str} {array.shape}"
        if found != f"{np.dtype(_STORED[name][0]).str} {shape}":
            raise DataError(
                f"'{name}' in '{path}' is {found}, expected {_STORED[name][0]} {shape}: it is "
                "damaged; prepare it again",
                code="EKD-DATA-019",
            )
    offsets, groups = arrays["offsets"], arrays["group_index"]
    if n_configs and (
        offsets[0] != 0
        or offsets[-1] != n_atoms
        or (np.diff(offsets) < 1).any()
        or groups.min() < 0
        or groups.max() >= n_groups
    ):
        raise DataError(
            f"the offsets or the groups in '{path}' do not fit its arrays: it is damaged; "
            "prepare it again",
            code="EKD-DATA-019",
        )


def write(
    path: Path,
    columns: Mapping[str, Iterable[NDArray[Any]]],
    shapes: Mapping[str, tuple[int, ...]],
    group_names: list[str],
    level_of_theory: str,
    n_dropped: int,
    preparation: Mapping[str, Any],
    compress: bool = True,
    reference_energies: Mapping[int, float] | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> None:
    """Write a file from arrays supplied in pieces; not atomic, the caller renames the file.

    Args:
        path: the file, replaced if it exists.
        columns: pieces of every array by name, rows in order.
        shapes: shape of every array.
        group_names: names of the groups that ``group_index`` refers to.
        level_of_theory: level of theory of the energies.
        n_dropped: number of configurations that were left out.
        preparation: sources, options and summary, as JSON types.
        compress: chunks compressed with gzip, each with a checksum; otherwise contiguous.
        reference_energies: energies of isolated atoms, eV by atomic number; None: none.
        advance: called with the number of bytes after each piece.
    """
    kinds = dict(FINGERPRINTED)
    fingerprint, content = hashlib.sha256(), hashlib.sha256()
    # Aligned, so that numpy can use mapped arrays at full speed.
    options = {"alignment_threshold": 1, "alignment_interval": 64}
    with new_file(path, libver=WRITTEN_AS, **({} if compress else options)) as (file, check):
        # Arrays of the fingerprint come first, in its order.
        for name in filter(columns.__contains__, _IN_ORDER):
            dataset = _create(file, name, shapes[name], compress)
            row = 0
            for piece in columns[name]:
                dataset[row : row + len(piece)] = piece
                check()
                row += len(piece)
                advance(dataset.dtype.itemsize * piece.size)
                canonical = np.ascontiguousarray(piece, dtype=kinds.get(name, _STORED[name][0]))
                content.update(canonical.data)
                if name in kinds:
                    fingerprint.update(canonical.data)
            assert row == len(dataset), f"{name}: {row} rows of {len(dataset)}"
        file["group_names"] = fixed_text(group_names)
        content.update("\0".join(group_names).encode())
        file.attrs.update(
            {
                "ekd_dataset_format": FORMAT if reference_energies else 1,
                "fingerprint": fixed_text(fingerprint.hexdigest()),
                "content_sha256": fixed_text(content.hexdigest()),
                "level_of_theory": fixed_text(level_of_theory),
                "n_dropped": n_dropped,
                "preparation": fixed_text(json.dumps(preparation)),
            }
        )
        if reference_energies:
            named = {symbol(z): energy for z, energy in sorted(reference_energies.items())}
            file.attrs["reference_energies"] = fixed_text(json.dumps(named))
        seal(file)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a prepared file for reading; errors inside the block are reported as damage of the file.

    Raises:
        DataError: the file is missing, not a prepared file, damaged, or of a newer format.
    """
    with _blamed_on(path), h5py.File(path, "r") as file:
        found = file.attrs.get("ekd_dataset_format")
        if found is None:
            raise DataError(
                f"'{path}' was not made by 'ekd prepare' or 'ekd pool'; prepare it first",
                code="EKD-DATA-020",
            )
        if not isinstance(found, (int, np.integer)) or not 1 <= found <= FORMAT:
            raise DataError(
                f"'{path}' has dataset format {found}, and this ekd reads formats 1 to {FORMAT}; "
                "update ekd, or prepare the data again",
                code="EKD-DATA-021",
            )
        check_seal(file)
        yield file


@contextmanager
def _blamed_on(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        KeyError,
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:
        raise DataError(
            f"'{path}' is damaged ({error}); prepare it again", code="EKD-DATA-019"
        ) from None


def _header(file: h5py.File) -> Header:
    attributes = {name: plain_text(value) for name, value in file.attrs.items()}
    isolated = json.loads(attributes.get("reference_energies", "null"))
    if isolated is not None and not (
        isinstance(isolated, dict)
        and all(type(e) in (int, float) and np.isfinite(e) for e in isolated.values())
    ):
        raise ValueError("'reference_energies' are not one number for each element")
    preparation = json.loads(attributes["preparation"])
    sources = preparation.get("sources") if isinstance(preparation, dict) else None
    if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
        raise ValueError("'preparation' does not name its sources")
    for name in filter(file.__contains__, (*_STORED, "group_names")):
        if not isinstance(file[name], h5py.Dataset):
            raise ValueError(f"'{name}' is a group, expected an array")
        require_possible_size(file[name])
    return Header(
        n_configs=len(file["energies"]),
        n_atoms=len(file["positions"]),
        has_forces="forces" in file,
        unpacked=file["positions"].chunks is None,
        fingerprint=str(attributes["fingerprint"]),
        content_sha256=str(attributes["content_sha256"]),
        level_of_theory=str(attributes["level_of_theory"]),
        n_dropped=int(attributes["n_dropped"]),
        preparation=preparation,
        reference_energies=isolated and {atomic_number(s): e for s, e in isolated.items()},
    )


def _create(file: h5py.File, name: str, shape: tuple[int, ...], compress: bool) -> h5py.Dataset:
    kind, unit = _STORED[name]
    row = np.dtype(kind).itemsize * int(np.prod(shape[1:], dtype=np.int64))
    chunks = (min(max(1, _CHUNK_BYTES // row), max(shape[0], 1)), *shape[1:])
    packing = (
        {"chunks": chunks, "compression": "gzip", "compression_opts": 1, "shuffle": True}
        | {"fletcher32": True}
        if compress
        else {}
    )
    dataset = file.create_dataset(name, shape=shape, dtype=kind, **packing)
    if unit:
        dataset.attrs["unit"] = fixed_text(unit)
    return dataset


def _array(file: h5py.File, name: str, stream: bool) -> NDArray[Any] | None:
    if name not in file:
        return None
    dataset = file[name]
    if stream and name in _MAPPED:
        offset = dataset.id.get_offset()
        return Reference.to(file.filename, dataset.dtype, dataset.shape, offset).open()
    return np.asarray(dataset[()])


def _unpacked(path: Path, header: Header, progress: bool) -> Path:
    """Return the unpacked copy of a compressed file, in the same folder; write it if missing."""
    copy = path.with_name(f"{path.stem}.unpacked{path.suffix}")
    if _is_copy(copy, header):
        return copy
    partial = path.with_name(f".{copy.name}.partial")
    try:
        # The jobs of an array start at the same time: one writes, the others wait.
        with exclusive(path.with_name(f".{copy.name}.lock")):
            if not _is_copy(copy, header):
                try:
                    _unpack(path, partial, header, progress)
                    sync(partial)
                    partial.replace(copy)
                finally:
                    partial.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot write the unpacked copy '{copy}' that streaming needs: {error}; prepare the "
            "data with --no-compression, or move them to a folder with space",
            code="EKD-DATA-022",
        ) from None
    return copy


def _unpack(path: Path, target: Path, header: Header, progress: bool) -> None:
    console = Console(stderr=True)
    with (
        h5py.File(path, "r") as file,
        Progress(console=console, disable=not (progress and console.is_terminal)) as bar,
    ):
        datasets = {name: file[name] for name in _STORED if name in file}
        task = bar.add_task(f"unpacking {path.name}", total=sum(map(_nbytes, datasets.values())))

        def pieces(dataset: h5py.Dataset) -> Iterator[NDArray[Any]]:
            step = max(1, _COPY_BYTES * len(dataset) // max(_nbytes(dataset), 1))
            for start in range(0, len(dataset), step):
                with _blamed_on(path):
                    piece = dataset[start : start + step]
                yield piece

        write(
            target,
            {name: pieces(dataset) for name, dataset in datasets.items()},
            {name: dataset.shape for name, dataset in datasets.items()},
            group_names(file),
            header.level_of_theory,
            header.n_dropped,
            header.preparation,
            compress=False,
            reference_energies=header.reference_energies,
            advance=lambda n_bytes: bar.advance(task, n_bytes),
        )


def row_bytes(name: str) -> int:
    """Bytes of one row of an array, as stored."""
    width = {"positions": 3, "forces": 3, "cells": 9, "pbc": 3}.get(name, 1)
    return np.dtype(_STORED[name][0]).itemsize * width


def group_names(file: h5py.File) -> list[str]:
    """Names of the groups that ``group_index`` of an open prepared file refers to."""
    return [name.decode() for name in file["group_names"][()]]


def _nbytes(dataset: h5py.Dataset) -> int:
    return int(dataset.dtype.itemsize * dataset.size)


def _is_copy(path: Path, header: Header) -> bool:
    try:
        found = read_header(path)
    except DataError:
        return False
    return found.unpacked and found.content_sha256 == header.content_sha256
