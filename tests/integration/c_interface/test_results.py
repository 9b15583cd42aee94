"""libekd: results equal those of Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import c_interface
import ekd
from c_interface import PREFIX, Program
from ekd.inference import ExportedModel
from ekd.neighbor_list import neighbor_list
from models import (
    ELEMENTS,
)
from structures import random_structure
from tolerances import tolerance

ROOT = Path(__file__).parents[3]
WATER = ([8, 1, 1], [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
CELL = [[7.1, 0.0, 0.0], [0.4, 6.3, 0.0], [-0.3, 0.9, 8.2]]

pytestmark = pytest.mark.skipif(
    PREFIX == ROOT / "python" / "ekd" and not (PREFIX / "include" / "ekd.h").exists(),
    reason="of a source directory that nothing was installed to",
)


def test_version(several: Path) -> None:
    assert Program(several).library.ekd_version().decode() == ekd.__version__


def test_description(local: Path, committee: Path) -> None:
    program = Program(local)
    found = program.describe()
    assert found.atomic_numbers[: found.n_elements] == ELEMENTS
    assert found.elements[: found.n_elements] == [b"H", b"C", b"N", b"O"]
    metadata = ExportedModel(local).metadata
    assert (found.cutoff, found.interaction_range) == (4.0, 4.0)
    assert (found.n_interactions, found.n_members) == (1, 1)
    assert (found.has_uncertainty, found.is_single) == (1, 0)
    assert json.loads(found.metadata_json)["created_utc"] == metadata.created_utc
    for k, number in enumerate(ELEMENTS):
        alone = ExportedModel(local).evaluate([number], [[0.0, 0.0, 0.0]]).energy
        assert found.free_atom_energies[k] == alone
    assert Program(committee).describe().n_members == 3
    assert Program(local, precision=1).describe().is_single == 1


@pytest.mark.parametrize("n_threads", [0, 2])
@pytest.mark.parametrize("name", ["local", "several", "committee"])
def test_equals_python(
    name: str,
    n_threads: int,
    request: pytest.FixtureRequest,
    crystal: tuple[np.ndarray, np.ndarray],
) -> None:
    path = request.getfixturevalue(name)
    expected = ExportedModel(path).evaluate(*crystal, CELL, pbc=True)
    wanted = c_interface.RESULTS[:4]
    if name == "committee":
        wanted += ("energy_std", "forces_std")
    if name != "several":
        wanted += ("uncertainty",)
    found = Program(path, n_threads=n_threads).evaluate(*crystal, CELL, wanted=wanted)
    for key in wanted:
        bounds = tolerance("runtime").bounds
        assert_allclose(found[key], getattr(expected, key), **bounds, err_msg=key)


def test_periodic_directions(several: Path, crystal: tuple[np.ndarray, np.ndarray]) -> None:
    program, python = Program(several), ExportedModel(several)
    for pbc in ([1, 1, 1], [1, 0, 1], [0, 0, 0]):
        found = program.evaluate(*crystal, CELL, pbc)
        assert_allclose(found["energy"], python.evaluate(*crystal, CELL, pbc).energy, rtol=1e-13)
    with_all = program.evaluate(*crystal, CELL)["energy"]
    assert with_all == program.evaluate(*crystal, CELL, [1, 1, 1])["energy"]
    assert with_all != program.evaluate(*crystal)["energy"]


def test_nothing_has_to_be_wanted(several: Path) -> None:
    program = Program(several)
    assert program.evaluate(*WATER, wanted=()) == {}
    alone = program.evaluate(*WATER, wanted=("forces",))["forces"]
    assert_array_equal(alone, program.evaluate(*WATER)["forces"])


def test_precision_and_block(several: Path, crystal: tuple[np.ndarray, np.ndarray]) -> None:
    double = Program(several).evaluate(*crystal, CELL)["forces"]
    single = Program(several, precision=1).evaluate(*crystal, CELL)["forces"]
    assert 0 < np.abs(single - double).max() < 1e-4
    blocks = Program(several, block=3).evaluate(*crystal, CELL)["forces"]
    assert_allclose(blocks, double, **tolerance("runtime").bounds)


def test_a_skin_changes_nothing(several: Path, crystal: tuple[np.ndarray, np.ndarray]) -> None:
    numbers, positions = crystal
    kept, fresh = Program(several, skin=1.0), Program(several)
    rng = np.random.default_rng(3)
    for _ in range(6):
        positions = positions + rng.normal(scale=0.1, size=positions.shape)
        expected = fresh.evaluate(numbers, positions, CELL)
        found = kept.evaluate(numbers, positions, CELL)
        for key, values in expected.items():
            assert_allclose(found[key], values, **tolerance("runtime").bounds, err_msg=key)


def rows_of(positions: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets, neighbors and pair vectors of a periodic structure."""
    pairs = neighbor_list(positions, reach, CELL, pbc=True)
    offsets = np.searchsorted(pairs.pairs[0], np.arange(len(positions) + 1))
    return offsets, pairs.pairs[1], pairs.pair_vectors


