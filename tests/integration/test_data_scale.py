"""The scaling scripts run without errors; times are not checked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ekd.data import load_dataset

FOLDER = Path(__file__).parents[2] / "benchmarks"
KEY = "ccsd(t)_cbs.energy"


def run(script: str, *options: str) -> str:
    """Run a script and return what it prints."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 2000 configurations."""
    path = tmp_path_factory.mktemp("synthetic") / "ani1ccx.h5"
    run("ani1ccx_like.py", str(path), "--n-configs", "2000", "--nan-share", "0.1")
    return path


def test_synthetic_file_has_the_layout_of_the_release(synthetic: Path) -> None:
    with h5py.File(synthetic) as file:
        for group in file.values():
            (n,), (m,) = group["atomic_numbers"].shape, group[KEY].shape
            assert group["coordinates"].shape == group["wb97x_dz.forces"].shape == (m, n, 3)
            assert group["coordinates"].dtype == np.float32
            assert group[KEY].dtype == np.float64
            assert set(np.unique(group["atomic_numbers"])) <= {1, 6, 7, 8}
    data = load_dataset(synthetic, KEY)
    assert len(data) == 2000
    assert 100 < data.provenance.n_dropped < 300
    assert 11 < data.n_atoms_per_config.mean() < 16
    assert data.n_atoms_per_config.min() >= 2
    assert (data.formulas == data.groups).all()


def test_synthetic_forces_are_derivatives(synthetic: Path) -> None:
    """Forces are compared with central differences of the potential that the script defines."""
    sys.path.insert(0, str(FOLDER))
    try:
        from ani1ccx_like import morse
    finally:
        sys.path.remove(str(FOLDER))
    data = load_dataset(synthetic, KEY)
    atoms = data.atoms(0)
    positions, step = atoms.positions[None], 1e-5
    forces = morse(atoms.numbers, positions, depth=4.3, width=1.9)[1][0]
    for atom, axis in np.ndindex(min(3, len(atoms)), 3):
        shift = np.zeros_like(positions)
        shift[0, atom, axis] = step
        upper, lower = (
            morse(atoms.numbers, positions + sign * shift, depth=4.3, width=1.9)[0][0]
            for sign in (1, -1)
        )
        assert -(upper - lower) / (2 * step) == pytest.approx(forces[atom, axis], abs=1e-5)


def test_same_seed_same_file(synthetic: Path, tmp_path: Path) -> None:
    for seed in ("0", "1"):
        options = ["--n-configs", "2000", "--nan-share", "0.1", "--seed", seed]
        run("ani1ccx_like.py", str(tmp_path / f"{seed}.h5"), *options)
    expected = load_dataset(synthetic, KEY).fingerprint
    assert load_dataset(tmp_path / "0.h5", KEY).fingerprint == expected
    assert load_dataset(tmp_path / "1.h5", KEY).fingerprint != expected


@pytest.mark.slow
def test_measurements(synthetic: Path, tmp_path: Path) -> None:
    """The cheap steps, and the comparison of streamed data with data in memory."""
    (tmp_path / "raw.h5").write_bytes(synthetic.read_bytes())
    steps = ["prepare", "epochs in turns", "labels"]
    sizes = ["--n-epoch", "100", "--n-labels", "50", "--n-teachers", "2"]
    options = ["--folder", str(tmp_path), *sizes, "--steps", *steps]
    table = run("data_at_scale.py", *options)
    assert all(step in table for step in steps)
    assert "networks equal bitwise" in table
    assert "50 by 2 teachers" in table
