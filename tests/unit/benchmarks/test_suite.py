"""Plan, structures, timing, and measurements in separate processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import run
from ekd.neighbor_list import neighbor_list
from suite import children
from suite.machine import describe, summary
from suite.plan import Plan
from suite.records import Record, Skipped, Status
from suite.timing import shortest
from suite.water import DENSITY, cube, water


def test_sizes_of_a_plan(tmp_path: Path) -> None:
    assert Plan(tmp_path).choose((1,), (1, 2)) == (1, 2)
    assert Plan(tmp_path, quick=True).choose((1,), (1, 2)) == (1,)
    assert Plan(tmp_path, quick=True, sizes=(3,)).choose((1,), (1, 2)) == (3,)


def test_plan_refuses_what_takes_too_long(tmp_path: Path) -> None:
    plan = Plan(tmp_path, quick=True)
    assert plan.too_long(10_000, None) is None
    assert plan.too_long(10_000, 1_000) is None
    assert plan.too_long(30_000, 1_000) == "would take 30 s a call, more than 20"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (192, 192),
        (3_000, 3_000),
        (12_288, 12_288),
        (100_000, 98_304),
        (1_000_000, 1_029_000),
        (1, 192),
    ],
)
def test_water_of_any_size(asked: int, found: int) -> None:
    molecules, repeats = cube(asked)
    assert 3 * molecules * repeats**3 == found


def test_water_is_a_periodic_liquid() -> None:
    box = water(375)
    assert len(box) == 375
    assert box.pbc.all()
    grams = box.get_masses().sum() * 1.66053906892
    assert grams / box.get_volume() == pytest.approx(DENSITY)
    pairs = neighbor_list(box.positions, 5.5, box.cell.array, True)
    assert np.bincount(pairs.pairs[0]).mean() == pytest.approx(70, abs=3)


def test_shortest_calls_in_turns() -> None:
    order: list[str] = []
    found = shortest({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 0.0)
    assert order == ["a", "b"]
    assert set(found) == {"a", "b"}
    order.clear()
    shortest({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 1e-3)
    assert order[:4] == ["a", "b", "a", "b"]


def test_machine_says_what_numbers_depend_on() -> None:
    machine = describe(["ekd", "no-such-package"])
    assert machine["cores"] == len(os.sched_getaffinity(0))
    assert machine["packages"]["no-such-package"] == "not installed"
    assert machine["processor"] in summary(machine)
    busy, idle = ({**machine, "busy": state} for state in (True, False))
    assert "not fit to be quoted" in summary(busy)
    assert "(idle)" in summary(idle)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a module ``some_measure``, which a child process can import."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "some_measure.py"


HEAD = """
import os, signal
from suite.records import DisagreementError, Record, Status

def measure(plan):
    threads = int(os.environ["OMP_NUM_THREADS"])
    yield Record("m", 1, threads, 2.0, "GB")
"""


def test_child_sends_what_it_measures(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    module.write_text(HEAD + "    yield Status('next')\n    print('seen')\n")
    log = module.with_name("log.txt")
    found = list(children.run("some_measure", Plan(module.parent, threads=3), log))
    assert found == [Record("m", 1, 3, 2.0, "GB"), Status("next")]
    assert "seen" in log.read_text()
    assert os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    ("ending", "reason", "failed"),
    [
        ("raise DisagreementError('forces differ')", "forces differ", True),
        ("raise MemoryError", "out of memory: MemoryError", False),
        ("bytes(1 << 50)", "out of memory: MemoryError", False),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended by signal SIGKILL", True),
        ("os._exit(3)", "ended with status 3", True),
    ],
)
def test_child_that_fails_keeps_what_it_has_found(
    module: Path, ending: str, reason: str, failed: bool
) -> None:
    module.write_text(f"{HEAD}    {ending}\n")
    record, skipped = children.run("some_measure", Plan(module.parent), module.with_name("log"))
    assert isinstance(record, Record)
    assert isinstance(skipped, Skipped)
    assert skipped.reason.startswith(reason)
    assert skipped.failed is failed


def test_driver_is_light() -> None:
    """The peak memory of a child process includes that of its parent."""
    code = "import sys, run; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(run.__file__).parent, check=False)
    assert done.returncode == 0


def test_command_line() -> None:
    options = run.arguments(["--quick", "--only", "md", "forces", "--threads", "2"])
    assert options.only == ["md", "forces"]
    assert (options.threads, options.seconds) == ([2], 0.5)
    assert run.arguments([]).only == list(run.PARTS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--only", "everything"], "invalid choice: 'everything'"),
        (["--threads", "0"], "0 is less than 1"),
        (["--without", "lammps"], "invalid choice: 'lammps'"),
    ],
)
def test_command_line_refuses(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run.arguments(given)
    assert message in capsys.readouterr().err
