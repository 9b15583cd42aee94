"""Copies and pickles of exported models, with the settings of the original."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import systems
from ekd.errors import EKDError, ModelFileError, StructureError
from ekd.files import sha256
from ekd.inference import ExportedModel
from models import random_model


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("model") / "student.pt")


def settings(model: ExportedModel) -> tuple[object, ...]:
    return (
        model.location,
        model.path,
        model.sha256,
        model.device,
        model.block,
        model.neighbors.skin,
    )


@pytest.mark.parametrize("in_memory", [False, True], ids=["file", "content"])
def test_copies_have_the_same_settings_and_results(student: Path, in_memory: bool) -> None:
    model = ExportedModel(student, block=3, skin=0.25)
    if in_memory:
        model = ExportedModel.from_content(student.read_bytes(), "a name", block=3, skin=0.25)
        assert (model.path, model.location) == ("a name", None)
    assert (model.block, model.neighbors.skin, model.sha256) == (3, 0.25, sha256(student))
    water = systems.water()
    expected = model.evaluate(water.numbers, water.positions)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert settings(twin) == settings(model)
        found = twin.evaluate(water.numbers, water.positions)
        np.testing.assert_array_equal(found.forces, expected.forces)
        other = twin.with_settings(device="cpu", block=0, skin=1.0)
        assert settings(other) == (*settings(model)[:4], 0, 1.0)


def test_another_file_is_refused(student: Path, tmp_path: Path) -> None:
    ExportedModel(student, sha256=sha256(student))
    other = random_model(tmp_path / "student.pt", n_features=9)
    with pytest.raises(
        ModelFileError, match=f"is not the expected file: its SHA-256 is {sha256(other)}"
    ):
        ExportedModel(other, sha256=sha256(student))


def test_content_that_is_no_model() -> None:
    with pytest.raises(ModelFileError, match="'a name' is not an exported model"):
        ExportedModel.from_content(b"something", "a name")


def test_negative_block(student: Path) -> None:
    with pytest.raises(EKDError, match="block is -1; give the number of atoms"):
        ExportedModel(student, block=-1)


def test_threads_take_turns(tmp_path: Path) -> None:
    model = ExportedModel(random_model(tmp_path / "model.pt", n_interactions=2))
    structures = [systems.methanol(), systems.water_box(2)]
    expected = [model.evaluate(a.numbers, a.positions, a.cell.array, a.pbc) for a in structures]

    def repeat(k: int) -> bool:
        atoms = structures[k % 2]
        for _ in range(40):
            found = model.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
            if not np.array_equal(found.forces, expected[k % 2].forces):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(repeat, range(4)))


def test_a_wrong_shape_is_not_remembered(student: Path) -> None:
    model = ExportedModel(student)
    numbers, positions = np.array([8, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    with pytest.raises(StructureError, match=r"atomic_numbers have shape \(1, 2\), expected"):
        model.evaluate(numbers[None], positions)
    assert model.evaluate(numbers, positions).forces.shape == (2, 3)


def test_species_are_checked(student: Path) -> None:
    model = ExportedModel(student)
    with pytest.raises(StructureError, match="a species is not the index of an element"):
        model.neighbors.evaluate(
            model._runtime, np.array([50, 10**6]), [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
        )