@pytest.mark.parametrize("name", ["local", "several", "committee"])
@pytest.mark.parametrize("beyond", [0.0, 0.7])
def test_rows_without_ghosts(
    name: str, beyond: float, request: pytest.FixtureRequest, crystal: tuple[np.ndarray, np.ndarray]
) -> None:
    """Pairs beyond the cutoff have no effect."""
    program = Program(request.getfixturevalue(name), n_threads=2)
    wanted = c_interface.RESULTS[:4]
    if name == "committee":
        wanted += ("energy_std", "forces_std", "uncertainty")
    numbers, positions = crystal
    rows = rows_of(positions, 4.0 + beyond)
    found = program.evaluate_rows(numbers, *rows, wanted=(*wanted, "pair_gradients"))
    for key, values in program.evaluate(numbers, positions, CELL, wanted=wanted).items():
        assert_allclose(found[key], values, **tolerance("runtime").bounds, err_msg=key)
    offsets, neighbors, vectors = rows
    gradients = found["pair_gradients"]
    assert (gradients[np.linalg.norm(vectors, axis=1) >= 4.0] == 0).all()
    forces = np.zeros_like(positions)
    np.add.at(forces, np.repeat(np.arange(len(numbers)), np.diff(offsets)), gradients)
    np.add.at(forces, neighbors, -gradients)
    assert_allclose(forces, found["forces"], **tolerance("runtime").bounds)


@pytest.mark.parametrize("n_processes", [1, 2])
def test_rows_with_ghosts(
    local: Path, crystal: tuple[np.ndarray, np.ndarray], n_processes: int
) -> None:
    """As in an engine, images are separate atoms, and atoms are distributed over processes."""
    numbers, positions = crystal
    n = len(numbers)
    pairs = neighbor_list(positions, 4.5, CELL, pbc=True)
    program = Program(local)
    energies, forces, virial = np.zeros(n), np.zeros((n, 3)), np.zeros((3, 3))
    uncertainty = np.zeros(n)
    for process in range(n_processes):
        owned = np.arange(process, n, n_processes)
        local_of = {(int(i), 0, 0, 0): k for k, i in enumerate(owned)}
        offsets, neighbors, vectors = [0], [], []
        for i in owned:
            for p in np.flatnonzero(pairs.pairs[0] == i):
                image = (int(pairs.pairs[1][p]), *(int(shift) for shift in pairs.cell_shifts[p]))
                neighbors.append(local_of.setdefault(image, len(local_of)))
                vectors.append(pairs.pair_vectors[p])
            offsets.append(len(neighbors))
        owners = np.array([image[0] for image in local_of])
        found = program.evaluate_rows(
            numbers[owners],
            offsets,
            neighbors,
            vectors,
            wanted=(*c_interface.RESULTS[:4], "uncertainty"),
        )
        assert len(owners) > n
        energies[owned] = found["atomic_energies"]
        uncertainty[owned] = found["uncertainty"]
        np.add.at(forces, owners, found["forces"])
        virial += found["virial"]
    expected = program.evaluate(
        numbers, positions, CELL, wanted=("atomic_energies", "forces", "virial", "uncertainty")
    )
    bounds = tolerance("runtime").bounds
    assert_allclose(energies, expected["atomic_energies"], **bounds)
    assert_allclose(forces, expected["forces"], **bounds)
    assert_allclose(virial, expected["virial"], **bounds)
    assert_allclose(uncertainty, expected["uncertainty"], **bounds)


def test_a_process_without_atoms(local: Path, several: Path) -> None:
    for path in (local, several):
        found = Program(path).evaluate_rows([], [0], [], np.zeros((0, 3)))
        assert found["energy"] == 0
        assert (found["virial"] == 0).all()
    ghosts = Program(local).evaluate_rows([1, 8], [0], [], np.zeros((0, 3)))
    assert (ghosts["forces"] == 0).all()


def test_several_threads_share_a_model(several: Path) -> None:
    program = Program(several, n_threads=2)
    structures = [random_structure(9, seed) for seed in range(6)]
    numbers = np.resize(ELEMENTS, 9)
    expected = [program.evaluate(numbers, positions)["forces"] for positions in structures]
    found: dict[int, np.ndarray] = {}

    def evaluate(k: int) -> None:
        for _ in range(20):
            found[k] = program.evaluate(numbers, structures[k])["forces"]

    threads = [threading.Thread(target=evaluate, args=[k]) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, forces in enumerate(expected):
        assert_array_equal(found[k], forces)


def test_a_forked_child_computes(several: Path) -> None:
    program = Program(several, n_threads=2)
    positions = random_structure(100, 1, size=20.0)  # work for more than one thread
    numbers = np.resize(ELEMENTS, 100)
    expected = program.evaluate(numbers, positions)["energy"]
    child = os.fork()
    if child == 0:
        os._exit(0 if program.evaluate(numbers, positions)["energy"] == expected else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_library_that_was_closed_leaves_its_threads_alone(several: Path) -> None:
    """The library stays loaded; otherwise waiting threads would wake up in unmapped code."""
    code = (
        "import sys, _ctypes; sys.path.insert(0, sys.argv[2])\n"
        "import numpy as np; from c_interface import Program; import time\n"
        "p = Program(sys.argv[1], n_threads=2)\n"
        "p.evaluate(np.full(200, 1), np.arange(600.0).reshape(200, 3)); p.close()\n"
        "_ctypes.dlclose(p.library._handle); time.sleep(0.1)\n"
    )
    arguments = [sys.executable, "-c", code, several, ROOT / "tests"]
    assert subprocess.run(arguments, check=False).returncode == 0
