"""Selection of the reader for a file: by suffix, and for HDF5 by content."""

from __future__ import annotations

from pathlib import Path

from ekd.data.prepared import is_prepared
from ekd.data.readers import hdf5_walk, sgdml
from ekd.data.readers.ani_release import AniReleaseSource
from ekd.data.readers.annotations import check_request
from ekd.data.readers.ase_formats import ASESource
from ekd.data.readers.keys import check_keys
from ekd.data.readers.prepared_files import PreparedSource
from ekd.data.readers.pyanitools import PyanitoolsSource
from ekd.data.readers.sgdml import SGDMLSource
from ekd.data.readers.signatures import check_signature
from ekd.data.readers.source import Request, Source
from ekd.errors import DataError


def open_source(path: Path, request: Request) -> Source:
    """Open a file of any known format.

    Raises:
        DataError: the file is missing or of unknown format, or the request does not fit it.
    """
    if not path.exists():
        raise DataError(f"data file '{path}' not found; check the path", code="EKD-DATA-001")
    if path.is_dir():
        raise DataError(f"'{path}' is a folder; name the files in it", code="EKD-DATA-002")
    check_keys(request.keys)
    check_request(request)
    if request.format is None:
        check_signature(path)
    suffix = path.suffix.lower()
    if request.format is None and suffix in hdf5_walk.SUFFIXES:
        return _hdf5(path, request)
    if request.format is None and suffix in sgdml.SUFFIXES:
        return SGDMLSource(path, request)
    if request.keys:
        raise _no_keys(path)
    return ASESource(path, request)


def _hdf5(path: Path, request: Request) -> Source:
    with hdf5_walk.opened(path) as file:
        if is_prepared(file):
            if request.keys:
                raise _no_keys(path)
            return PreparedSource(path, request)
        _, first = next(hdf5_walk.molecule_groups(file, request.keys), ("", {}))
        names = set(first)
    if not names:
        wanted = (request.keys or {}).get("positions", "coordinates")
        raise DataError(
            f"'{path}' has no group with '{wanted}'; expected one group per formula or molecule "
            "with 'coordinates', 'atomic_numbers' or 'species', and properties (ANI-1x/ANI-1ccx or "
            "pyanitools layout), or a file made by 'ekd prepare'",
            code="EKD-DATA-041",
        )
    if "species" in names and "atomic_numbers" not in names:
        return PyanitoolsSource(path, request)
    return AniReleaseSource(path, request)


def _no_keys(path: Path) -> DataError:
    return DataError(
        f"the format of '{path}' fixes where positions, atomic numbers and cells are; keys are for "
        "HDF5 in groups and for .npz: leave them out",
        code="EKD-DATA-040",
    )
