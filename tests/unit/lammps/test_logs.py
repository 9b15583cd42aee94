"""Shortened logs of LAMMPS 22Jul2025: complete, failed and truncated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ekd.errors import LammpsError
from ekd.lammps import logs

FINISHED = """\
LAMMPS (22 Jul 2025 - Update 4)
run 20
Per MPI rank memory allocation (min/avg/max) = 3.058 | 3.058 | 3.058 Mbytes
   Step          Time          TotEng
         0  0 -4.87340696680453
WARNING: something that LAMMPS says in the middle of a run
        10  0.0025 -4.87340696680454
        20  0.005 -4.8734069668046
Loop time of 0.5 on 1 procs for 20 steps with 6 atoms

Performance: 44584.344 ns/day, 0.001 hours/ns
Nlocal:              2 ave           2 max           2 min
   Step          Temp
        20  300
        30  nan
Loop time of 0.25 on 2 procs for 10 steps with 6 atoms
Total wall time: 0:00:00
"""

FAILED = """\
   Step          Temp
         0  300
       100  310.5
ERROR: Lost atoms: original 192 current 191 (src/src/thermo.cpp:527)
Last input line: run 4000
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_thermo_has_one_table_for_each_run(tmp_path: Path) -> None:
    first, second = logs.read_thermo(write(tmp_path / "log", FINISHED))
    assert list(first) == ["Step", "Time", "TotEng"]
    np.testing.assert_array_equal(first["Step"], [0, 10, 20])
    assert first["TotEng"][2] == -4.8734069668046
    np.testing.assert_array_equal(second["Temp"], [300, np.nan])


def test_speed_of_the_last_run(tmp_path: Path) -> None:
    assert logs.read_speed(write(tmp_path / "log", FINISHED)) == 240.0
    with pytest.raises(LammpsError, match="no finished run"):
        logs.read_speed(write(tmp_path / "log", FAILED))


def test_thermo_of_a_failed_run_goes_as_far_as_lammps_did(tmp_path: Path) -> None:
    (table,) = logs.read_thermo(write(tmp_path / "log", FAILED))
    np.testing.assert_array_equal(table["Temp"], [300, 310.5])


def test_error_message_is_the_one_of_lammps() -> None:
    expected = "ERROR: Lost atoms: original 192 current 191 (src/src/thermo.cpp:527)"
    assert logs.error_message(FAILED) == expected
    assert logs.error_message(FINISHED) is None


def test_log_without_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LammpsError, match="no thermodynamic output"):
        logs.read_thermo(write(tmp_path / "log", "LAMMPS (22 Jul 2025)\n"))
    with pytest.raises(LammpsError, match="wrote no file"):
        logs.read_thermo(tmp_path / "absent")


@pytest.mark.parametrize(("text", "step"), [(FINISHED, 30), (FAILED, 100), ("", None)])
def test_last_step_of_a_growing_log(tmp_path: Path, text: str, step: int | None) -> None:
    # A line without its end is still being written: 1230 would read as step 123 or 12 before.
    assert logs.last_step(write(tmp_path / "log", text + "       123 4.5 6")) == step
    assert logs.last_step(tmp_path / "absent") is None


FRAME = """\
ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0 1
0 1
0 1
ITEM: ATOMS id element x fx
1 O 0.5 {step}.25
2 H 0.75 -1e-3
"""


def test_last_complete_frame_of_a_dump(tmp_path: Path) -> None:
    broken = FRAME.format(step=2).removesuffix("2 H 0.75 -1e-3\n")
    path = write(tmp_path / "dump", FRAME.format(step=0) + FRAME.format(step=1) + broken)
    frame = logs.read_dump_frame(path)
    assert list(frame) == ["id", "x", "fx"]
    np.testing.assert_array_equal(frame["fx"], [1.25, -1e-3])
    with pytest.raises(LammpsError, match="no complete frame"):
        logs.read_dump_frame(write(tmp_path / "dump", broken))


def test_rdf_is_the_last_block(tmp_path: Path) -> None:
    text = "# Time-averaged data\n# TimeStep Number-of-rows\n# Row c_rdf[1] c_rdf[2] c_rdf[3]\n"
    text += "10 2\n1 0.1 0 0\n2 0.2 9 1\n20 2\n1 0.1 0 0\n2 0.2 1.5 1\n"
    r, g = logs.read_rdf(write(tmp_path / "rdf", text))
    np.testing.assert_array_equal(r, [0.1, 0.2])
    np.testing.assert_array_equal(g, [0, 1.5])
    with pytest.raises(LammpsError, match="no complete g"):
        logs.read_rdf(write(tmp_path / "rdf", text.removesuffix("2 0.2 1.5 1\n")))
