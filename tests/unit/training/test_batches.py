"""Batches contain exactly the requested configurations, in order, with their own pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies, load_dataset
from ekd.errors import StructureError
from ekd.neighbor_list import neighbor_list
from ekd.preparation import prepare_dataset
from ekd.training import batches, train
from ekd.training.batches import BatchSource

CUTOFF = 4.0
ELEMENTS = [8, 1, 7, 6]  # not in rising order, on purpose


@pytest.fixture(params=[True, False], ids=["kept", "made anew"])
def lists(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbor lists of all configurations in memory, or of one gather at a time."""
    if not request.param:
        monkeypatch.setattr(batches, "_KEPT_BYTES", 0)
        monkeypatch.setattr(batches, "_PAIRS_PER_GATHER", 200)


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize("batch_size", [1, 5, 43, 100])
def test_batches_equal_single_configurations(small_dataset: Dataset, batch_size: int) -> None:
    forces = np.random.default_rng(0).normal(size=small_dataset.positions.shape)
    source = BatchSource(small_dataset, ELEMENTS, CUTOFF, torch.float64, forces)
    order = np.random.default_rng(1).permutation(len(small_dataset))
    waiting = list(order)
    for batch in source.batches(order, batch_size):
        assert batch.n_configs == min(batch_size, len(waiting))
        assert batch.pairs.is_contiguous()
        assert (batch.pairs[0].diff() >= 0).all()
        for place in range(batch.n_configs):
            config = waiting.pop(0)
            atoms = torch.nonzero(batch.config_index == place).squeeze(1)
            rows = slice(small_dataset.offsets[config], small_dataset.offsets[config + 1])
            numbers = np.array(ELEMENTS)[batch.species[atoms]]
            np.testing.assert_array_equal(numbers, small_dataset.atomic_numbers[rows])
            np.testing.assert_array_equal(batch.forces[atoms], forces[rows])
            assert batch.energies[place] == small_dataset.energies[config]
            found = neighbor_list(small_dataset.positions[rows], CUTOFF)
            mine = torch.isin(batch.pairs[0], atoms)
            np.testing.assert_array_equal(batch.pairs[:, mine] - atoms[0], found.pairs)
            np.testing.assert_array_equal(batch.pair_vectors[mine], found.pair_vectors)
    assert not waiting


@pytest.mark.usefixtures("lists")
def test_batches_within_bounds(small_dataset: Dataset) -> None:
    """The bounds are those of a process with a part of each batch, which may be empty."""
    forces = np.zeros(small_dataset.positions.shape)
    source = BatchSource(small_dataset, ELEMENTS, CUTOFF, torch.float64, forces)
    order = np.array([5, 9, 2, 7])
    found = list(source.batches(order, np.array([0, 0, 3, 3, 4, 4])))
    assert [batch.n_configs for batch in found] == [0, 3, 0, 1, 0]
    for batch, configs in zip(found, ([], [5, 9, 2], [], [7], []), strict=True):
        assert batch.energies.tolist() == small_dataset.energies[configs].tolist()
        sizes = small_dataset.n_atoms_per_config[np.array(configs, dtype=np.int64)]
        assert batch.n_atoms == len(batch.forces) == sizes.sum()
        assert batch.pairs.shape[1] == len(batch.pair_vectors)
    (empty,) = source.batches(np.array([], dtype=np.int64), np.array([0, 0]))
    assert (empty.n_configs, empty.n_atoms) == (0, 0)


def test_labels_of_configurations(small_dataset: Dataset) -> None:
    forces = np.arange(3.0 * small_dataset.n_atoms).reshape(-1, 3)
    source = BatchSource(small_dataset, ELEMENTS, CUTOFF, torch.float32, forces)
    chosen = np.array([7, 2])
    expected = [forces[small_dataset.config_index == config] for config in chosen]
    np.testing.assert_array_equal(source.forces(chosen), np.concatenate(expected))
    np.testing.assert_array_equal(source.energies(chosen), small_dataset.energies[chosen])


