"""The cell list against ASE, vesin and its specification."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import fields
from pathlib import Path

import ase.neighborlist
import numpy as np
import pytest
import torch
import vesin

from ekd import _native
from ekd.errors import StructureError
from ekd.neighbor_list import (
    NeighborList,
    TensorNeighborList,
    VerletList,
    batched_neighbor_list,
    neighbor_list,
)
from neighbor_checks import as_counter, assert_consistent, assert_equal, liquid
from tolerances import tolerance


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Positions (in and out of the cell), a triclinic cell, mixed pbc, a cutoff of any size."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(2, 14, 3)) + rng.normal(scale=1.5, size=(3, 3))
    positions = rng.uniform(-1, 2, (rng.integers(1, 60), 3)) @ cell
    return positions, cell, rng.integers(0, 2, 3).astype(bool), rng.uniform(2, 7)


def brute_force(
    positions: np.ndarray, cutoff: float, cell: np.ndarray, pbc: np.ndarray
) -> Counter[tuple[int, ...]]:
    """Pairs of all atoms with all images of all atoms, by definition."""
    n_images = np.zeros(3, dtype=int)
    if pbc.any():
        # The column norms of the pseudo-inverse are the inverse heights of the cell.
        inverse_heights = np.linalg.norm(np.linalg.pinv(cell[pbc]), axis=0)
        spread = np.ptp(positions @ np.linalg.pinv(cell[pbc]), axis=0)
        n_images[pbc] = np.ceil(cutoff * inverse_heights + spread).astype(int)
    pairs: list[np.ndarray] = []
    for shift in itertools.product(*(range(-n, n + 1) for n in n_images)):
        vectors = positions[None] - positions[:, None] + np.array(shift) @ cell
        i, j = np.nonzero((vectors**2).sum(-1) < cutoff**2)
        keep = (i != j) | np.any(shift)
        pairs.append(np.column_stack([i, j, np.tile(shift, (len(i), 1))])[keep])
    return Counter(map(tuple, np.concatenate(pairs).tolist()))


def rotation(seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]


@pytest.mark.parametrize("seed", range(40))
def test_equals_ase(seed: int) -> None:
    positions, cell, pbc, cutoff = random_case(seed)
    i, j, shifts = ase.neighborlist.primitive_neighbor_list("ijS", pbc, cell, positions, cutoff)
    found = neighbor_list(positions, cutoff, cell, pbc)
    assert as_counter(found.pairs, found.cell_shifts) == as_counter(np.array([i, j]), shifts)
    assert_consistent(found, positions, cell)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("periodic", [False, True])
def test_equals_vesin(seed: int, periodic: bool) -> None:
    positions, cell, _, cutoff = random_case(100 + seed)
    i, j, shifts = vesin.NeighborList(cutoff=cutoff, full_list=True).compute(
        points=positions, box=cell, periodic=periodic, quantities="ijS"
    )
    found = neighbor_list(positions, cutoff, cell, periodic)
    expected = as_counter(np.array([i, j]).astype(np.int64), shifts)
    assert as_counter(found.pairs, found.cell_shifts) == expected


EXTREME = {
    "rod along the diagonal of space": np.diag([60.0, 3.0, 3.0]) @ rotation(0),
    "plate": np.diag([1.5, 20.0, 20.0]) @ rotation(1),
    "needle of a cell": np.array([[30.0, 0.0, 0.0], [28.0, 3.0, 0.0], [1.0, 2.0, 5.0]])
    @ rotation(2),
    "left-handed": np.diag([6.0, -7.0, 8.0]),
}


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("pbc", [(True, True, True), (False, True, True), (True, False, False)])
def test_equals_brute_force_in_extreme_cells(name: str, pbc: tuple[bool, bool, bool]) -> None:
    cell = EXTREME[name]
    positions = np.random.default_rng(3).uniform(-0.5, 1.5, (70, 3)) @ cell
    found = neighbor_list(positions, 4.0, cell, pbc)
    expected = brute_force(positions, 4.0, cell, np.array(pbc))
    assert as_counter(found.pairs, found.cell_shifts) == expected
    assert_consistent(found, positions, cell)


@pytest.mark.parametrize("cutoff", [1.0, 3.0, 9.0])
@pytest.mark.parametrize("box", [15.0, 60.0, 500.0])
@pytest.mark.parametrize("periodic", [False, True])
def test_equals_brute_force_from_liquid_to_gas(cutoff: float, box: float, periodic: bool) -> None:
    """The systems range from crowded bins to a gas so dilute that bins must repeat."""
    rng = np.random.default_rng(5)
    positions = rng.uniform(0, box, (150, 3))
    positions = np.concatenate([positions, positions + rng.uniform(0.3, 0.9, positions.shape)])
    cell = box * np.eye(3)
    found = neighbor_list(positions, cutoff, cell, periodic)
    expected = brute_force(positions, cutoff, cell, np.full(3, periodic))
    assert as_counter(found.pairs, found.cell_shifts) == expected
    assert_consistent(found, positions, cell)


def test_a_droplet_and_a_molecule_far_from_it() -> None:
    positions, _ = liquid(9)
    far = np.array([[1e7, -2e5, 3.0], [1e7, -2e5, 4.0]])
    both = np.concatenate([positions, far])
    found = neighbor_list(both, 4.0)
    droplet = neighbor_list(positions, 4.0)
    expected = as_counter(droplet.pairs, droplet.cell_shifts)
    expected += Counter([(729, 730, 0, 0, 0), (730, 729, 0, 0, 0)])
    assert as_counter(found.pairs, found.cell_shifts) == expected


def test_does_not_depend_on_threads() -> None:
    positions, cell = liquid(13)
    lists = [neighbor_list(positions, 5.0, cell, True, n_threads=n) for n in (1, 2, 3)]
    assert lists[0].pairs.shape[1] > 50_000
    assert_equal(lists[0], lists[1])
    assert_equal(lists[0], lists[2])


def test_batch_does_not_depend_on_threads() -> None:
    sizes = np.random.default_rng(0).integers(1, 40, 200)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    positions = np.random.default_rng(1).uniform(0, 8, (offsets[-1], 3))
    lists = [batched_neighbor_list(positions, offsets, 4.0, n_threads=n) for n in (1, 2, 3)]
    assert_equal(lists[0], lists[1])
    assert_equal(lists[0], lists[2])
    np.testing.assert_array_equal(lists[0].center_offsets[offsets], lists[0].pair_offsets)


def test_errors_do_not_depend_on_threads() -> None:
    """If atoms overlap several times, the same pair is always reported."""
    positions, _ = liquid(13)
    positions[[50, 800, 1500]] = positions[[60, 900, 1600]] + 1e-5
    messages = set()
    for n_threads in (1, 2, 3, 3, 3):
        with pytest.raises(StructureError, match="on top of each other") as error:
            neighbor_list(positions, 5.0, n_threads=n_threads)
        messages.add(str(error.value))
    assert len(messages) == 1


@pytest.mark.parametrize("instruction_set", ["avx2", "portable"])
def test_does_not_depend_on_the_instruction_set(tmp_path: Path, instruction_set: str) -> None:
    """Kernels for older processors give the same results as the one for this processor."""
    positions, cell = liquid(9)
    np.savez(tmp_path / "structure.npz", positions=positions, cell=cell)
    script = (
        "import sys, numpy as np; from ekd.neighbor_list import neighbor_list\n"
        "structure = np.load(sys.argv[1])\n"
        "found = neighbor_list(structure['positions'], 5.0, structure['cell'], True)\n"
        "np.savez(sys.argv[2], **vars(found))\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "structure.npz", tmp_path / "found.npz"],
        env={**os.environ, "EKD_SIMD": instruction_set},
        check=True,
    )
    with np.load(tmp_path / "found.npz") as found:
        assert_equal(NeighborList(**found), neighbor_list(positions, 5.0, cell, True))


def test_cell_smaller_than_cutoff_sees_every_image() -> None:
    """A simple cubic lattice of spacing 1: 6 + 12 + 8 + 6 neighbors within 2.1."""
    found = neighbor_list([[0.0, 0.0, 0.0]], 2.1, np.eye(3), True)
    assert found.pairs.shape == (2, 32)
    assert (found.pairs == 0).all()
    np.testing.assert_array_equal(found.pair_vectors, found.cell_shifts)


def test_open_directions_ignore_the_cell() -> None:
    """A slab without a cell vector in the open direction, and one with an unused vector."""
    positions = np.random.default_rng(0).uniform(0, 5, (30, 3))
    cell = np.diag([5.0, 5.0, 0.0])
    without = neighbor_list(positions, 3.0, cell, [True, True, False])
    cell[2] = [5.0, 0.0, 0.0]  # parallel to the first
    with_vector = neighbor_list(positions, 3.0, cell, [True, True, False])
    assert as_counter(without.pairs, without.cell_shifts) == as_counter(
        with_vector.pairs, with_vector.cell_shifts
    )
    assert (without.cell_shifts[:, 2] == 0).all()


def test_batch_equals_single_structures() -> None:
    cases = [random_case(seed) for seed in range(8)]
    cutoff = 4.0
    offsets = np.cumsum([0] + [len(case[0]) for case in cases])
    batch = batched_neighbor_list(
        np.concatenate([case[0] for case in cases]),
        offsets,
        cutoff,
        np.array([case[1] for case in cases]),
        np.array([case[2] for case in cases]),
    )
    for s, (positions, cell, pbc, _) in enumerate(cases):
        single = neighbor_list(positions, cutoff, cell, pbc)
        rows = slice(batch.pair_offsets[s], batch.pair_offsets[s + 1])
        np.testing.assert_array_equal(batch.pairs[:, rows] - offsets[s], single.pairs)
        np.testing.assert_array_equal(batch.cell_shifts[rows], single.cell_shifts)
        np.testing.assert_array_equal(batch.pair_vectors[rows], single.pair_vectors)


def test_cutoff_is_strict() -> None:
    positions = [[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
    assert neighbor_list(positions, 2.0).pairs.shape[1] == 0
    assert neighbor_list(positions, np.nextafter(2.0, 3.0)).pairs.shape[1] == 2


def test_a_sparse_gas_needs_little_memory_and_time() -> None:
    """The number of bins is limited by atoms, not volume: two molecules a meter apart work."""
    positions = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1e10, 1e10, 1e10]])
    start = time.perf_counter()
    assert neighbor_list(positions, 3.0).pairs.shape[1] == 2
    assert time.perf_counter() - start < 5.0  # a grid over the volume would never end


def test_arrays_own_what_the_core_has_allocated() -> None:
    """Results are not copied, and their memory exists as long as any of the arrays."""
    found = neighbor_list(np.random.default_rng(1).uniform(0, 6, (50, 3)), 3.0)
    for field in fields(NeighborList):
        array = getattr(found, field.name)
        assert type(array.base).__name__ == "PyCapsule"
        assert array.flags.c_contiguous
        assert array.flags.writeable
    pairs, expected = found.pairs, found.pairs.copy()
    del found
    for seed in range(5):
        neighbor_list(np.random.default_rng(seed).uniform(0, 6, (50, 3)), 3.0)
    np.testing.assert_array_equal(pairs, expected)


def test_memory_of_large_lists_is_used_again_and_bounded() -> None:
    positions, cell = liquid(20)

    def address(found: NeighborList) -> int:
        return int(found.pair_vectors.__array_interface__["data"][0])

    first = address(neighbor_list(positions, 6.0, cell, True))
    gc.collect()
    found = neighbor_list(positions, 6.0, cell, True)
    assert address(found) == first
    assert address(neighbor_list(positions, 6.0, cell, True)) != first  # the other is still in use
    several = [neighbor_list(positions, 6.0, cell, True) for _ in range(8)]
    arrays = [getattr(each, field.name) for each in several for field in fields(NeighborList)]
    assert sum(array.nbytes for array in arrays) > 2**28
    del arrays, several, found
    assert 0 < _native.core().kept_bytes() <= 2**28


def test_tensors_in_tensors_out() -> None:
    positions, cell, pbc, cutoff = random_case(7)
    expected = neighbor_list(positions, cutoff, cell, pbc)
    found = neighbor_list(
        torch.from_numpy(positions), cutoff, torch.from_numpy(cell), torch.from_numpy(pbc)
    )
    assert isinstance(found, TensorNeighborList)
    for field in fields(NeighborList):
        tensor = getattr(found, field.name)
        torch.testing.assert_close(
            tensor, torch.from_numpy(getattr(expected, field.name)), rtol=0, atol=0
        )
    single = neighbor_list(torch.from_numpy(positions).float(), cutoff, cell, pbc)
    assert single.pair_vectors.dtype == torch.float32
    batch = batched_neighbor_list(
        torch.from_numpy(positions), torch.tensor([0, len(positions)]), cutoff
    )
    assert isinstance(batch.pair_offsets, torch.Tensor)
    verlet = VerletList(cutoff).update(torch.from_numpy(positions))
    assert verlet.pairs.shape == batch.pairs.shape


def test_contiguous_input_is_not_copied() -> None:
    """Invalid arrays and tensors are refused, because C++ reads their memory."""
    from ekd.neighbor_list import Structures

    array, cell = np.zeros((4, 3)), np.eye(3)
    assert Structures.single(array, cell, True).positions is array
    assert np.shares_memory(Structures.single(array, cell, True).cells, cell)
    tensor = torch.zeros((4, 3), dtype=torch.float64)
    assert Structures.single(tensor, None, False).positions.ctypes.data == tensor.data_ptr()


@pytest.mark.parametrize("batched", [False, True])
def test_vectors_of_tensors_are_differentiable(batched: bool) -> None:
    cases = [random_case(seed) for seed in ((11, 12) if batched else (11,))]
    offsets = np.cumsum([0] + [len(case[0]) for case in cases])
    positions = torch.from_numpy(np.concatenate([case[0] for case in cases])).requires_grad_()
    cells = torch.from_numpy(np.array([case[1] for case in cases])).requires_grad_()

    def vectors(positions: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        if batched:
            found = batched_neighbor_list(
                positions, offsets, 3.5, cells, np.array([case[2] for case in cases])
            )
        else:
            found = neighbor_list(positions, 3.5, cells[0], cases[0][2])
        return found.pair_vectors

    plain = vectors(positions.detach(), cells.detach())
    assert not plain.requires_grad
    torch.testing.assert_close(vectors(positions, cells), plain, **tolerance("symmetry").bounds)
    assert torch.autograd.gradcheck(vectors, (positions, cells))


OVERLAP = [[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [5.0, 0.0, 1e-5]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positions": np.zeros((0, 3))}, "no atoms"),
        ({"positions": OVERLAP}, "atoms 1 and 2 are 1e-05 Å apart"),
        (
            {"positions": [[0.0, 0, 0], [3.0, 0, 0]], "cell": 3 * np.eye(3), "pbc": True},
            "atoms 0 and 1 are 0 Å apart",
        ),
        ({"positions": [[np.nan, 0, 0]]}, "position of atom 0 is not finite"),
        ({"positions": [[0.0, 0, 0]], "pbc": True}, "direction 0 is periodic but has no cell"),
        (
            {"positions": [[0.0, 0, 0]], "cell": np.ones((3, 3)), "pbc": True},
            "linearly dependent",
        ),
        ({"positions": [[0.0, 0, 0]], "cell": np.eye(2)}, "cells have shape"),
        ({"positions": [[0.0, 0]]}, r"positions have shape \(1, 2\)"),
        ({"positions": [[0.0, 0, 0]], "cutoff": -1.0}, "cutoff is -1"),
        ({"positions": [[0.0, 0, 0]], "pbc": [True, False]}, r"pbc has shape \(2,\)"),
        ({"positions": [[0.0, 0, 0]], "n_threads": 0}, "n_threads is 0"),
        (
            {"positions": [[0.0, 0, 1e10]], "cell": np.eye(3), "pbc": True},
            "atom 0 is more than 1e9 cells away",
        ),
        (
            {"positions": [[0.0, 0, 0]], "cell": 1e-3 * np.eye(3), "pbc": True},
            "reaches about 2.*e\\+11 periodic images of the 1 atoms",
        ),
    ],
)
def test_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(StructureError, match=message):
        neighbor_list(**{"cutoff": 3.0, **arguments})  # type: ignore[arg-type]


def test_refuses_naming_the_structure_of_a_batch() -> None:
    positions = np.array([[0.0, 0, 0], *OVERLAP])
    with pytest.raises(StructureError, match="atoms 1 and 2 of structure 1 are"):
        batched_neighbor_list(positions, [0, 1, 4], 3.0)
    with pytest.raises(StructureError, match="no atoms of structure 1"):
        batched_neighbor_list(positions[:1], [0, 1, 1], 3.0)
    with pytest.raises(StructureError, match="offsets run from"):
        batched_neighbor_list(positions, [0, 1], 3.0)
    with pytest.raises(StructureError, match="offset 1 comes after a larger one"):
        batched_neighbor_list(positions, [0, 90, 1, 4], 3.0)
