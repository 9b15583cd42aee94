"""Restart files of LAMMPS that were written with earlier versions of ekd."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lammps_runs import RunLammps

GOLDEN = Path(__file__).parents[2] / "golden"

SCRIPT = """
units metal
read_restart restart-1.bin
run 0 post no
print "energy $(pe:%22.16g)"
"""


def test_restart_file_of_format_1(run_lammps: RunLammps, tmp_path: Path) -> None:
    """Settings, model and elements come from the file."""
    shutil.copy(GOLDEN / "restart-1.bin", tmp_path)
    shutil.copy(GOLDEN / "exported-4-single.pt", tmp_path / "student.pt")
    run = run_lammps(SCRIPT)
    assert run.returncode == 0, run.screen[-3000:]
    expected = json.loads((GOLDEN / "files.json").read_text())["restart-1.bin"]["energy"]
    # The model has single precision, in which processors with other vectors round differently.
    assert run.printed("energy") == pytest.approx([expected], rel=1e-6)
    (tmp_path / "student.pt").unlink()
    refused = run_lammps(SCRIPT)
    assert refused.returncode != 0
    assert "student.pt" in refused.screen
