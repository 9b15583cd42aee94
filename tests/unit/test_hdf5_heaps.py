"""Damaged heap collections, which hold text in HDF5 files, are found before HDF5 reads them."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase.build import molecule

from ekd.data import load_dataset
from ekd.data.readers.hdf5_heaps import Attributes, values_of
from ekd.errors import DataError

SIGNATURE = b"GCOL"
WATER = molecule("H2O").positions


def write(path: Path, n_groups: int = 2, **options: object) -> None:
    with h5py.File(path, "w", **options) as file:
        for k in range(n_groups):
            group = file.create_group(f"molecule-{k}")
            group["atomic_numbers"] = np.array([8, 1, 1], dtype=np.uint8)
            group["coordinates"] = WATER + np.random.default_rng(k).normal(
                size=(4, 3, 3), scale=0.02
            )
            group["energy"] = np.random.default_rng(k).normal(size=4)
            group["energy"].attrs["units"] = "eV"


def damage(path: Path, offset: int, content: bytes) -> None:
    """Overwrite bytes at an offset from the first collection."""
    with path.open("r+b") as file:
        start = file.read().index(SIGNATURE)
        file.seek(start + offset)
        file.write(content)


def free_space(path: Path) -> int:
    """Offset of the entry of free space in the first collection."""
    content = path.read_bytes()
    start = content.index(SIGNATURE)
    at = 16
    while int.from_bytes(content[start + at : start + at + 2], "little"):
        length = int.from_bytes(content[start + at + 8 : start + at + 16], "little")
        at += 16 + -(-length // 8) * 8
    return at


@pytest.mark.parametrize("length", [0, 8, 2**40, 2**64 - 1])
def test_free_space_of_a_wrong_size(tmp_path: Path, length: int) -> None:
    path = tmp_path / "data.h5"
    write(path)
    load_dataset(path, energy="energy")
    damage(path, free_space(path) + 8, length.to_bytes(8, "little"))
    with pytest.raises(DataError, match=r"data\.h5.*text of variable length.*is damaged"):
        load_dataset(path, energy="energy")


@pytest.mark.parametrize("length", [2**20, 2**63])
def test_an_entry_that_is_too_long(tmp_path: Path, length: int) -> None:
    path = tmp_path / "data.h5"
    write(path)
    damage(path, 16 + 8, length.to_bytes(8, "little"))
    with pytest.raises(DataError, match=f"an entry of {length} bytes"):
        load_dataset(path, energy="energy")


@pytest.mark.parametrize("size", [0, 8, 2**40])
def test_a_collection_of_a_wrong_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "data.h5"
    write(path)
    damage(path, 8, size.to_bytes(8, "little"))
    with pytest.raises(DataError, match=f"a collection of {size} bytes"):
        load_dataset(path, energy="energy")


def test_arrays_of_text(tmp_path: Path) -> None:
    path = tmp_path / "text.h5"
    with h5py.File(path, "w") as file:
        file["smiles"] = ["O", "C" * 5000]
    with h5py.File(path) as file:
        assert values_of(file["smiles"]).tolist() == [b"O", b"C" * 5000]
    damage(path, free_space(path) + 8, bytes(8))
    with h5py.File(path) as file, pytest.raises(OSError, match="damaged"):
        values_of(file["smiles"])


@pytest.mark.parametrize("sizes", [(8, 8), (8, 4), (4, 4)])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_sound_files_of_all_sizes(tmp_path: Path, sizes: tuple[int, int], libver: str) -> None:
    """Files with many texts, short, long and deleted, and with a user block."""
    path = tmp_path / "text.h5"
    created = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    created.set_sizes(*sizes)
    created.set_userblock(512)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    bound = h5py.h5f.LIBVER_EARLIEST if libver == "earliest" else h5py.h5f.LIBVER_LATEST
    access.set_libver_bounds(bound, h5py.h5f.LIBVER_LATEST)
    texts = ["x" * n for n in (1, 7, 8, 9, 100, 4079, 4080, 4081, 9000)] * 20
    name = os.fsencode(path)
    with h5py.File(h5py.h5f.create(name, h5py.h5f.ACC_TRUNC, created, access)) as file:
        file["texts"] = texts
        for k, value in enumerate(texts[:40]):
            file.attrs[f"attribute-{k}"] = value
        for k in range(0, 40, 3):
            del file.attrs[f"attribute-{k}"]
        file["texts"][::4] = "replaced"
    with h5py.File(path) as file:
        found = values_of(file["texts"])
        assert found[1].decode() == texts[1]
        assert found[0] == b"replaced"
        kept = {f"attribute-{k}": text for k, text in enumerate(texts[:40]) if k % 3}
        assert dict(Attributes(file)) == kept
        assert len(Attributes(file)) == len(kept)
        assert "attribute-1" in Attributes(file)
        assert Attributes(file).get("attribute-0") is None


def test_collections_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection is found wherever the blocks of the search begin."""
    for size in (64, 97, 256, 4096):
        path = tmp_path / f"{size}.h5"
        write(path, n_groups=300)
        monkeypatch.setattr("ekd.data.readers.hdf5_heaps._BLOCK", size)
        load_dataset(path, energy="energy")
        content = path.read_bytes()
        last = content.rindex(SIGNATURE)
        with path.open("r+b") as file:
            file.seek(last + 8)
            file.write((2**40).to_bytes(8, "little"))
        with pytest.raises(DataError, match=f"at byte {last} is damaged"):
            load_dataset(path, energy="energy")


def test_a_file_is_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.h5"
    write(path)
    searched = []
    from ekd.data.readers import hdf5_heaps

    search = hdf5_heaps._collections
    monkeypatch.setattr(hdf5_heaps, "_collections", lambda file: searched.append(1) or search(file))
    for _ in range(3):
        load_dataset(path, energy="energy")
    assert len(searched) == 1


def test_a_file_without_text_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data.h5"
    write(path)
    with h5py.File(path, "r+") as file:
        for group in file.values():
            del group["energy"].attrs["units"]
            group["energy"].attrs["count"] = 3
    monkeypatch.setattr("ekd.data.readers.hdf5_heaps._collections", pytest.fail)
    assert len(load_dataset(path, energy="energy", energy_unit="eV")) == 8
