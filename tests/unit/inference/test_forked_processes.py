"""Forked workers can evaluate, even if the parent has used several threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import systems
from models import random_model, with_other_class
from tolerances import tolerance

AFTER_AN_EVALUATION = """
import multiprocessing, sys
import numpy as np, torch
import ase.io
from ekd.calculator import EKDCalculator

calculator = EKDCalculator(sys.argv[1])

def evaluate(atoms):
    atoms.calc = calculator
    return torch.get_num_threads(), atoms.get_forces()

if __name__ == "__main__":
    torch.set_num_threads(2)
    atoms = ase.io.read(sys.argv[2])
    _, expected = evaluate(atoms.copy())
    shifted = atoms.copy()
    shifted.positions += 0.1  # the calculator has not seen it
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for threads, forces in pool.map(evaluate, [shifted] * 4):
            assert threads == 1, threads
            np.testing.assert_allclose(forces, expected, **BOUNDS)
    assert torch.get_num_threads() == 2
"""


AFTER_OTHER_WORK = """
import multiprocessing, sys
import torch
import ase.io
from ekd.calculator import EKDCalculator

def evaluate(path):
    atoms = ase.io.read(path)
    atoms.calc = EKDCalculator(sys.argv[1])
    return atoms.get_forces().shape == (len(atoms), 3)

if __name__ == "__main__":
    torch.set_num_threads(2)
    torch.ones(10_000_000).exp()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert all(pool.map(evaluate, [sys.argv[2]] * 2))
"""


def run(script: str, model: Path, folder: Path) -> None:
    """Run a script in a separate process, which is ended if its workers hang."""
    systems.water_box(4).write(folder / "water.xyz")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, model, folder / "water.xyz"],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that hanging workers can be ended too
    )
    try:
        _, said = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        pytest.fail("a forked worker did not return within a minute")
    assert process.returncode == 0, said


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "TorchScript"])
def test_forked_workers_return(tmp_path: Path, kernels: bool) -> None:
    model = random_model(tmp_path / "student.pt", n_interactions=2, l_max=1)
    if not kernels:
        model = with_other_class(model, tmp_path / "other.pt")
    script = AFTER_AN_EVALUATION.replace("BOUNDS", str(tolerance("symmetry").bounds))
    run(script, model, tmp_path)


def test_threads_of_other_work_in_the_parent(tmp_path: Path) -> None:
    """The operations of ekd are loaded only in the workers."""
    run(AFTER_OTHER_WORK, random_model(tmp_path / "student.pt"), tmp_path)
