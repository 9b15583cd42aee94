"""Trainings that start from a finished network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ekd.data import Dataset
from ekd.errors import CheckpointError, ConfigError, StructureError
from ekd.models import HIPNN
from ekd.training import TrainedModel, train_ensemble
from ekd.training.ensemble import Ensemble
from ekd.training.start import load_start, reference_energies_after
from trainings import MODEL, TRAINING, run

STILL = TRAINING.model_copy(update={"learning_rate": 1e-12, "epochs": 1})


@pytest.fixture(scope="module")
def base(small_dataset: Dataset) -> TrainedModel:
    """A trained network."""
    return run(small_dataset, seed=3)


def test_without_steps_it_is_the_network_that_it_starts_from(
    small_dataset: Dataset, base: TrainedModel
) -> None:
    found = run(small_dataset, start=base, training=STILL).predict(small_dataset)
    expected = base.predict(small_dataset)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-5)
    assert np.abs(expected.forces).max() > 1e-2


def test_reference_energies_are_found_anew(small_dataset: Dataset, base: TrainedModel) -> None:
    """Another level of theory: the same energies, shifted by thousands of eV per atom."""
    shift = {z: -1000.0 - 13.0 * z for z in small_dataset.elements}
    shifts = small_dataset.composition @ np.array(list(shift.values()))
    other = dataclasses.replace(
        small_dataset, energies=base.predict(small_dataset).energies + shifts
    )
    indices = np.arange(len(other))
    found = reference_energies_after(base, other, indices)
    trained = run(other, start=base, reference_energies=found, training=STILL)
    np.testing.assert_allclose(trained.predict(other).energies, other.energies, atol=1e-4)


def test_given_reference_energies_are_where_the_fit_begins(
    small_dataset: Dataset, base: TrainedModel
) -> None:
    """Compositions of one formula do not determine element energies; given ones do."""
    formula = small_dataset.formulas[0]
    one = small_dataset.subset(small_dataset.formulas == formula)
    given = {z: -500.0 * z for z in one.elements}
    one = dataclasses.replace(one, reference_energies=given)
    network = dataclasses.replace(base)
    expected = one.composition @ np.array([given[z] for z in one.elements])
    of_base = dict(zip(base.model.elements, base.model.reference_energies.tolist(), strict=True))
    bare = base.predict(one).energies - one.composition @ np.array(
        [of_base[z] for z in one.elements]
    )
    one = dataclasses.replace(one, energies=expected + bare + 0.5)
    found = reference_energies_after(network, one, np.arange(len(one)))
    assert sum(found[z] - given[z] for z in one.elements) != 0
    for z in one.elements:
        assert abs(found[z] - given[z]) < 0.5


def test_elements_may_be_some_of_those_of_the_start(
    small_dataset: Dataset, base: TrainedModel
) -> None:
    elements = base.model.elements
    assert len(elements) > 2
    kept = [elements[0], elements[-1]]
    energies = dict(zip(elements, base.model.reference_energies.tolist(), strict=True))
    smaller = HIPNN(MODEL, kept, [energies[z] for z in kept])
    load_start(smaller, base)
    pairs = torch.tensor([[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]])
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1.1, 0]])
    vectors = positions[pairs[1]] - positions[pairs[0]]
    small = smaller(torch.tensor([0, 1, 1]), pairs, vectors, 3)
    last = len(elements) - 1
    large = base.model(torch.tensor([0, last, last]), pairs, vectors, 3)
    torch.testing.assert_close(small, large)


def test_members_take_starts_in_turn_with_energies_of_their_own(small_dataset: Dataset) -> None:
    starts = Ensemble([run(small_dataset, seed=seed) for seed in (4, 5)])
    members = train_ensemble(
        small_dataset,
        MODEL,
        n_members=3,
        training=STILL,
        starts=starts,
        n_workers=1,
        progress=False,
    ).members
    assert [m.provenance["start"] for m in members] == [starts.members[k].sha256 for k in (0, 1, 0)]
    first, second, third = (member.model.reference_energies for member in members)
    assert torch.equal(first, third)
    assert not torch.equal(first, second)


def test_another_start_is_another_training(
    small_dataset: Dataset, base: TrainedModel, tmp_path: Path
) -> None:
    run(small_dataset, start=base, directory=tmp_path)
    with pytest.raises(CheckpointError, match="start"):
        run(small_dataset, start=run(small_dataset, seed=9), directory=tmp_path, resume=True)


def test_architectures_must_agree(small_dataset: Dataset, base: TrainedModel) -> None:
    other = MODEL.model_copy(update={"n_features": 7})
    with pytest.raises(ConfigError, match=r"n_features = 7, not 6.*same \[model\]"):
        run(small_dataset, start=base, model=other)


def test_elements_of_the_data_must_be_known(small_dataset: Dataset, base: TrainedModel) -> None:
    lacking = dataclasses.replace(base, model=HIPNN(MODEL, [1], [0.0]))
    with pytest.raises(StructureError, match="the network to start from supports H, but the data"):
        run(small_dataset, start=lacking)


def test_elements_that_are_not_trained_on_have_no_reference_energy(
    small_dataset: Dataset, base: TrainedModel
) -> None:
    """The same error as without a start, because a model must not claim to support them."""
    last = small_dataset.elements[-1]
    without = np.flatnonzero(small_dataset.composition[:, -1] == 0)
    assert len(without) > 0
    found = reference_energies_after(base, small_dataset, without)
    assert last not in found
    assert len(found) == len(small_dataset.elements) - 1
    given = dict.fromkeys(small_dataset.elements, -7.0)
    data = dataclasses.replace(small_dataset, reference_energies=given)
    assert reference_energies_after(base, data, without)[last] == -7.0


def test_reference_energies_that_were_corrected_do_not_count_as_given(
    small_dataset: Dataset, base: TrainedModel
) -> None:
    given = dict.fromkeys(small_dataset.elements, -7.0)
    data = dataclasses.replace(small_dataset, reference_energies=given)
    settings = {"model": MODEL, "n_members": 1, "training": STILL, "progress": False}
    (plain,) = train_ensemble(data, **settings).members
    assert plain.provenance["reference_energies"]["H"] == -7.0
    (started,) = train_ensemble(data, **settings, starts=Ensemble([base])).members
    assert "reference_energies" not in started.provenance
