"""Atoms closer than in the training data: metadata of files, and reported pairs."""

from __future__ import annotations

import copy
import json
import math
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import systems
from ekd.calculator import EKDCalculator
from ekd.errors import ExtrapolationWarning, ModelFileError
from ekd.export import export_model
from ekd.inference import ClosePair, ExportedModel, read_metadata, training_pairs
from ekd.neighbor_list import neighbor_list
from models import closest_pairs, random_model, random_network, rewritten

CLOSEST = {"H-O": 0.97, "H-H": 1.2, "H-C": 1.0, "C-O": 1.1}
SYMBOLS = ["H", "C", "N", "O"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("model") / "student.pt", closest=CLOSEST)


def brute_force(atoms: Atoms) -> dict[tuple[str, str], float]:
    """Shortest distance for each pair of elements that is too close."""
    pairs = neighbor_list(atoms.positions, 4.0, atoms.cell.array, atoms.pbc)
    found: dict[tuple[str, str], float] = {}
    for i, j, r in zip(*pairs.pairs, np.linalg.norm(pairs.pair_vectors, axis=1), strict=True):
        elements = tuple(sorted((atoms.symbols[i], atoms.symbols[j]), key=SYMBOLS.index))
        if r < CLOSEST.get("-".join(elements), math.inf):
            found[elements] = min(r, found.get(elements, math.inf))  # type: ignore[index,arg-type]
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("n_atoms", [3, 24, 81, 1029])
def test_closest_pair_of_each_two_elements(model: Path, n_atoms: int) -> None:
    boxes = {3: systems.water(), 24: systems.water_box(2), 81: systems.water_box(3)}
    # Larger than the part that a thread processes at a time.
    atoms = boxes.get(n_atoms) or systems.water_box(7)
    assert len(atoms) == n_atoms
    found = ExportedModel(model).evaluate(
        atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
    )
    expected = brute_force(atoms)
    assert {pair.elements for pair in found.close_pairs} == set(expected)
    assert len(expected) > 0
    for pair in found.close_pairs:
        assert pair.distance == pytest.approx(expected[pair.elements], rel=1e-12)
        i, j = pair.atoms
        assert (atoms.symbols[i], atoms.symbols[j]) == pair.elements
        if i != j:
            assert atoms.get_distance(i, j, mic=True) == pytest.approx(pair.distance, rel=1e-9)
        known = CLOSEST.get("-".join(pair.elements), math.inf)
        assert pair.training_distance == known


def test_what_is_far_enough_is_not_told(model: Path) -> None:
    apart = Atoms("OHH", positions=[[0, 0, 0], [0.98, 0, 0], [0, 1.5, 0]])
    assert ExportedModel(model).evaluate(apart.numbers, apart.positions).close_pairs == ()
    near = Atoms("OHH", positions=[[0, 0, 0], [0.96, 0, 0], [0, 1.5, 0]])
    (pair,) = ExportedModel(model).evaluate(near.numbers, near.positions).close_pairs
    assert pair == ClosePair(("H", "O"), (1, 0), pytest.approx(0.96), 0.97)  # type: ignore[arg-type]


def test_a_file_that_does_not_tell(tmp_path: Path) -> None:
    model = random_model(tmp_path / "silent.pt")
    assert training_pairs(read_metadata(model)) == []
    atoms = Atoms("OO", positions=[[0, 0, 0], [0.1, 0, 0]])
    assert ExportedModel(model).evaluate(atoms.numbers, atoms.positions).close_pairs == ()


def test_of_several_students_the_largest_distance_counts(tmp_path: Path) -> None:
    networks, configs = zip(*(random_network(seed=k) for k in range(3)), strict=True)
    told = [
        {"H-O": 0.9, "H-H": 1.0, "C-C": 1.2},
        {"H-O": 0.8, "H-H": 1.1},
        {"H-O": 0.7, "H-H": 0.6, "C-C": 1.2},
    ]
    provenance = [{"closest_pairs": closest_pairs(closest)} for closest in told]
    path = tmp_path / "committee.pt"
    export_model(networks, path, config=configs[0], provenance=provenance)
    found = {"-".join(pair.elements): pair for pair in training_pairs(read_metadata(path))}
    assert len(found) == 10
    assert (found["H-O"].distance, found["H-O"].n_pairs) == (0.9, 10)
    assert found["H-H"].distance == 1.1
    assert (found["C-C"].distance, found["C-C"].n_pairs) == (math.inf, 0)
    atoms = Atoms("OH", positions=[[0, 0, 0], [0.85, 0, 0]])
    (pair,) = ExportedModel(path).evaluate(atoms.numbers, atoms.positions).close_pairs
    assert pair.training_distance == 0.9
    # If one entry is missing, nothing is known.
    provenance[1] = {}
    export_model(networks, path, config=configs[0], provenance=provenance)
    assert training_pairs(read_metadata(path)) == []
    assert ExportedModel(path).evaluate(atoms.numbers, atoms.positions).close_pairs == ()


