"""Restart and data files of LAMMPS restore the model, its settings and its checksum."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from ekd.files import sha256
from lammps_runs import RunLammps
from lammps_states import HEAD, MOVE, PRINT, assert_same, script, state
from models import random_model


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_restart_file_brings_the_model_back(
    run_lammps: RunLammps, model_folder: Path, n_ranks: int
) -> None:
    model = model_folder / "2-float64.pt"
    text = script(model, MOVE + "write_restart end.restart\n", style="ekd block 100")
    expected = state(run_lammps, text, n_ranks)
    continued = HEAD.split("pair_style")[0].replace(
        "read_data box.data", "read_restart end.restart"
    )
    computes = HEAD[HEAD.index("neighbor 0.5") :]
    text = (continued + computes).format(newton="on", before="") + "run 0 post no\n" + PRINT
    assert_same(state(run_lammps, text, n_ranks), expected)


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("keyword", ["relative", "total"])
def test_restart_files_keep_the_zero_of_the_energy(
    run_lammps: RunLammps, model_folder: Path, keyword: str
) -> None:
    """Older files without the number of words and without the keyword have total energies."""
    model = model_folder / "2-float64.pt"
    body = "run 0 post no\nwrite_restart end.restart\n"
    run = run_lammps(script(model, body, style=f"ekd energy {keyword} block 100"))
    assert run.returncode == 0, run.screen[-3000:]
    read = "units metal\natom_style atomic\nread_restart {}.restart\nrun 0 post no\n"
    read += 'print "again $(pe:%22.16g)"\n'
    again = run_lammps(read.format("end"))
    assert again.printed("again") == pytest.approx(run.printed("state")[:1], rel=1e-12)

    def word(text: str) -> bytes:
        return struct.pack("i", len(text)) + text.encode()

    content = (run.folder / "end.restart").read_bytes()
    count, last = struct.pack("i", 14) + word("block"), word("energy") + word(keyword)
    last += word("force_max") + word("1000")
    assert content.count(count) == 1
    assert content.count(last) == 1
    older = content.replace(count, word("block")).replace(last, b"")
    (run.folder / "older.restart").write_bytes(older)
    total = run_lammps(script(model, "run 0 post no\n", style="ekd energy total"))
    found = run_lammps(read.format("older"))
    assert found.printed("again") == pytest.approx(total.printed("state")[:1], rel=1e-12)

    (run.folder / "odd.restart").write_bytes(
        content.replace(count, struct.pack("i", 7) + count[4:])
    )
    refused = run_lammps(read.format("odd"))
    assert refused.returncode != 0
    assert "the restart file holds 7 words of settings, expected an even number" in refused.error


@pytest.mark.usefixtures("box")
def test_restart_with_another_model_is_noticed(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path
) -> None:
    model = tmp_path / "student.pt"
    shutil.copy(model_folder / "2-float64.pt", model)
    run = run_lammps(script(model, "run 0 post no\nwrite_restart end.restart\n"))
    assert run.returncode == 0, run.screen[-3000:]
    random_model(model, n_interactions=2, l_max=1, seed=5)
    read = "units metal\natom_style atomic\nread_restart end.restart\n"
    run = run_lammps(read + "run 0\n")
    assert run.returncode != 0
    assert "is not the file that the restart was written with" in run.screen
    assert "name the model with pair_coeff" in run.screen
    assert "All pair coeffs are not set" in run.error
    run = run_lammps(read + f"pair_coeff * * {model} O H N C\nrun 0\n")
    assert run.returncode == 0, run.screen[-3000:]
    model.unlink()
    run = run_lammps(read)
    assert "student.pt' cannot be opened" in run.screen
    assert run.returncode == 0


@pytest.mark.usefixtures("box")
def test_restart_files_keep_the_expected_sha256(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copy(model_folder / "2-float64.pt", tmp_path / "student.pt"))
    body = "run 0 post no\nwrite_restart end.restart\n"
    run = run_lammps(script(model, body, style=f"ekd sha256 {sha256(model)}"))
    assert run.returncode == 0, run.screen[-3000:]
    read = "units metal\natom_style atomic\nread_restart end.restart\n"
    run = run_lammps(read + "run 0\n")
    assert run.returncode == 0, run.screen[-3000:]
    random_model(model, n_interactions=2, l_max=1, seed=5)
    run = run_lammps(read + f"pair_coeff * * {model} O H N C\n")
    assert "is not the expected file" in run.error
    # A new pair_style command without the keyword removes the expectation.
    run = run_lammps(read + f"pair_style ekd\npair_coeff * * {model} O H N C\nrun 0\n")
    assert run.returncode == 0, run.screen[-3000:]


@pytest.mark.usefixtures("box")
def test_data_file_round_trip(run_lammps: RunLammps, model_folder: Path) -> None:
    model = model_folder / "2-float64.pt"
    expected = state(run_lammps, script(model, MOVE + "write_data end.data\n"))
    text = script(model, "run 0 post no\n").replace("read_data box.data", "read_data end.data")
    assert_same(state(run_lammps, text), expected, rtol=1e-8)  # data files have 15 digits
