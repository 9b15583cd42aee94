"""Checks that all data of an HDF5 array exist: HDF5 returns zeros for missing data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ekd.data.readers.hdf5_heaps import Attributes
from ekd.errors import DataError


def check_stored(dataset: h5py.Dataset, path: Path, where: str) -> None:
    """Refuse an array whose data are missing or incomplete.

    Args:
        dataset: array that is going to be read.
        path: the file, for errors.
        where: key and group, for errors.

    Raises:
        DataError: the array was not written completely, or is in other files that are missing.
    """
    if dataset.is_virtual:
        for source in dataset.virtual_sources():
            _check_source(dataset, source, path, where)
        return
    if dataset.external:
        for name, _, _ in dataset.external:
            if not (path.parent / name).exists():
                raise DataError(
                    f"{where} in '{path}' has its values in the file '{name}', which is missing; "
                    "restore it",
                    code="EKD-DATA-033",
                )
        return
    if not dataset.size or not _fills_silently(dataset):
        return
    missing = dataset.id.get_storage_size() == 0
    if dataset.chunks is not None and not missing:
        pairs = zip(dataset.shape, dataset.chunks, strict=True)
        expected = math.prod(-(-length // chunk) for length, chunk in pairs)
        missing = dataset.id.get_num_chunks() < expected
    if missing:
        raise DataError(
            f"{where} in '{path}' was never written, or not completely: HDF5 would give "
            f"{dataset.fillvalue} instead. Write the file again; the program that wrote it may "
            "have been interrupted",
            code="EKD-DATA-079",
        )


def missing_value(dataset: Any) -> float | None:
    """Placeholder for missing values, from an attribute as in netCDF; None: there is none."""
    for name in ("_FillValue", "missing_value"):
        value = Attributes(dataset).get(name) if isinstance(dataset, h5py.Dataset) else None
        if value is not None and np.size(value) == 1 and np.asarray(value).dtype.kind in "fiu":
            return float(np.reshape(value, -1)[0])
    return None


def _fills_silently(dataset: h5py.Dataset) -> bool:
    """Whether the fill value looks like a valid value; NaN marks missing values."""
    fill = dataset.fillvalue
    return not (np.asarray(fill).dtype.kind == "f" and np.isnan(fill).all())


def _check_source(dataset: h5py.Dataset, source: Any, path: Path, where: str) -> None:
    name = source.file_name
    try:
        if name == ".":
            found = source.dset_name in dataset.file
        else:
            with h5py.File(path.parent / name, "r") as file:
                found = source.dset_name in file
    except OSError:
        found = False
    if not found:
        raise DataError(
            f"{where} in '{path}' is a virtual array of '{source.dset_name}' in '{name}', which "
            "cannot be read; restore that file, or write the values into one file",
            code="EKD-DATA-033",
        )
