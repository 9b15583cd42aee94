"""Concatenation of datasets."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np

from ekd.data import Dataset, load_dataset
from ekd.data.combine import concatenate
from streaming import streamed
from systems import methanol, water, water_box


def test_parts_are_what_they_were(small_dataset: Dataset, test_dataset: Dataset) -> None:
    both = concatenate(small_dataset, test_dataset, small_dataset)
    starts = (0, 43, 43 + len(test_dataset))
    for start, part in zip(starts, (small_dataset, test_dataset, small_dataset), strict=True):
        again = both.subset(np.arange(start, start + len(part)))
        assert again.fingerprint == part.fingerprint
        np.testing.assert_array_equal(again.groups, part.groups)
    assert both.forces is None  # not all datasets have forces
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


def test_mapped_parts_stay_on_disk(
    small_dataset: Dataset, test_dataset: Dataset, tmp_path: Path
) -> None:
    """All operations give the same results as in memory."""
    parts = [test_dataset, small_dataset, test_dataset]
    expected = concatenate(*parts)
    both = concatenate(streamed(test_dataset, tmp_path / "a.h5"), *parts[1:])
    assert both.is_mapped
    n_bytes = len(pickle.dumps(both.positions)) - len(pickle.dumps(expected.positions))
    assert n_bytes < 1000 - test_dataset.positions.nbytes  # one part is stored only as a reference
    mask = np.arange(len(both)) % 3 == 0
    order = np.random.default_rng(0).permutation(len(both))
    for one in (both, pickle.loads(pickle.dumps(both)), concatenate(both)):
        assert one.fingerprint == expected.fingerprint
        assert one.elements == expected.elements
        np.testing.assert_array_equal(one.formulas, expected.formulas)
        one.read_ahead(order)
        for chosen in (order, mask):
            assert one.subset(chosen).fingerprint == expected.subset(chosen).fingerprint
        for index in (0, 92, 93, 135, 136, -1):
            assert one.atoms(index) == expected.atoms(index)
        for rows in (slice(40, 2000), slice(None, None, 7), slice(9, 3), 500):
            np.testing.assert_array_equal(one.positions[rows], expected.positions[rows])
        np.testing.assert_array_equal(np.asarray(one.positions), expected.positions)


def test_mapped_cells(tmp_path: Path) -> None:
    frames = [water_box(2), water()]
    for frame in frames:
        frame.info["true"] = -1.0
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    data = load_dataset(tmp_path / "a.xyz", energy="true")
    mapped = streamed(data, tmp_path / "a.h5")
    moved = replace(data, positions=data.positions + 0.1)
    both, expected = concatenate(mapped, moved), concatenate(data, moved)
    assert both.fingerprint == expected.fingerprint
    for index in range(len(both)):
        assert both.atoms(index) == expected.atoms(index)
