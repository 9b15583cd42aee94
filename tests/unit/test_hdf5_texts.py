"""Text in HDF5 files: fixed length, which HDF5 can read even from damaged files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from ekd.data import Dataset
from ekd.data.hdf5_checks import fixed_text, plain_text
from ekd.distillation import label, perturb
from streaming import streamed
from untrained import ensemble

TEXTS = ("", "a", "Å and more", "x" * 200_000)


@pytest.mark.parametrize("text", TEXTS)
def test_attributes_and_arrays_come_back(tmp_path: Path, text: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="v110") as file:
        file.attrs["one"] = fixed_text(text)
        file["some"] = fixed_text(["b", text])
        file["none"] = fixed_text([])
    with h5py.File(tmp_path / "a.h5") as file:
        assert plain_text(file.attrs["one"]) == text
        assert file["some"].asstr()[()].tolist() == ["b", text]
        assert file["none"].shape == (0,)


def test_what_is_no_text_stays() -> None:
    assert plain_text("a") == "a"
    assert plain_text(np.int64(3)) == 3


def types_in(path: Path) -> dict[str, np.dtype]:
    """Types of all attributes and arrays."""
    found: dict[str, np.dtype] = {}

    def visit(name: str, place: h5py.HLObject) -> None:
        found.update({f"{name}@{key}": place.attrs.get_id(key).dtype for key in place.attrs})
        if isinstance(place, h5py.Dataset):
            found[name] = place.dtype

    with h5py.File(path) as file:
        visit("", file)
        file.visititems(visit)
    return found


def assert_no_text_in_a_heap(path: Path) -> None:
    texts = {name: h5py.check_string_dtype(kind) for name, kind in types_in(path).items()}
    lengths = {name: text.length for name, text in texts.items() if text is not None}
    assert lengths
    assert None not in lengths.values(), lengths


def test_prepared_files(small_dataset: Dataset, tmp_path: Path) -> None:
    found = streamed(small_dataset, tmp_path / "a.h5")
    assert_no_text_in_a_heap(tmp_path / "a.h5")
    assert found.groups.tolist() == small_dataset.groups.tolist()


def test_label_files(small_dataset: Dataset, tmp_path: Path) -> None:
    extra = perturb(small_dataset, 0.03, seed=1)
    label(ensemble(), small_dataset, tmp_path / "a.h5", extra=extra, n_workers=1, progress=False)
    assert_no_text_in_a_heap(tmp_path / "a.h5")
