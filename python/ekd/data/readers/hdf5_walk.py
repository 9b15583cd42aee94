"""Groups of an HDF5 file that contain configurations, each once, even if links lead to it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from ekd.data.readers.keys import find
from ekd.errors import DataError

SUFFIXES = (".h5", ".hdf5", ".hdf")


Keys = Mapping[str, str] | None


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises:
        DataError: the file is not HDF5 or is damaged, also if found inside the block.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (
        OSError,
        RuntimeError,  # a RecursionError, too
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:
        raise DataError(f"'{path}' cannot be read as HDF5: {error}", code="EKD-DATA-027") from None


def molecule_groups(file: h5py.File, keys: Keys = None) -> Iterator[tuple[str, h5py.Group]]:
    """Yield groups that contain configurations with their paths, at any depth, ordered by name.

    A group that several hard, soft or external links lead to is yielded once.

    Args:
        file: an open file.
        keys: names of positions and atomic numbers, if they differ from the usual ones.

    Raises:
        DataError: a link is broken.
    """
    yield from _walk("", file, keys, set())


def _walk(
    name: str, group: h5py.Group, keys: Keys, seen: set[tuple[str, int]]
) -> Iterator[tuple[str, h5py.Group]]:
    if (identity := identity_of(group)) in seen:
        return
    seen.add(identity)
    if _holds_configurations(group, keys):
        yield name, group
    for key in group:
        if isinstance(child := _child(group, name, key), h5py.Group):
            yield from _walk(f"{name}/{key}".lstrip("/"), child, keys, seen)


def _holds_configurations(group: h5py.Group, keys: Keys) -> bool:
    positions = find("positions", group, keys)
    if positions == "coordinates" or (keys and "positions" in keys):
        return positions is not None
    # The other names mean positions only if there are atomic numbers.
    return positions is not None and find("numbers", group, keys) is not None


def _child(group: h5py.Group, name: str, key: str) -> Any:
    try:
        return group[key]
    except (KeyError, OSError) as error:
        link = group.get(key, getlink=True)
        if isinstance(link, h5py.HardLink):
            raise
        file = f" in '{link.filename}'" if isinstance(link, h5py.ExternalLink) else ""
        raise DataError(
            f"'{f'{name}/{key}'.lstrip('/')}' in '{group.file.filename}' is a link to "
            f"'{link.path}'{file}, which cannot be opened ({error}); restore its target, or "
            "delete the link",
            code="EKD-DATA-033",
        ) from None


def identity_of(item: h5py.Group | h5py.Dataset) -> tuple[str, int]:
    """Identity of an HDF5 object, independent of links: its file and its address there."""
    file = os.path.realpath(os.fsdecode(h5py.h5f.get_name(item.id)))
    return file, h5py.h5o.get_info(item.id).addr


def place_of(name: str) -> str:
    """Name of a group in error messages."""
    return name or "the root"
