"""Helpers for tests of the error catalogue: catch an error and compare its code."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from ekd.cli import app
from ekd.data import Dataset, load_dataset
from ekd.errors import DataWarning, EKDError
from systems import water


@contextmanager
def expect(code: str) -> Iterator[None]:
    """Expect an error with this code, which its message contains once."""
    with pytest.raises(EKDError) as caught:
        yield
    assert caught.value.code == code, caught.value
    assert str(caught.value).count("[EKD-") == 1


def refused(code: str, *arguments: object) -> str:
    """Check that ``ekd`` with these arguments fails with this code; return its output."""
    result = CliRunner(env={"COLUMNS": "300", "NO_COLOR": "1"}).invoke(app, [*map(str, arguments)])
    assert result.exit_code == 1, result.output
    assert result.output.count("[EKD-") == 1, result.output
    assert f"[{code}]" in result.output, result.output
    assert "Traceback" not in result.output
    return result.output


def frames(path: Path, *given: Atoms, energies: list[float] | None = None) -> Path:
    """Write extended XYZ; by default, two water molecules with energies."""
    structures = list(given) or [water(0), water(1)]
    for index, one in enumerate(structures):
        one.calc = SinglePointCalculator(one, energy=energies[index] if energies else -10.0 + index)
    write(path, structures, format="extxyz")
    return path


def groups(path: Path, given: dict[str, dict[str, Any]]) -> Path:
    """Write HDF5 groups of four configurations with two atoms and energies ``e``, with changes.

    A value is an array, or an array and its unit; None omits the array.
    """
    with h5py.File(path, "w") as file:
        for index, (name, changes) in enumerate(given.items()):
            arrays = {
                "atomic_numbers": [13, 13],
                "coordinates": np.random.default_rng(index).normal(size=(4, 2, 3)),
                "e": np.arange(4.0) - index,
            } | changes
            for key, value in arrays.items():
                array, unit = value if isinstance(value, tuple) else (value, None)
                if array is None:
                    continue
                dataset = file.create_dataset(f"{name}/{key}", data=array)
                if unit is not None:
                    dataset.attrs["units"] = unit
    return path


def waters(folder: Path, n_configs: int = 6) -> Dataset:
    """Distorted water molecules with energies."""
    path = frames(folder / "waters.xyz", *(water(seed) for seed in range(n_configs)))
    with warnings.catch_warnings(action="ignore", category=DataWarning):  # energies are made up
        return load_dataset(path)
