"""The prepared file: equal datasets when read or mapped, and detection of damage."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import h5py
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from ekd.data import Dataset, load_dataset, prepared
from ekd.data.hdf5_checks import SEAL
from ekd.errors import DataError
from ekd.preparation import prepare_dataset
from systems import methanol, triclinic_crystal, water, water_box

ARRAYS = ("atomic_numbers", "positions", "offsets", "energies", "groups", "forces", "cells", "pbc")


def raw_file(folder: Path) -> Path:
    """Molecules and periodic cells with forces, as extended XYZ."""
    frames = [water(0), triclinic_crystal(1), methanol(2), water_box(seed=3), water(4)]
    frames[3].pbc = [True, True, False]
    for index, frame in enumerate(frames):
        forces = np.random.default_rng(index).normal(size=(len(frame), 3))
        frame.calc = SinglePointCalculator(frame, energy=-10.0 - index, forces=forces)
    ase.io.write(folder / "raw.xyz", frames, format="extxyz")
    return folder / "raw.xyz"


@pytest.fixture(params=[True, False], ids=["compressed", "unpacked"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Dataset]:
    """A prepared file, and the dataset from the raw file."""
    raw, path = raw_file(tmp_path), tmp_path / "prepared.h5"
    prepare_dataset(raw, path, forces="forces", compress=request.param, progress=False)
    return path, load_dataset(raw, forces="forces")


def assert_same(found: Dataset, expected: Dataset) -> None:
    """All arrays are equal, including types for arrays in memory."""
    for name in ARRAYS:
        one, other = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(one, other, err_msg=name)
        if one is not None and name not in ("groups", "atomic_numbers"):
            assert one.dtype == other.dtype, name
    assert found.fingerprint == expected.fingerprint


@pytest.mark.parametrize("stream", [None, False, True])
def test_content_is_that_of_the_raw_file(pair: tuple[Path, Dataset], stream: bool | None) -> None:
    path, expected = pair
    dataset = load_dataset(path, stream=stream)
    assert_same(dataset, expected)
    assert dataset.is_mapped is bool(stream)
    assert dataset.elements == expected.elements
    np.testing.assert_array_equal(dataset.composition, expected.composition)
    assert dataset.formulas.tolist() == expected.formulas.tolist()
    assert_same(dataset.subset([3, 0]), expected.subset([3, 0]))
    assert dataset.atoms(1) == expected.atoms(1)
    assert dataset.provenance.path == str(path)
    assert dataset.provenance.level_of_theory == "energy"


def test_large_files_are_mapped_unless_told_otherwise(
    pair: tuple[Path, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "STREAM_ABOVE", 100)
    assert load_dataset(pair[0]).is_mapped
    assert not load_dataset(pair[0], stream=False).is_mapped


def test_fingerprint_of_mapped_arrays_is_also_found_by_reading_them(
    pair: tuple[Path, Dataset],
) -> None:
    mapped = load_dataset(pair[0], stream=True)
    assert replace(mapped).fingerprint == mapped.fingerprint
    other = replace(mapped, energies=mapped.energies + 1.0)
    assert other.fingerprint != mapped.fingerprint


def test_mapped_arrays_travel_as_references(pair: tuple[Path, Dataset]) -> None:
    path, expected = pair
    mapped = load_dataset(path, stream=True)
    travelled = pickle.loads(pickle.dumps(mapped))
    assert travelled.is_mapped
    assert_same(travelled, expected)
    in_memory = pickle.loads(pickle.dumps(load_dataset(path)))
    assert not in_memory.is_mapped
    part = replace(mapped, positions=mapped.positions[:])  # a view is pickled as numbers
    travelled = pickle.loads(pickle.dumps(part))
    assert not travelled.is_mapped
    assert_same(travelled, expected)


@pytest.mark.parametrize("change", ["touched", "gone"])
def test_file_that_changes_under_a_reference(pair: tuple[Path, Dataset], change: str) -> None:
    mapped = load_dataset(pair[0], stream=True)
    place = Path(mapped.positions.filename)
    sent = pickle.dumps(mapped)
    if change == "touched":
        os.utime(place, ns=(0, 0))
        expected = "has changed while it was in use"
    else:
        place.unlink()
        expected = "cannot be mapped"
    with pytest.raises(DataError, match=expected):
        pickle.loads(sent)


def test_reading_ahead_changes_nothing(pair: tuple[Path, Dataset]) -> None:
    for stream in (False, True):
        dataset = load_dataset(pair[0], stream=stream)
        dataset.read_ahead(np.array([4, 1, 3]))
        assert_same(dataset, pair[1])


def test_unpacked_copy_is_made_once_and_follows_the_file(tmp_path: Path) -> None:
    raw, path, copy = raw_file(tmp_path), tmp_path / "a.h5", tmp_path / "a.unpacked.h5"
    prepare_dataset(raw, path, progress=False)
    load_dataset(path, stream=True)
    first = copy.stat()
    load_dataset(path, stream=True)
    assert copy.stat().st_mtime_ns == first.st_mtime_ns
    copy.write_bytes(copy.read_bytes()[:3000])  # truncated
    assert_same(load_dataset(path, stream=True), load_dataset(path))
    prepare_dataset(raw, path, energy_unit="meV", overwrite=True, progress=False)
    streamed = load_dataset(path, stream=True)
    assert streamed.energies[0] == load_dataset(path).energies[0] == pytest.approx(-0.01)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "a.h5",
        "a.png",
        "a.unpacked.h5",
        "raw.xyz",
    ]


def test_unpacked_copy_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_dataset(raw_file(tmp_path), tmp_path / "a.h5", progress=False)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepared, "write", full)
    with pytest.raises(DataError, match=r"a\.unpacked\.h5' that streaming needs: .*No space left"):
        load_dataset(tmp_path / "a.h5", stream=True)


# ------------------------------------------------------------------------------------- arguments


def test_keys_of_a_prepared_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    prepare_dataset(raw_file(tmp_path), path, "energy", progress=False)
    assert load_dataset(path, energy="energy").forces is None
    for arguments, expected in (
        ({"energy": "ccsd"}, "prepared with 'energy' and does not have 'ccsd'; leave the key out"),
        ({"forces": "forces"}, "prepared with no forces and does not have 'forces'"),
        ({"energy_unit": "eV"}, "is a prepared file in eV, Å and eV/Å; leave the units out"),
        ({"length_unit": "Å"}, "leave the units out"),
        ({"gradients": True}, "leave the units out"),
    ):
        with pytest.raises(DataError, match=expected):
            load_dataset(path, **arguments)


def test_layout_is_the_documented_one(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    prepare_dataset(raw_file(tmp_path), path, forces="forces", progress=False)
    with h5py.File(path) as file:
        assert file.attrs["ekd_dataset_format"] == 1
        expected = {*ARRAYS[:4], *ARRAYS[5:], "group_index", "group_names"}
        assert set(file) == expected
        assert file["positions"].attrs["unit"].decode() == "Å"
        assert file["positions"].compression == "gzip"
        assert file["positions"].fletcher32
        assert {name.decode() for name in file["group_names"]} == set(load_dataset(path).groups)


# ------------------------------------------------------------------------------------- damage


def test_damage_is_found(tmp_path: Path) -> None:
    """Change a byte in the chunk of one array after the other."""
    path = tmp_path / "a.h5"
    prepare_dataset(raw_file(tmp_path), path, forces="forces", progress=False)
    whole = path.read_bytes()
    with h5py.File(path) as file:
        chunks = {name: file[name].id.get_chunk_info(0) for name in prepared._STORED}
    for name, chunk in chunks.items():
        damaged = bytearray(whole)
        damaged[chunk.byte_offset + chunk.size // 2] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.h5' is damaged|it is damaged"):
            load_dataset(path)
        assert name  # the name in the traceback of a failure
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        load_dataset(path)


def test_content_that_does_not_fit_the_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    prepare_dataset(raw_file(tmp_path), path, progress=False)
    with h5py.File(path, "a") as file:
        file["energies"][0] += 1e-9
    with pytest.raises(DataError, match=r"and the fingerprint .* it is damaged; prepare it again"):
        load_dataset(path)


def test_format_of_the_future(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    prepare_dataset(raw_file(tmp_path), path, progress=False)
    with h5py.File(path, "a") as file:
        file.attrs["ekd_dataset_format"] = 3
    with pytest.raises(DataError, match="dataset format 3, and this ekd reads formats 1 to 2; up"):
        load_dataset(path)
    with h5py.File(path, "a") as file:
        file.attrs["ekd_dataset_format"] = 1
        del file.attrs["fingerprint"], file.attrs[SEAL]
    with pytest.raises(DataError, match=r"is damaged .*; prepare it again"):
        load_dataset(path)


def test_header_of_something_else(training_file: Path) -> None:
    with pytest.raises(DataError, match="was not made by 'ekd prepare'"):
        prepared.read_header(training_file)