# ---- damaged files --------------------------------------------------------------------------


def _changes() -> Iterator[tuple[Callable[[list[dict[str, object]]], object], str]]:
    yield (lambda pairs: pairs.pop()), "lacks a pair of elements"
    yield (lambda pairs: pairs.append(pairs[0])), "has a pair of elements twice"
    yield (lambda pairs: pairs[0].update(elements=["H", "Xe"])), "not of two elements of the model"
    yield (lambda pairs: pairs[0].update(elements=["H"])), "not of two elements of the model"
    yield (lambda pairs: pairs[0].update(distance=5.0)), "not within the cutoff"
    yield (lambda pairs: pairs[0].update(distance=-1.0)), "not within the cutoff"
    yield (lambda pairs: pairs[0].update(n_pairs=0)), "given for zero pairs"
    yield (lambda pairs: pairs[0].update(distance=None)), "cannot be read"
    yield (lambda pairs: pairs[0].pop("n_pairs")), "cannot be read"
    yield (lambda pairs: pairs.insert(0, 3)), "cannot be read"  # type: ignore[arg-type]


@pytest.mark.parametrize(("change", "message"), list(_changes()))
def test_damaged(
    model: Path, tmp_path: Path, change: Callable[[list[dict[str, object]]], object], message: str
) -> None:
    def edit(name: str, content: bytes) -> bytes:
        if name != "extra/ekd_metadata.json":
            return content
        metadata = json.loads(content)
        (pair,) = [p for p in metadata["provenance"][0]["closest_pairs"] if p["distance"] == 1.2]
        pairs = metadata["provenance"][0]["closest_pairs"]
        pairs.remove(pair)
        pairs.insert(0, pair)
        change(pairs)
        return json.dumps(metadata).encode()

    with pytest.raises(ModelFileError, match=message) as refusal:
        read_metadata(rewritten(model, tmp_path / "damaged.pt", edit))
    assert "'closest_pairs' in the provenance" in str(refusal.value)
    assert "export the model again" in str(refusal.value)


# ---- calculator -----------------------------------------------------------------------------


def test_calculator_warns_once_for_each_two_elements(model: Path) -> None:
    atoms = Atoms("OHH", positions=[[0, 0, 0], [0.96, 0, 0], [0, 1.5, 0]])
    atoms.calc = EKDCalculator(model)
    with pytest.warns(ExtrapolationWarning) as caught:
        atoms.get_forces()
    (warning,) = caught
    assert "atoms 1 (H) and 0 (O) are 0.96 Å apart" in str(warning.message)
    assert "has none closer than 0.97 Å" in str(warning.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (0.95, 0.9, 2.0, 0.8):
            atoms.positions[1, 0] = x
            atoms.get_forces()
    # Other pairs are reported.
    atoms.positions[2] = [1.0, 0.3, 0]
    with pytest.warns(ExtrapolationWarning, match=r"\(H\) and 2 \(H\) are 0\.\d+ Å apart"):
        atoms.get_forces()
    two = Atoms("OO", positions=[[0, 0, 0], [3.0, 0, 0]])
    two.calc = atoms.calc
    with pytest.warns(ExtrapolationWarning, match="has no such pair within the cutoff"):
        two.get_forces()


def test_copies_of_a_calculator_warn_of_their_own(model: Path) -> None:
    atoms = Atoms("OH", positions=[[0, 0, 0], [0.9, 0, 0]])
    calculator = EKDCalculator(model)
    for of_its_own in (copy.deepcopy(calculator), pickle.loads(pickle.dumps(calculator))):
        atoms.calc = of_its_own
        with pytest.warns(ExtrapolationWarning):
            atoms.get_forces()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent = Atoms("OH", positions=[[0, 0, 0], [1.0, 0, 0]])
        silent.calc = EKDCalculator(model)
        silent.get_forces()
