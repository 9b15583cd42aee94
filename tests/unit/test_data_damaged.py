"""HDF5 files with damaged sizes, attributes or numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ekd.data import load_dataset, prepared
from ekd.data.hdf5_checks import SEAL
from ekd.errors import DataError

REFERENCE = {1: -13.6, 8: -2041.8}


def write(path: Path, compress: bool = True) -> Path:
    """Two molecules of water, with forces and reference energies."""
    rng = np.random.default_rng(0)
    columns = {
        "offsets": np.array([0, 3, 6]),
        "atomic_numbers": np.array([8, 1, 1, 8, 1, 1], dtype=np.uint8),
        "positions": rng.normal(size=(6, 3)),
        "energies": rng.normal(size=2),
        "forces": rng.normal(size=(6, 3)),
        "group_index": np.zeros(2, dtype=np.int32),
    }
    prepared.write(
        path,
        {name: [array] for name, array in columns.items()},
        {name: array.shape for name, array in columns.items()},
        ["H2O"],
        "CCSD(T)",
        0,
        {"sources": [{"energy": "energy", "forces": "forces"}]},
        compress=compress,
        reference_energies=REFERENCE,
    )
    return path


def refuse(path: Path, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        load_dataset(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["energies", "positions", "forces", "group_index"])
def test_changed_number_of_an_uncompressed_file(tmp_path: Path, name: str) -> None:
    """Forces and groups are not part of the fingerprint, but of the content."""
    path = write(tmp_path / "a.h5", compress=False)
    load_dataset(path)
    with h5py.File(path) as file:
        offset = file[name].id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    refuse(path, "it is damaged; prepare it again")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reference_energies", '{"H": -13.7, "O": -2041.8}'),
        ("level_of_theory", "CCSD"),
        ("n_dropped", 1),
        ("surprise", "new"),
    ],
)
def test_changed_attribute(tmp_path: Path, name: str, value: object) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    refuse(path, "its attributes are not those that were written")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("reference_energies", '{"H": "x", "O": 1}', "are not one number for each element"),
        ("reference_energies", "[1]", "are not one number for each element"),
        ("reference_energies", '{"H": NaN, "O": 1}', "are not one number for each element"),
        ("preparation", "[]", "'preparation' does not name its sources"),
        ("preparation", '{"sources": [1]}', "'preparation' does not name its sources"),
        ("ekd_dataset_format", "new", "has dataset format new"),
    ],
)
def test_attributes_of_files_without_their_checksum(
    tmp_path: Path, name: str, value: object, words: str
) -> None:
    """Earlier versions stored no checksums; their files are read and checked."""
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file.attrs[SEAL]
    assert load_dataset(path).reference_energies == REFERENCE
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    refuse(path, words)


def grown(file: h5py.File) -> None:
    """Enlarge the positions to 24 TB that were never written."""
    del file["positions"]
    file.create_dataset("positions", (10**12, 3), "<f8", chunks=(1000, 3))


def of_other_type(file: h5py.File) -> None:
    positions = file["positions"][()].astype(np.float32)
    del file["positions"]
    file["positions"] = positions


def as_group(file: h5py.File) -> None:
    del file["positions"]
    file.create_group("positions")


def backwards(file: h5py.File) -> None:
    file["offsets"][...] = [0, 7, 6]


def beyond_the_groups(file: h5py.File) -> None:
    file["group_index"][...] = [0, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (grown, r"has the shape \(1000000000000, 3\), which is 24000000000000 bytes, but the file"),
        (of_other_type, r"'positions' in .* is <f4 \(6, 3\), expected <f8 \(6, 3\)"),
        (as_group, "'positions' is a group, expected an array"),
        (backwards, "the offsets or the groups"),
        (beyond_the_groups, "the offsets or the groups"),
    ],
)
def test_arrays_that_are_unsound(
    tmp_path: Path, change: Callable[[h5py.File], None], words: str
) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    refuse(path, words)


def test_array_of_a_group_that_is_larger_than_its_file(tmp_path: Path) -> None:
    path = tmp_path / "ani.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("H2O")
        group["atomic_numbers"] = np.array([8, 1, 1])
        group.create_dataset("coordinates", (10**11, 3, 3), "<f8", chunks=(100, 3, 3))
        group.create_dataset("energy", (10**11,), "<f8", chunks=(100,))
    with pytest.raises(DataError, match=r"coordinates' in .*, but the file has \d+: it is damaged"):
        load_dataset(path, energy="energy")


@pytest.mark.filterwarnings("ignore::ekd.errors.DataWarning")  # the numbers are made up
def test_zeros_that_are_packed_well_are_read(tmp_path: Path) -> None:
    """Compressed by gzip to a thousandth."""
    path = tmp_path / "zeros.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("H2O")
        group["atomic_numbers"] = np.array([8, 1, 1])
        packed = {"compression": "gzip", "compression_opts": 9, "chunks": (50_000, 3, 3)}
        group.create_dataset("coordinates", data=np.ones((100_000, 3, 3)), **packed)
        group["energy"] = np.zeros(100_000)
    assert len(load_dataset(path, energy="energy")) == 100_000
