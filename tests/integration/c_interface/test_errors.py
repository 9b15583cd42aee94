"""libekd: every error has its code, and bad arguments are refused."""

from __future__ import annotations

import ctypes
import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import c_interface
from c_interface import PREFIX, Failed, Options, Program, Results, Rows
from ekd.inference import ExportedModel
from models import (
    other_format,
    random_committee,
    rewritten,
    with_other_class,
    without_weights,
)
from tolerances import tolerance

ROOT = Path(__file__).parents[3]
WATER = ([8, 1, 1], [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
CELL = [[7.1, 0.0, 0.0], [0.4, 6.3, 0.0], [-0.3, 0.9, 8.2]]

pytestmark = pytest.mark.skipif(
    PREFIX == ROOT / "python" / "ekd" and not (PREFIX / "include" / "ekd.h").exists(),
    reason="of a source directory that nothing was installed to",
)


def failure(act: Callable[[], object]) -> Failed:
    with pytest.raises(Failed) as caught:
        act()
    return caught.value


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
        ({"reserved": 1}, "reserved is 1"),
        ({"sha256": b"abc"}, "64 hexadecimal digits"),
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


def test_sha256(several: Path) -> None:
    """The file is refused if it has another SHA-256; upper case is accepted."""
    digits = hashlib.sha256(several.read_bytes()).hexdigest()
    assert Program(several).describe().sha256.decode() == digits
    for given in (digits, digits.upper()):
        Program(several, sha256=given.encode()).evaluate(*WATER)
    other = hashlib.sha256(b"another file").hexdigest()
    error = failure(lambda: Program(several, sha256=other.encode()))
    assert error.code == c_interface.FILE
    assert re.search(f"{other}.*EKD-MODEL-010", error.message), error.message


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
    # The model still works after the errors.
    expected = ExportedModel(several).evaluate(*WATER).energy
    assert_allclose(program.evaluate(*WATER)["energy"], expected, rtol=1e-13)


def test_what_the_model_does_not_have(local: Path, several: Path, committee: Path) -> None:
    rows = ([1, 1], [0, 1], [1], [[1.0, 0.0, 0.0]])  # the second atom is a ghost
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: Program(several).evaluate_rows(*rows), "has 2 interactions.*ghosts"),
        (
            lambda: Program(several).evaluate(*WATER, wanted=("uncertainty",)),
            "not predict uncertainties",
        ),
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
        """Options of a program that was compiled with a newer header."""

        _fields_ = (("known", Options), ("new", ctypes.c_int64))

    for new, code in ((0, c_interface.OK), (1, c_interface.ARGUMENT)):
        options = Newer(known=Options(), new=new)
        options.known.size = ctypes.sizeof(Newer)
        model = ctypes.c_void_p()
        pointer = ctypes.cast(ctypes.byref(options), ctypes.POINTER(Options))
        assert library.ekd_open(str(several).encode(), pointer, ctypes.byref(model)) == code
        library.ekd_close(model)

    # Options of a program that was compiled before devices were supported.
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

    # A description from before `sha256`: nothing is written behind its end.
    older = c_interface.Description(sha256=b"unchanged")
    older.size = c_interface.Description.sha256.offset
    assert library.ekd_describe(program.model, ctypes.byref(older)) == c_interface.OK
    assert (older.n_interactions, older.sha256) == (2, b"unchanged")


def test_no_memory(several: Path) -> None:
    """Millions of images of one atom, in a process with limited memory."""
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
