"""Many structures in one call: results do not depend on the other structures."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

import systems
from ekd.errors import EKDError, StructureError
from ekd.inference import BatchResults, ExportedModel, Results
from models import random_committee, random_model, without_weights
from tolerances import tolerance


def structures() -> list[Atoms]:
    """Non-periodic and periodic structures of many sizes and elements; one atom, no pairs."""
    slab = systems.water_box(2)
    slab.pbc = [True, True, False]
    return [
        systems.methanol(),
        systems.triclinic_crystal(),
        Atoms("O"),
        systems.water_box(3),
        systems.tiny_cell(),
        Atoms("OH", positions=[[0, 0, 0], [0, 0, 9.0]]),
        slab,
        Atoms("N", cell=[3.0, 3.0, 3.0], pbc=True),
        *(systems.water(seed) for seed in range(20)),
    ]


def alone(model: ExportedModel, atoms: Atoms) -> Results:
    return model.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)


def assert_same(
    found: Results,
    expected: Results,
    compare: Callable[[object, object], None] = np.testing.assert_array_equal,
) -> None:
    for field in fields(Results):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert type(one) is type(other)
        if one is not None:
            compare(one, other)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("max_atoms", [None, 1, 7, 40, 10**6])
@pytest.mark.parametrize(
    ("dtype", "n_members", "settings"),
    [
        ("float32", 1, {"n_interactions": 1, "zbl": True}),
        ("float64", 1, {"n_interactions": 3, "l_max": 2}),
        ("float32", 3, {"n_interactions": 2, "n_features": 20}),
    ],
    ids=["one interaction", "three interactions", "committee"],
)
def test_equals_single_calls_bit_by_bit(
    tmp_path: Path,
    dtype: str,
    n_members: int,
    settings: dict[str, object],
    max_atoms: int | None,
    n_threads: int,
) -> None:
    path = tmp_path / "model.pt"
    if n_members > 1:
        random_committee(path, n_members, dtype, n_hidden=5, **settings)
    else:
        random_model(path, dtype, n_hidden=5, **settings)
    model = ExportedModel(path)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        found = model.evaluate_batch(structures(), max_atoms=max_atoms)
        expected = [alone(model, atoms) for atoms in structures()]
    finally:
        torch.set_num_threads(before)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("instruction_set", ["avx512", "avx2", "portable"])
def test_bit_by_bit_on_every_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instruction_set: str
) -> None:
    monkeypatch.setenv("EKD_SIMD", instruction_set)
    model = ExportedModel(
        random_model(tmp_path / "model.pt", "float32", n_interactions=2, n_features=33)
    )
    for one, atoms in zip(model.evaluate_batch(structures()), structures(), strict=True):
        assert_same(one, alone(model, atoms))


def test_large_structures_beside_small_ones(tmp_path: Path) -> None:
    """Forces are summed in several parts for large structures, and in one for small ones."""
    model = ExportedModel(random_model(tmp_path / "model.pt", cutoff=5.5, soft_max=5.0))
    mixed = [systems.water(), systems.water_box(9), systems.water(1), systems.water_box(9, seed=1)]
    assert 70 * len(mixed[1]) > 2 * 65536  # pairs
    for one, atoms in zip(model.evaluate_batch(mixed, 10**6), mixed, strict=True):
        assert_same(one, alone(model, atoms))


def test_torchscript_equals_single_calls(tmp_path: Path) -> None:
    random_model(tmp_path / "model.pt", n_interactions=2, n_hidden=5)
    model = ExportedModel(without_weights(tmp_path / "model.pt", tmp_path / "script.pt"))
    bounds = tolerance("runtime").bounds
    for one, atoms in zip(model.evaluate_batch(structures()), structures(), strict=True):
        assert_same(
            one,
            alone(model, atoms),
            lambda a, b: np.testing.assert_allclose(a, b, **bounds),  # type: ignore[arg-type]
        )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    return ExportedModel(random_model(tmp_path_factory.mktemp("model") / "student.pt"))


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    path = tmp_path_factory.mktemp("model") / "committee.pt"
    random_committee(path, 3, n_hidden=5)
    return ExportedModel(path)


def test_shapes(committee: ExportedModel) -> None:
    found = committee.evaluate_batch(structures())
    sizes = [len(atoms) for atoms in structures()]
    n, n_atoms = len(sizes), sum(sizes)
    np.testing.assert_array_equal(np.diff(found.offsets), sizes)
    assert found.energies.shape == found.energies_std.shape == (n,)
    assert found.member_energies.shape == (n, 3)
    assert found.virials.shape == (n, 3, 3)
    assert found.forces.shape == (n_atoms, 3)
    for name in ("atomic_energies", "forces_std", "uncertainty"):
        assert getattr(found, name).shape == (n_atoms,)
    np.testing.assert_allclose(
        found.member_energies.mean(axis=1), found.energies, **tolerance("kernel").bounds
    )


def test_is_a_sequence(committee: ExportedModel) -> None:
    found = committee.evaluate_batch(structures())
    assert_same(found[-1], found[len(found) - 1])
    for one, other in zip(found[2:5], (found[2], found[3], found[4]), strict=True):
        assert_same(one, other)
    with pytest.raises(IndexError):
        found[len(found)]
    assert isinstance(found, BatchResults)


def test_forms_of_a_structure(model: ExportedModel) -> None:
    box, water = systems.water_box(2), systems.water()
    expected = [alone(model, box), alone(model, box), alone(model, water), alone(model, water)]
    given = (
        one
        for one in (
            box,
            (box.numbers.tolist(), box.positions.tolist(), box.cell.array, True),
            [water.numbers, water.positions],
            (water.numbers, torch.tensor(water.positions, requires_grad=True), None),
        )
    )
    for one, other in zip(model.evaluate_batch(given), expected, strict=True):
        assert_same(one, other)


def test_arrays_as_they_are(model: ExportedModel) -> None:
    waters = [systems.water(seed) for seed in range(3)]
    found = model.evaluate_arrays(
        np.concatenate([one.numbers for one in waters]),
        np.concatenate([one.positions for one in waters]),
        [0, 3, 6, 9],
    )
    for one, atoms in zip(found, waters, strict=True):
        assert_same(one, alone(model, atoms))


@pytest.mark.parametrize("name", ["model", "committee"])
def test_no_structures(name: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(name).evaluate_batch([])
    assert len(found) == 0
    assert list(found) == []
    assert found.forces.shape == (0, 3)
    assert found.virials.shape == (0, 3, 3)
    np.testing.assert_array_equal(found.offsets, [0])


def _flat_cell() -> Atoms:
    crystal = systems.triclinic_crystal()
    crystal.cell[2] = crystal.cell[1]
    return crystal


def _not_finite() -> Atoms:
    water = systems.water()
    water.positions[1, 0] = np.nan
    return water


@pytest.mark.parametrize("max_atoms", [None, 1])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Atoms("OSF"), r"structure 3 contains F, S, but the model '.*' supports only H, C, N, O;"),
        (Atoms("OH"), r"atoms 0 and 1 of structure 3 are 0 Å apart.*lie on top of each other"),
        (_flat_cell(), r"the cell vectors of structure 3 are linearly dependent"),
        (Atoms("O", pbc=True), r"direction 0 of structure 3 is periodic but has no cell vector"),
        (_not_finite(), r"the position of atom 1 of structure 3 is not finite"),
        (Atoms(), r"no atoms of structure 3; a structure needs at least one atom"),
        ("H2O", r"structure 3 is a str; give ase\.Atoms, or a tuple"),
        (([8],), r"structure 3 is a tuple of 1; give ase\.Atoms, or a tuple"),
        ((["O"], [[0, 0, 0]]), r"structure 3 has an array that does not contain numbers .*'O'"),
        (([[8]], [[0, 0, 0]]), r"atomic_numbers of structure 3: found shape \(1, 1\), expected"),
        (([8], [[0, 0]]), r"positions of structure 3: found shape \(1, 2\), expected \(1, 3\)"),
        (([8, 1], [[0, 0, 0]]), r"positions of .* 3: found shape \(1, 3\), expected \(2, 3\)"),
        (([8], [[0, 0, 0]], [5, 5, 5]), r"cell of structure 3: found shape \(3,\), expected"),
        (([8], [[0, 0, 0]], None, [1, 0]), r"pbc of structure 3: found shape \(2,\), expected"),
    ],
)
def test_a_structure_that_is_wrong_is_named(
    model: ExportedModel, wrong: Atoms, message: str, max_atoms: int | None
) -> None:
    good = [systems.water(), systems.methanol(), systems.water_box(2)]
    with pytest.raises(StructureError, match=message):
        model.evaluate_batch([*good, wrong, *good], max_atoms=max_atoms)
    for one, atoms in zip(
        model.evaluate_batch(good), good, strict=True
    ):  # independent of the failure
        assert_same(one, alone(model, atoms))


def test_a_batch_of_one_is_numbered_too(model: ExportedModel) -> None:
    with pytest.raises(StructureError, match="atoms 0 and 1 of structure 0 are 0 Å apart"):
        model.evaluate_batch([Atoms("OH")])


class StopError(Exception):
    pass


def test_can_be_interrupted(model: ExportedModel) -> None:
    """Signal handlers run between two evaluations, not only after the last one."""
    water, n = systems.water(), 30_000
    given = (
        np.tile(water.numbers, n),
        np.tile(water.positions, (n, 1)),
        3 * np.arange(n + 1),
    )
    calls = 0

    def handler(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 20:  # more calls than occur before and after the evaluations in C++
            raise StopError

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    try:
        with pytest.raises(StopError):
            model.evaluate_arrays(*given, max_atoms=3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert_same(model.evaluate_batch([water])[0], alone(model, water))


def test_arguments_that_are_wrong(model: ExportedModel) -> None:
    with pytest.raises(StructureError, match="found one structure, Atoms, expected several"):
        model.evaluate_batch(systems.water())
    with pytest.raises(EKDError, match="max_atoms is 0; give the number of atoms"):
        model.evaluate_batch([systems.water()], max_atoms=0)
    with pytest.raises(StructureError, match=r"atomic_numbers have shape \(1,\), expected \(2\)"):
        model.evaluate_arrays([8], np.zeros((2, 3)), [0, 1, 2])
    with pytest.raises(StructureError, match="no atoms; a structure needs at least one atom"):
        model.evaluate_arrays([], np.zeros((0, 3)), [0, 0])
    with pytest.raises(StructureError, match="offsets run from"):
        model.evaluate_arrays([8], np.zeros((1, 3)), [0, 2])
