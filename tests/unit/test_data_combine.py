"""Datasets put together."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np

from ekd.data import Dataset, load_dataset
from ekd.data.combine import concatenate
from systems import methanol, water, water_box


def test_parts_are_what_they_were(small_dataset: Dataset, test_dataset: Dataset) -> None:
    both = concatenate(small_dataset, test_dataset, small_dataset)
    starts = (0, 43, 43 + len(test_dataset))
    for start, part in zip(starts, (small_dataset, test_dataset, small_dataset), strict=True):
        again = both.subset(np.arange(start, start + len(part)))
        assert again.fingerprint == part.fingerprint
        np.testing.assert_array_equal(again.groups, part.groups)
    assert both.forces is None  # not all have them
    assert both.cells is None
    forces = concatenate(test_dataset, test_dataset).forces
    assert forces is not None
    np.testing.assert_array_equal(forces[test_dataset.n_atoms :], test_dataset.forces)


def test_molecules_and_cells(tmp_path: Path) -> None:
    parts = []
    for name, frames in (("a", [water()]), ("b", [water_box(2)]), ("c", [methanol()])):
        for frame in frames:
            frame.info["true"] = -1.0
        ase.io.write(tmp_path / f"{name}.xyz", frames, format="extxyz")
        parts.append(load_dataset(tmp_path / f"{name}.xyz", energy="true"))
    both = concatenate(*parts)
    assert both.pbc is not None
    assert both.pbc.dtype == bool
    assert both.pbc.tolist() == [[False] * 3, [True] * 3, [False] * 3]
    assert both.cells is not None
    np.testing.assert_array_equal(both.cells[1], parts[1].cells[0])
    assert both.formulas.tolist() == ["H2O", "H16O8", "CH4O"]
