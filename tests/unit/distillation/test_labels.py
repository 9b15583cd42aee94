"""Label files: content, detection of damage, and binding to their data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from ekd.config import HIPNNConfig
from ekd.data import Dataset
from ekd.data.hdf5_checks import SEAL
from ekd.distillation import Labels, distill, label, perturb
from ekd.distillation.label_file import UNITS
from ekd.errors import DataError
from untrained import ensemble

CHUNK = 10


@pytest.fixture(scope="module")
def labels(small_dataset: Dataset) -> Labels:
    """Labels of the small dataset, in five chunks."""
    return label(ensemble(), small_dataset, chunk_size=CHUNK, n_workers=1, progress=False)


@pytest.fixture
def path(labels: Labels, small_dataset: Dataset, tmp_path: Path) -> Path:
    labels.save(tmp_path / "labels.h5", small_dataset)
    return tmp_path / "labels.h5"


def assert_equal(found: Labels, expected: Labels) -> None:
    for name in UNITS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    assert found.teachers == expected.teachers


def test_file_round_trip(labels: Labels, small_dataset: Dataset, path: Path) -> None:
    assert_equal(Labels.load(path, small_dataset), labels)
    with h5py.File(path) as file:
        assert {name: file[name].attrs["unit"].decode() for name in UNITS} == UNITS
        assert file["chunk_configs"][:].tolist() == [0, 10, 20, 30, 40, 43]
        assert len(file["chunk_sha256"]) == 5


def test_save_writes_what_label_writes(
    labels: Labels, small_dataset: Dataset, path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.h5"
    label(ensemble(), small_dataset, other, chunk_size=CHUNK, n_workers=1, progress=False)
    assert other.read_bytes() == path.read_bytes()


def test_extra_configurations_are_in_the_file(
    small_dataset: Dataset, test_dataset: Dataset, tmp_path: Path
) -> None:
    extra = perturb(test_dataset.subset(np.arange(12)), 0.03, seed=1)
    path = tmp_path / "labels.h5"
    labels = label(
        ensemble(), small_dataset, path, extra, chunk_size=CHUNK, n_workers=1, progress=False
    )
    loaded = Labels.load(path, small_dataset)
    assert_equal(loaded, labels)
    assert loaded.extra is not None
    assert len(loaded.forces) == small_dataset.n_atoms + extra.n_atoms
    for name in ("positions", "atomic_numbers", "offsets", "groups"):
        np.testing.assert_array_equal(getattr(loaded.extra, name), getattr(extra, name))
    assert np.isnan(loaded.extra.energies).all()
    expected = ensemble().predict(extra).forces
    np.testing.assert_allclose(loaded.forces[small_dataset.n_atoms :], expected, atol=1e-12)
    loaded.save(tmp_path / "again.h5", small_dataset)
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


def test_labels_of_other_data(labels: Labels, small_dataset: Dataset, path: Path) -> None:
    other = small_dataset.subset(np.arange(10))
    for use in (
        lambda: Labels.load(path, other),
        lambda: labels.save(path, other),
        lambda: distill(other, labels, HIPNNConfig(), progress=False),
    ):
        with pytest.raises(DataError, match="the labels were made for other data"):
            use()


def test_file_that_is_missing_or_something_else(training_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.h5"
    with pytest.raises(DataError, match="not found; check the path, or label the data"):
        Labels.load(path)
    path.write_bytes(b"not HDF5")
    with pytest.raises(DataError, match="is not a label file or is damaged"):
        Labels.load(path)
    with pytest.raises(DataError, match="label format None, expected 2"):
        Labels.load(training_file)


@pytest.mark.parametrize("name", UNITS)
def test_changed_number_is_found(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        file[name][25] += 1e-9  # an atom of chunk 0, or a configuration of chunk 2
    number = 0 if name.startswith("forces") else 2
    with pytest.raises(DataError, match=rf"1 of 5 chunks .* damaged \(the first is {number}\)"):
        Labels.load(path)


@pytest.mark.parametrize("name", ["forces", "member_energies"])
def test_missing_array_is_found(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(DataError, match=f"is not a label file or is damaged .*{name}"):
        Labels.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("chunk_size", 20), ("teachers", "[]"), ("data_fingerprint", "0" * 64), ("surprise", 1)],
)
def test_changed_attribute_is_found(path: Path, name: str, value: object) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    with pytest.raises(DataError, match="its attributes are not those that were written"):
        Labels.load(path)


def test_file_of_an_earlier_version_has_no_checksum_of_its_attributes(
    path: Path, labels: Labels
) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs[SEAL]
    assert_equal(Labels.load(path), labels)


def test_rows_that_no_chunk_has_are_found(path: Path) -> None:
    """An array with more rows than its chunks is refused."""
    with h5py.File(path, "r+") as file:
        forces = file["forces"][()]
        del file["forces"]
        file["forces"] = np.concatenate([forces, forces[:1]])
    with pytest.raises(DataError, match="its chunks are not those of its arrays"):
        Labels.load(path)


def test_array_that_is_larger_than_the_file(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["forces"]
        file.create_dataset("forces", (10**12, 3), np.float64, chunks=(1000, 3))
    with pytest.raises(DataError, match=r"24000000000000 bytes, but the file has"):
        Labels.load(path)


def test_changed_group_of_an_extra_structure_is_found(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "labels.h5"
    extra = small_dataset.subset([3, 4])
    label(ensemble(), small_dataset, path, extra, n_workers=1, progress=False)
    with h5py.File(path, "r+") as file:
        file["extra/groups"][0] = "other"
    with pytest.raises(DataError, match="the extra configurations"):
        Labels.load(path)


@pytest.mark.parametrize("name", ["chunk_sha256", "chunk_atoms"])
def test_damaged_header_is_found(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(DataError, match="is not a label file or is damaged"):
        Labels.load(path)


def test_changed_extra_structure_is_found(small_dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "labels.h5"
    extra = small_dataset.subset([3, 4])
    label(ensemble(), small_dataset, path, extra, n_workers=1, progress=False)
    with h5py.File(path, "r+") as file:
        file["extra/positions"][0, 0] += 1e-9
    with pytest.raises(DataError, match=r"damaged \('.*' is not|damaged \(the extra"):
        Labels.load(path)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
def test_file_cut_short(path: Path, fraction: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(DataError, match="damaged"):
        Labels.load(path)


def test_numbers_that_are_not_finite(labels: Labels, small_dataset: Dataset, path: Path) -> None:
    forces = labels.forces.copy()
    forces[3, 1] = np.nan
    replace(labels, forces=forces).save(path, small_dataset)
    with pytest.raises(DataError, match=r"1 forces in .* are not finite"):
        Labels.load(path)
