"""The Verlet list equals a new list, and is rebuilt when necessary."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Iterator

import numpy as np
import pytest

import ekd
from ekd.errors import StructureError
from ekd.neighbor_list import (
    VerletList,
    neighbor_list,
)
from neighbor_checks import as_counter, assert_consistent, assert_equal, liquid


def moving() -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """A liquid on a random walk in a cell that sometimes changes, and whether it has changed."""
    rng = np.random.default_rng(0)
    positions, cell = liquid(6)
    for step in range(40):
        strained = step % 13 == 12
        if strained:
            strain = np.eye(3) + rng.normal(scale=0.01, size=(3, 3))
            positions, cell = positions @ strain, cell @ strain
        else:
            positions = positions + rng.normal(scale=0.04, size=positions.shape)
        yield positions, cell, strained


@pytest.mark.parametrize("n_threads", [1, 3])
def test_verlet_list_is_the_fresh_list(n_threads: int) -> None:
    verlet = VerletList(4.0, skin=0.6, n_threads=n_threads)
    n_strained = 0
    for positions, cell, strained in moving():
        before = verlet.n_rebuilds
        found = verlet.update(positions, cell, True)
        fresh = neighbor_list(positions, 4.0, cell, True)
        assert as_counter(found.pairs, found.cell_shifts) == as_counter(
            fresh.pairs, fresh.cell_shifts
        )
        assert_consistent(found, positions, cell)
        np.testing.assert_array_equal(found.center_offsets, fresh.center_offsets)
        n_strained += strained
        assert verlet.n_rebuilds == before + 1 or not strained
    assert verlet.n_updates == 40
    assert n_strained + 1 < verlet.n_rebuilds < 20


def test_verlet_list_rebuilds_when_it_must() -> None:
    positions, cell = liquid(6)
    verlet = VerletList(4.0, skin=0.6)
    verlet.update(positions, cell, True)
    positions[17, 1] += 0.299
    verlet.update(positions, cell, True)
    assert verlet.n_rebuilds == 1
    positions[17, 1] += 0.002  # more than half of the skin from where it was
    verlet.update(positions, cell, True)
    assert verlet.n_rebuilds == 2
    positions[3] += cell[0]  # wrapped by an engine
    verlet.update(positions, cell, True)
    assert verlet.n_rebuilds == 3
    verlet.update(positions, cell, [True, True, False])
    verlet.update(positions)
    verlet.update(positions[1:])
    assert verlet.n_rebuilds == 6
    verlet.update(positions[1:])
    assert verlet.n_rebuilds == 6


def test_verlet_list_without_skin_is_the_fresh_list_in_its_order() -> None:
    verlet = VerletList(4.0, skin=0.0)
    positions, cell = liquid(5)
    for _ in range(3):
        assert_equal(
            verlet.update(positions, cell, True), neighbor_list(positions, 4.0, cell, True)
        )
    assert verlet.n_rebuilds == 3


def test_verlet_list_recovers_from_errors() -> None:
    positions, cell = liquid(6)
    verlet = ekd.VerletList(4.0)
    verlet.update(positions, cell, True)
    broken = positions.copy()
    broken[5] = np.nan
    with pytest.raises(StructureError, match="atom 5 is not finite"):
        verlet.update(broken, cell, True)
    broken[5] = positions[6]
    with pytest.raises(StructureError, match="on top of each other"):
        verlet.update(broken, cell, True)
    found = verlet.update(positions, cell, True)
    assert_consistent(found, positions, cell)
    # Displacements within the skin do not rebuild the list.
    close = [[0.0, 0.0, 0.0], [0.2, 0.0, 0.0]]
    verlet.update(close)
    close[1][0] = 1e-4
    with pytest.raises(StructureError, match=r"atoms 0 and 1 are 0.0001 Å apart"):
        verlet.update(close)


def test_verlet_list_keeps_the_memory_of_one_list() -> None:
    """Memory of freed lists is reused; returned lists do not change."""
    positions, cell = liquid(20)
    verlet = VerletList(6.0, skin=0.3)
    kept = verlet.update(positions, cell, True)
    expected = kept.pair_vectors.copy()
    addresses = set()
    for step in range(4):
        found = verlet.update(positions + 0.01 * step, cell, True)
        addresses.add(found.pair_vectors.ctypes.data)
        del found
    assert len(addresses) == 1
    assert kept.pair_vectors.ctypes.data not in addresses
    del verlet
    gc.collect()
    np.testing.assert_array_equal(kept.pair_vectors, expected)


def test_verlet_list_can_be_copied_and_pickled() -> None:
    verlet = VerletList(4.0, skin=0.7, n_threads=2)
    verlet.update(*liquid(4), True)
    for other in (copy.deepcopy(verlet), pickle.loads(pickle.dumps(verlet))):
        assert (other.cutoff, other.skin, other.n_threads) == (4.0, 0.7, 2)
        assert other.n_updates == other.n_rebuilds == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cutoff": np.nan}, "cutoff is nan"),
        ({"cutoff": 3.0, "skin": -0.1}, "skin is -0.1"),
        ({"cutoff": 3.0, "skin": np.inf}, "skin is inf"),
        ({"cutoff": 3.0, "n_threads": -2}, "n_threads is -2"),
    ],
)
def test_verlet_list_refuses(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(StructureError, match=message):
        VerletList(**arguments)  # type: ignore[arg-type]