def test_unknown_element(small_dataset: Dataset) -> None:
    with pytest.raises(StructureError, match="data contain C, N, but the model supports only H, O"):
        BatchSource(small_dataset, [1, 8], CUTOFF, torch.float32)


@pytest.mark.parametrize("kept_bytes", [0, 2**28])
def test_broken_structure_is_named(
    small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    monkeypatch.setattr(batches, "_KEPT_BYTES", kept_bytes)
    broken = replace(small_dataset, positions=small_dataset.positions.copy())
    broken.positions[broken.offsets[7] + 1] = broken.positions[broken.offsets[7]]
    with pytest.raises(StructureError, match=r"configuration 7 of '.*ccsdt_chno\.h5': .*atoms"):
        list(BatchSource(broken, ELEMENTS, CUTOFF, torch.float32).batches(np.arange(9), 4))


def all_batches(data: Dataset) -> list[batches.Batch]:
    source = BatchSource(data, ELEMENTS, CUTOFF, torch.float32)
    return list(source.batches(np.random.default_rng(0).permutation(len(data)), 5))


@pytest.fixture(scope="module")
def prepared_file(training_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped training set, prepared."""
    path = tmp_path_factory.mktemp("data") / "prepared.h5"
    prepare_dataset(training_file, path, "ccsd(t)_ccpvdz.energy", progress=False)
    return path


def test_streamed_batches_are_those_in_memory(
    prepared_file: Path, training_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data from disk with lists for one gather at a time, against everything in memory."""
    in_memory = all_batches(training_dataset)
    monkeypatch.setattr(batches, "_KEPT_BYTES", 0)
    streamed = all_batches(load_dataset(prepared_file, stream=True))
    assert len(streamed) == len(in_memory)
    for one, other in zip(streamed, in_memory, strict=True):
        for name in ("species", "pairs", "pair_vectors", "config_index", "energies"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0)


def test_streamed_training_is_that_in_memory(
    prepared_file: Path, training_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network and the validation errors are bitwise the same."""
    indices = np.arange(0, len(training_dataset), 40)

    def trained(data: Dataset) -> tuple[str, list[float]]:
        model = train(
            data,
            model=HIPNNConfig(n_features=4, n_sensitivities=4, cutoff=4.0, soft_max=3.5),
            training=TrainingConfig(epochs=2),
            train_indices=indices[10:],
            validation_indices=indices[:10],
            reference_energies=fit_reference_energies(data, indices[10:]),
            seed=0,
        )
        return model.sha256, [epoch["validation_energy_rmse"] for epoch in model.history]

    expected = trained(training_dataset)
    assert trained(load_dataset(prepared_file)) == expected
    streamed = load_dataset(prepared_file, stream=True)
    assert trained(streamed) == expected
    monkeypatch.setattr(batches, "_KEPT_BYTES", 0)
    assert trained(streamed) == expected


def test_memory_of_a_gather_is_bounded(
    training_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of pairs per gather is bounded, but a gather still contains many batches."""
    monkeypatch.setattr(batches, "_KEPT_BYTES", 0)
    monkeypatch.setattr(batches, "_PAIRS_PER_GATHER", 3000)
    source = BatchSource(training_dataset, ELEMENTS, CUTOFF, torch.float32)
    taken: list[int] = []
    original = source._lists.take

    def take(configs: np.ndarray) -> object:
        found = original(configs)
        taken.append(found.pairs.shape[1])
        return found

    monkeypatch.setattr(source._lists, "take", take)
    order = np.random.default_rng(0).permutation(len(training_dataset))
    n_batches = sum(1 for _ in source.batches(order, 10))
    assert n_batches == 342
    assert max(taken) < 2 * 3000
    assert len(taken) < n_batches / 5  # many batches at a time
