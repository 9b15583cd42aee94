"""Unusual files are read correctly, or refused with a message that explains the problem."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ekd.data import load_dataset
from ekd.errors import DataError, DataWarning
from odd_files import (
    OddFile,
    Refused,
    ase_formats,
    extended_xyz,
    extended_xyz_values,
    hdf5,
    hdf5_storage,
    npz,
)

FORMATS = {
    "xyz": [extended_xyz, extended_xyz_values],
    "hdf5": [hdf5, hdf5_storage],
    "npz": [npz],
    "ase": [ase_formats],
}
ALL = [
    pytest.param(odd, id=f"{format}: {odd.name}")
    for format, modules in FORMATS.items()
    for module in modules
    for odd in module.ODD_FILES
]


@pytest.mark.parametrize("odd", ALL)
def test_odd_file(odd: OddFile, tmp_path: Path) -> None:
    path = odd.write(tmp_path)
    expected = odd.outcome
    if isinstance(expected, Refused):
        with pytest.raises(DataError) as error:
            load_dataset(path, **odd.request)
        assert re.search(expected.message, str(error.value)), str(error.value)
        assert "\n" not in str(error.value)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = load_dataset(path, **odd.request)
    found = [str(warning.message) for warning in caught]
    assert all(warning.category is DataWarning for warning in caught), found
    assert len(found) == len(expected.warnings), found
    for pattern, message in zip(expected.warnings, found, strict=True):
        assert re.search(pattern, message), message
    np.testing.assert_allclose(data.energies, expected.energies, rtol=1e-9, atol=0)
    formulas = expected.formulas or ["H2O"] * len(data)
    assert data.formulas.tolist() == list(formulas)
    assert data.provenance.n_dropped == expected.n_dropped
    first = slice(0, data.offsets[1])
    if expected.positions is not None:
        np.testing.assert_allclose(data.positions[first], expected.positions, rtol=0, atol=2e-6)
    if expected.forces is not None:
        assert data.forces is not None
        np.testing.assert_allclose(data.forces[first], expected.forces, rtol=0, atol=2e-6)
    assert (None if data.pbc is None else data.pbc[0].tolist()) == expected.pbc
    if expected.cell is not None:
        assert data.cells is not None
        np.testing.assert_allclose(data.cells[0], expected.cell, rtol=0, atol=1e-6)


@pytest.mark.parametrize("modules", FORMATS.values(), ids=FORMATS)
def test_every_odd_file_has_a_name_of_its_own(modules: list[Any]) -> None:
    names = [odd.name for module in modules for odd in module.ODD_FILES]
    assert len(set(names)) == len(names)
    assert len(names) >= 30
