"""libekd: another project builds against the installed package, and errors have their codes."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import c_interface
import ekd
from c_interface import PREFIX, Failed, Options, Program, Results, Rows
from ekd.inference import ExportedModel
from ekd.neighbor_list import neighbor_list
from models import (
    ELEMENTS,
    other_format,
    random_committee,
    random_model,
    rewritten,
    with_other_class,
    without_weights,
)
from structures import random_structure
from tolerances import tolerance

ROOT = Path(__file__).parents[2]
WATER = ([8, 1, 1], [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
CELL = [[7.1, 0.0, 0.0], [0.4, 6.3, 0.0], [-0.3, 0.9, 8.2]]

pytestmark = pytest.mark.skipif(
    PREFIX == ROOT / "python" / "ekd" and not (PREFIX / "include" / "ekd.h").exists(),
    reason="of a source directory that nothing was installed to",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def local(folder: Path) -> Path:
    """One interaction, with all optional parts of a file."""
    return random_model(folder / "local.pt", n_interactions=1, n_hidden=4, zbl=True)


@pytest.fixture(scope="module")
def several(folder: Path) -> Path:
    """Two interactions, without optional parts."""
    return random_model(folder / "several.pt", n_interactions=2)


@pytest.fixture(scope="module")
def committee(folder: Path) -> Path:
    random_committee(folder / "committee.pt", n_interactions=2, n_hidden=4)
    return folder / "committee.pt"


@pytest.fixture(scope="module")
def crystal() -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers and positions of 14 atoms in a periodic cell."""
    positions = random_structure(14, seed=5, size=5.5)
    return np.resize(ELEMENTS, 14), positions


def failure(act: Callable[[], object]) -> Failed:
    with pytest.raises(Failed) as caught:
        act()
    return caught.value


# ---- the package and the example ---------------------------------------------------------------


