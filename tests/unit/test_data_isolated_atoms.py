"""Isolated atoms and given energies: reference energies without a fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ase.build
import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms

from ekd.data import Dataset, load_dataset
from ekd.data.combine import concatenate
from ekd.errors import DataError
from ekd.preparation import prepare_dataset

ATOMS = {"H": -13.6, "O": -2041.8}
NUMBERS = {1: -13.6, 8: -2041.8}


def atom(name: str, energy: float, kind: str = "IsolatedAtom") -> Atoms:
    frame = Atoms(name)
    frame.info.update(energy=energy, config_type=kind)
    return frame


def water(n: int = 3) -> list[Atoms]:
    frames = [ase.build.molecule("H2O") for _ in range(n)]
    for k, frame in enumerate(frames):
        frame.positions[0] += 0.01 * k
        frame.info["energy"] = -2080.0 + 0.1 * k
    return frames


def write(path: Path, *frames: Atoms) -> Path:
    ase.io.write(path, list(frames), format="extxyz")
    return path


def marked(path: Path, kind: str = "IsolatedAtom") -> Path:
    first, *rest = water()
    return write(path, first, *(atom(s, e, kind) for s, e in ATOMS.items()), *rest)


@pytest.mark.parametrize("kind", ["IsolatedAtom", "isolated_atom"])
def test_marked_frames_are_no_configurations(tmp_path: Path, kind: str) -> None:
    data = load_dataset(marked(tmp_path / "a.xyz", kind))
    assert data.formulas.tolist() == ["H2O"] * 3
    assert data.reference_energies == NUMBERS
    assert data.provenance.n_dropped == 0
    assert data.subset([1]).reference_energies == NUMBERS
    assert concatenate(data, data).reference_energies == NUMBERS
    plain = load_dataset(write(tmp_path / "b.xyz", *water()))
    assert plain.reference_energies is None
    assert plain.fingerprint == data.fingerprint


def test_given_energies_go_first(tmp_path: Path) -> None:
    path = marked(tmp_path / "a.xyz")
    given = {"H": -10.0, "C": -1000.0, "O": -2000.0}
    assert load_dataset(path, reference_energies=given).reference_energies == {
        1: -10.0, 6: -1000.0, 8: -2000.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"H": -13.6}, r"reference energies of H, and none of O, which '.*a\.xyz' also contains"),
        ({"H": -13.6, "Ox": 1.0}, "'Ox' is not a chemical symbol"),
        ({"H": float("nan"), "O": 1.0}, "expected a finite number"),
        ({}, "expected a finite number"),
    ],
)
def test_given_energies_that_do_not_fit(
    tmp_path: Path, given: dict[str, float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(write(tmp_path / "a.xyz", *water()), reference_energies=given)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([atom("H", -13.6)], "energies of H, and none of O"),
        ([atom("H2", -31.0)], "marks a frame of 2 atoms with config_type=IsolatedAtom"),
        ([atom("H", -13.6), atom("H", -13.5)], "atoms of H have two energies, -13.600000 and"),
    ],
)
def test_marks_that_are_wrong(tmp_path: Path, frames: list[Atoms], message: str) -> None:
    path = write(tmp_path / "a.xyz", *water(), *frames)
    with pytest.raises(DataError, match=message):
        load_dataset(path)
    with pytest.raises(DataError, match=message.replace("energies of H,", "atoms of H,")):
        prepare_dataset(path, tmp_path / "a.h5", progress=False)


def test_atoms_alone_are_no_data(tmp_path: Path) -> None:
    path = write(tmp_path / "atoms.xyz", *(atom(s, e) for s, e in ATOMS.items()))
    message = r"atoms\.xyz' contains only isolated atoms.*ekd prepare DATA ATOMS"
    with pytest.raises(DataError, match=message):
        load_dataset(path)
    with pytest.raises(DataError, match=message):
        prepare_dataset(path, tmp_path / "a.h5", progress=False)


@pytest.mark.parametrize("stream", [False, True])
def test_prepared_files_keep_them(tmp_path: Path, stream: bool) -> None:
    """From a separate file, after a merge of prepared files, and in an unpacked copy."""
    atoms = write(tmp_path / "atoms.xyz", *(atom(s, e) for s, e in ATOMS.items()))
    data = write(tmp_path / "water.xyz", *water())
    summary = prepare_dataset([data, atoms], tmp_path / "one.h5", progress=False)
    assert summary.isolated_atoms == ATOMS
    assert summary.n_configs == 3
    assert summary.dropped["no_energy"] == 0
    assert summary.reference_warnings == ()
    again = prepare_dataset([tmp_path / "one.h5"], tmp_path / "two.h5", progress=False)
    assert again.isolated_atoms == ATOMS
    with h5py.File(tmp_path / "two.h5") as file:
        assert file.attrs["ekd_dataset_format"] == 2  # older versions would not see them
    found = load_dataset(tmp_path / "two.h5", stream=stream)
    assert found.reference_energies == NUMBERS
    assert found.is_mapped == stream
    other = load_dataset(tmp_path / "two.h5", reference_energies={"H": 0.0, "O": 1.0})
    assert other.reference_energies == {1: 0.0, 8: 1.0}


def test_prepare_names_what_is_not_fixed(tmp_path: Path) -> None:
    data = write(tmp_path / "water.xyz", *water())
    summary = prepare_dataset(data, tmp_path / "a.h5", progress=False)
    assert "do not determine the reference energies of H, O" in summary.warnings[0]
    atoms = write(tmp_path / "atoms.xyz", atom("H", -13.6), atom("O", -432.0))
    summary = prepare_dataset([data, atoms], tmp_path / "b.h5", progress=False)
    assert "at different levels of theory" in summary.warnings[0]


def test_energies_that_are_missing_in_a_dataset(small_dataset: Dataset) -> None:
    with pytest.raises(DataError, match="energies of no element, and none of H, C, N, O"):
        replace(small_dataset, reference_energies={})


def test_blocks_without_marks(tmp_path: Path, training_file: Path) -> None:
    data = load_dataset(training_file, energy="ccsd(t)_ccpvdz.energy")
    assert data.reference_energies is None
    assert np.isfinite(data.energies).all()