def cmake(*arguments: str | Path) -> None:
    program = shutil.which(
        "cmake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    assert program is not None
    found = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.fixture(scope="module", params=["c in place", "c moved", "cpp moved"])
def water_program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, built against the package where it is, and against a copy elsewhere."""
    build = tmp_path_factory.mktemp("build")
    prefix = PREFIX
    language, place = request.param.split(" ", 1)
    if place == "moved":
        prefix = tmp_path_factory.mktemp("moved")
        shutil.copytree(PREFIX / "include", prefix / "include")
        shutil.copytree(PREFIX / "lib" / "cmake", prefix / "lib" / "cmake")
        shutil.copy(PREFIX / "lib" / "libekd.so", prefix / "lib")
    cmake("-S", ROOT / "examples" / language, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    cmake("--build", build)
    return build / "water"


def test_the_example_prints_what_python_finds(water_program: Path, several: Path) -> None:
    printed = subprocess.run([water_program, several], capture_output=True, text=True, check=True)
    lines = printed.stdout.splitlines()
    expected = ExportedModel(several).evaluate(*WATER)
    assert_allclose(float(lines[0].split()[1]), expected.energy, rtol=1e-12)
    forces = [[float(word) for word in line.split(":")[1].split()[:3]] for line in lines[1:]]
    assert_allclose(forces, expected.forces, **tolerance("runtime").bounds)


def test_the_example_tells_errors(water_program: Path, tmp_path: Path) -> None:
    printed = subprocess.run(
        [water_program, tmp_path / "nothing.pt"], capture_output=True, text=True, check=False
    )
    assert printed.returncode == 1
    assert "cannot be opened" in printed.stderr


def test_another_version_is_not_taken(tmp_path: Path) -> None:
    source = tmp_path / "CMakeLists.txt"
    for version, is_found in ((ekd.__version__, True), ("99.0", False)):
        source.write_text(
            "cmake_minimum_required(VERSION 3.16)\nproject(p LANGUAGES C)\n"
            f"find_package(ekd {version} QUIET)\n"
            f"if(NOT ekd_FOUND STREQUAL {int(is_found)})\n"
            "message(FATAL_ERROR ${ekd_FOUND})\nendif()"
        )
        cmake("-S", tmp_path, "-B", tmp_path / version, f"-DCMAKE_PREFIX_PATH={PREFIX}")


@pytest.mark.parametrize("compiler", ["cc -std=c99", "c++ -std=c++11"])
def test_header_is_plain(tmp_path: Path, compiler: str) -> None:
    """All compilers accept it without warnings."""
    source = tmp_path / ("a.c" if "c99" in compiler else "a.cpp")
    source.write_text('#include "ekd.h"\nint main(void) { return ekd_version() == 0; }\n')
    found = subprocess.run(
        [
            *compiler.split(),
            *["-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"],
            f"-I{PREFIX / 'include'}",
            source,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_only_the_interface_is_visible() -> None:
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", PREFIX / "lib" / "libekd.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    symbols = {line.split()[-1].split("@")[0] for line in listed.splitlines() if " T " in line}
    declared = set(
        re.findall(r"EKD_API .*?(ekd_\w+)\(", (PREFIX / "include" / "ekd.h").read_text())
    )
    assert symbols == declared
    assert not [line for line in listed.splitlines() if line.split()[1] not in "TA"]


def test_the_page_names_what_there_is() -> None:
    page = (ROOT / "docs" / "c_interface.md").read_text()
    header = (PREFIX / "include" / "ekd.h").read_text()
    for name, value in re.findall(r"(EKD_\w+) = (\d)", header):
        if name == "EKD_OK" or name.startswith("EKD_ERROR"):
            assert f"| {value} | `{name}` |" in page
    for name in re.findall(r"EKD_API .*?(ekd_\w+)\(", header):
        assert f"| `{name}` |" in page


# ---- results -----------------------------------------------------------------------------------


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
    """Also with pairs beyond the cutoff, which have no effect."""
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
    """As in an engine: images are separate atoms, and atoms are distributed over processes."""
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
    """It stays loaded, because waiting threads would otherwise wake up in unmapped code."""
    code = (
        "import sys, _ctypes; sys.path.insert(0, sys.argv[2])\n"
        "import numpy as np; from c_interface import Program; import time\n"
        "p = Program(sys.argv[1], n_threads=2)\n"
        "p.evaluate(np.full(200, 1), np.arange(600.0).reshape(200, 3)); p.close()\n"
        "_ctypes.dlclose(p.library._handle); time.sleep(0.1)\n"
    )
    arguments = [sys.executable, "-c", code, several, ROOT / "tests"]
    assert subprocess.run(arguments, check=False).returncode == 0


# ---- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": 3}, "precision is 3"),
        ({"precision": -1}, "precision is -1"),
        ({"n_threads": -2}, "n_threads is -2"),
        ({"n_threads": 100000}, "from 0 to 1024"),
        ({"block": -1}, "block is -1"),
        ({"skin": -0.5}, "skin is -0.5"),
        ({"skin": float("nan")}, "skin is nan"),
        ({"skin": float("inf")}, "skin is inf"),
        ({"no_self_test": 2}, "no_self_test is 2"),
        ({"reserved": 1}, "last field"),
    ],
)
def test_options_out_of_range(several: Path, options: dict[str, float], words: str) -> None:
    error = failure(lambda: Program(several, **options))
    assert error.code == c_interface.ARGUMENT
    assert words in error.message


def test_a_device(several: Path, local: Path) -> None:
    for path in (several, local):
        expected = Program(path).evaluate(*WATER)
        found = Program(path, device=b"emulated").evaluate(*WATER)
        assert_allclose(
            found["forces"], expected["forces"], **tolerance("runtime", "float64").bounds
        )


@pytest.mark.parametrize("device", [b"cuda:7777", b"gpu"])
def test_a_device_that_is_not_here(local: Path, device: bytes) -> None:
    error = failure(lambda: Program(local, device=device))
    assert error.code == c_interface.UNSUPPORTED
    assert "device" in error.message


def damaged(source: Path, target: Path) -> Path:
    target.write_bytes(source.read_bytes()[:-100])
    return target


def with_other_energy(source: Path, target: Path) -> Path:
    def edit(name: str, content: bytes) -> bytes:
        if name != "extra/ekd_metadata.json":
            return content
        metadata = json.loads(content)
        metadata["self_test"]["energy"] += 1.0
        return json.dumps(metadata).encode()

    return rewritten(source, target, edit)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda source, target: target, c_interface.FILE, "cannot be opened"),
        (lambda source, target: target.parent, c_interface.FILE, "not an exported model"),
        (lambda source, target: ROOT / "README.md", c_interface.FILE, "not an exported model"),
        (damaged, c_interface.FILE, "truncated or damaged"),
        (other_format, c_interface.FILE, "update ekd"),
        (without_weights, c_interface.NEEDS_TORCH, "'ekd upgrade'"),
        (with_other_class, c_interface.NEEDS_TORCH, "'ekd upgrade'"),
        (
            lambda source, target: ROOT / "tests" / "golden" / "exported-2.pt",
            c_interface.NEEDS_TORCH,
            "'ekd upgrade'",
        ),
        (with_other_energy, c_interface.SELF_TEST, "self-test"),
    ],
)
def test_files_that_cannot_be_used(
    several: Path, tmp_path: Path, change: Callable[[Path, Path], Path], code: int, words: str
) -> None:
    path = change(several, tmp_path / "changed.pt")
    error = failure(lambda: Program(path))
    assert error.code == code
    assert words in error.message


def test_self_test_can_be_left_out(several: Path, tmp_path: Path) -> None:
    path = with_other_energy(several, tmp_path / "changed.pt")
    energy = Program(path, no_self_test=1).evaluate(*WATER)["energy"]
    assert energy == Program(several).evaluate(*WATER)["energy"]


def test_structures_that_cannot_be_evaluated(several: Path) -> None:
    program = Program(several)
    apart = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    cases: list[tuple[tuple[object, ...], str]] = [
        (([], np.zeros((0, 3))), "no atoms"),
        (([1, 79], apart), r"atom 1 has the atomic number 79.*supports only H \(1\), C \(6\)"),
        (([1, -1], apart), "atomic number -1"),
        (([1, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 1e-4]]), "atoms 0 and 1"),
        (([1], [[np.nan, 0.0, 0.0]]), "not finite"),
        (([1], [[np.inf, 0.0, 0.0]]), "not finite"),
        (([1], [[0.0, 0.0, 0.0]], np.zeros((3, 3))), "no cell vector"),
        (([1], [[0.0, 0.0, 0.0]], np.full((3, 3), np.nan)), "no cell vector"),
        (([1], [[0.0, 0.0, 0.0]], np.ones((3, 3))), "linearly dependent"),
        (([1], [[0.0, 0.0, 0.0]], None, [1, 0, 0]), "no cell vector"),
        (([1], [[0.0, 0.0, 0.0]], np.eye(3) * 1e-6), "periodic images"),
    ]
    for arguments, words in cases:
        error = failure(lambda arguments=arguments: program.evaluate(*arguments))  # type: ignore[misc]
        assert error.code == c_interface.STRUCTURE, error
        assert re.search(words, error.message), error
    # It goes on as if nothing had happened.
    expected = ExportedModel(several).evaluate(*WATER).energy
    assert_allclose(program.evaluate(*WATER)["energy"], expected, rtol=1e-13)


def test_what_the_model_does_not_have(local: Path, several: Path, committee: Path) -> None:
    rows = ([1, 1], [0, 1], [1], [[1.0, 0.0, 0.0]])  # the second atom is a ghost
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: Program(several).evaluate_rows(*rows), "has 2 interactions.*ghosts"),
        (lambda: Program(several).evaluate(*WATER, wanted=("uncertainty",)), "no uncertainty"),
        (lambda: Program(local).evaluate(*WATER, wanted=("energy_std",)), "one student"),
        (lambda: Program(local).evaluate(*WATER, wanted=("forces_std",)), "one student"),
        (lambda: Program(local).evaluate_rows(*rows, wanted=("forces_std",)), "one student"),
    ]
    for act, words in cases:
        error = failure(act)
        assert error.code == c_interface.UNSUPPORTED
        assert re.search(words, error.message), error


def test_a_spread_needs_the_forces_on_ghosts(tmp_path: Path) -> None:
    random_committee(tmp_path / "committee.pt", n_interactions=1)
    program = Program(tmp_path / "committee.pt")
    rows = ([1, 1], [0, 1], [1], [[1.0, 0.0, 0.0]])
    error = failure(lambda: program.evaluate_rows(*rows, wanted=("forces_std",)))
    assert (error.code, "no ghosts" in error.message) == (c_interface.UNSUPPORTED, True)
    assert np.isfinite(program.evaluate_rows(*rows)["forces"]).all()


def test_null_pointers(several: Path) -> None:
    program = Program(several)
    library, model = program.library, program.model
    one, number = c_interface.as_doubles(np.zeros(3)), (ctypes.c_int32 * 1)(1)
    start = (ctypes.c_int64 * 2)(0, 1)
    atom = {"n_atoms": 1, "n_owned": 1, "atomic_numbers": number, "offsets": start}
    neighbor = (ctypes.c_int32 * 1)(0)
    other = ctypes.c_void_p()
    path = str(several).encode()
    calls = [
        library.ekd_open(None, None, ctypes.byref(other)),
        library.ekd_open(path, None, None),
        library.ekd_describe(None, c_interface.Description()),
        library.ekd_describe(model, None),
        library.ekd_evaluate(None, 1, one, number, None, None, Results()),
        library.ekd_evaluate(model, 1, None, number, None, None, Results()),
        library.ekd_evaluate(model, 1, one, None, None, None, Results()),
        library.ekd_evaluate(model, 1, one, number, None, None, None),
        library.ekd_evaluate(model, -1, one, number, None, None, Results()),
        library.ekd_evaluate(model, 2**62, one, number, None, None, Results()),
        library.ekd_evaluate(model, 1, one, number, None, None, Results(pair_gradients=one)),
        library.ekd_evaluate(model, 1, one, number, one, (ctypes.c_int * 3)(1, 1, 7), Results()),
        library.ekd_evaluate_rows(None, Rows(), Results()),
        library.ekd_evaluate_rows(model, None, Results()),
        library.ekd_evaluate_rows(model, Rows(), None),
        library.ekd_evaluate_rows(model, Rows(), Results()),  # no offsets
        library.ekd_evaluate_rows(model, Rows(**{**atom, "atomic_numbers": None}), Results()),
        library.ekd_evaluate_rows(model, Rows(**atom, pair_vectors=one), Results()),
        library.ekd_evaluate_rows(model, Rows(**atom, neighbors=neighbor), Results()),
        library.ekd_evaluate_rows(model, Rows(**{**atom, "n_atoms": -1}), Results()),
        library.ekd_evaluate_rows(model, Rows(**{**atom, "n_atoms": 2**62}), Results()),
        library.ekd_evaluate_rows(model, Rows(**{**atom, "n_owned": -1}), Results()),
        library.ekd_evaluate_rows(model, Rows(**{**atom, "n_owned": 2}), Results()),
    ]
    assert calls == [c_interface.ARGUMENT] * len(calls)
    assert other.value is None
    library.ekd_close(None)


def test_rows_that_do_not_fit_together(local: Path) -> None:
    program = Program(local)
    x = [1.0, 0.0, 0.0]
    cases: list[tuple[tuple[object, ...], int, str]] = [
        (([1, 1], [1, 1, 1], [], []), c_interface.ARGUMENT, "ascend from 0"),
        (([1, 1], [0, 1, 0], [], []), c_interface.ARGUMENT, "number 2 is 0"),
        (([1, 1], [0, -1, 0], [], []), c_interface.ARGUMENT, "number 1 is -1"),
        (([1, 1], [0, 1, 2], [1, 2], [x, x]), c_interface.ARGUMENT, "from 0 to n_atoms - 1 = 1"),
        (([1, 1], [0, 1, 2], [-1, 0], [x, x]), c_interface.ARGUMENT, "is -1"),
        (([1, 1], [0, 1], [1], [[np.nan, 0, 0]]), c_interface.STRUCTURE, "not finite"),
        (([1, 1], [0, 1], [1], [[1e200, 0, 0]]), c_interface.STRUCTURE, "not finite"),
        (([1, 1], [0, 1], [1], [[0, 0, 0]]), c_interface.STRUCTURE, "on top of each other"),
        (([1, 3], [0, 1], [1], [x]), c_interface.STRUCTURE, "atomic number 3"),
    ]
    for arguments, code, words in cases:
        error = failure(lambda arguments=arguments: program.evaluate_rows(*arguments))  # type: ignore[misc]
        assert error.code == code, error
        assert words in error.message


def test_sizes_of_structs(several: Path) -> None:
    program = Program(several)
    library = program.library
    for size in (0, 8, ctypes.sizeof(Results) - 8, 2**40):
        results = Results()
        results.size = size
        error = failure(
            lambda results=results: program.call(  # type: ignore[misc]
                "evaluate_rows", program.model, Rows(), results
            )
        )
        assert (error.code, "sizeof(ekd_results)" in error.message) == (c_interface.ARGUMENT, True)

    class Newer(ctypes.Structure):
        """Struct of a program that was compiled with a newer header."""

        _fields_ = (("known", Options), ("new", ctypes.c_int64))

    for new, code in ((0, c_interface.OK), (1, c_interface.ARGUMENT)):
        options = Newer(known=Options(), new=new)
        options.known.size = ctypes.sizeof(Newer)
        model = ctypes.c_void_p()
        pointer = ctypes.cast(ctypes.byref(options), ctypes.POINTER(Options))
        assert library.ekd_open(str(several).encode(), pointer, ctypes.byref(model)) == code
        library.ekd_close(model)

    # Of a program that was compiled before there were devices.
    older = Options()
    older.size = Options.device.offset
    model = ctypes.c_void_p()
    assert library.ekd_open(str(several).encode(), older, ctypes.byref(model)) == c_interface.OK
    library.ekd_close(model)

    class NewerDescription(ctypes.Structure):
        _fields_ = (("known", c_interface.Description), ("new", ctypes.c_int64))

    description = NewerDescription(new=5)
    description.known.size = ctypes.sizeof(NewerDescription)
    pointer = ctypes.cast(ctypes.byref(description), ctypes.POINTER(c_interface.Description))
    assert library.ekd_describe(program.model, pointer) == c_interface.OK
    assert (description.new, description.known.n_interactions) == (0, 2)


def test_no_memory(several: Path) -> None:
    """Millions of images of one atom, in a process that may not have so much memory."""
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[2])\n"
        "import numpy as np; from c_interface import Failed, Program\n"
        "p = Program(sys.argv[1])\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + (64 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try:\n"
        "    p.evaluate([1], np.zeros((1, 3)), np.eye(3) * 0.05)\n"
        "except Failed as error:\n"
        "    assert p.evaluate([1], np.zeros((1, 3)))['energy'] != 0\n"
        "    print(error.code, error.message[-13:])\n"
    )
    arguments = [sys.executable, "-c", code, several, ROOT / "tests"]
    found = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert found.stdout == f"{c_interface.MEMORY} [EKD-API-007]\n", found.stderr


def test_last_error_belongs_to_the_thread(several: Path) -> None:
    program = Program(several)
    failure(lambda: program.evaluate([99], [[0.0, 0.0, 0.0]]))
    seen: list[bytes] = []
    thread = threading.Thread(target=lambda: seen.append(program.library.ekd_last_error()))
    thread.start()
    thread.join()
    assert seen == [b""]
    assert b"99" in program.library.ekd_last_error()
