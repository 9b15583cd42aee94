"""A portable file: any libtorch can load and differentiate it, and ekd's engines run it too."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ekd.export import export_model
from ekd.inference import ExportedModel, read_metadata, run_self_test
from ekd.neighbor_list import neighbor_list
from models import ELEMENTS, random_network
from systems import water_box
from tolerances import tolerance

# Another program needs only torch and the protocol in docs/exported_model.md.
PROGRAM = """
import json, sys
import torch

module = torch.jit.load(sys.argv[1])
frame = json.load(open(sys.argv[2]))
species, pairs = torch.tensor(frame["species"]), torch.tensor(frame["pairs"])
vectors = torch.tensor(frame["vectors"], dtype=torch.float64, requires_grad=True)
energies = module(species, pairs, vectors, len(species))
(gradients,) = torch.autograd.grad(energies.sum(), vectors)
assert not any(name.split(".")[0] == "ekd" for name in sys.modules)
json.dump({"energies": energies.tolist(), "gradients": gradients.tolist()}, sys.stdout)
"""


@pytest.fixture(params=[(1, 1), (2, 2)], ids=["1 student", "committee of 2"])
def portable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    n_interactions, n_members = request.param
    networks = [random_network(seed, n_interactions=n_interactions) for seed in range(n_members)]
    members = [network for network, _ in networks]
    export_model(members, tmp_path / "portable.pt", config=networks[0][1], portable=True)
    return tmp_path / "portable.pt"


def test_runs_without_ekd(portable: Path, tmp_path: Path) -> None:
    atoms = water_box(2)
    species = np.array([ELEMENTS.index(z) for z in atoms.numbers], dtype=np.int64)
    pairs = neighbor_list(atoms.positions, 4.0, atoms.cell.array, atoms.pbc)
    frame = {
        "species": species.tolist(),
        "pairs": pairs.pairs.tolist(),
        "vectors": pairs.pair_vectors.tolist(),
    }
    (tmp_path / "frame.json").write_text(json.dumps(frame))
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, portable, tmp_path / "frame.json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": "", "PYTHONWARNINGS": "ignore"},  # without paths to ekd
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)

    expected = ExportedModel(portable).evaluate_pairs(species, pairs)
    bounds = tolerance("kernel").bounds
    np.testing.assert_allclose(found["energies"], expected.atomic_energies, **bounds)
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, pairs.pairs[0], found["gradients"])
    np.subtract.at(forces, pairs.pairs[1], found["gradients"])
    np.testing.assert_allclose(forces, expected.forces, **bounds)


def test_says_that_it_needs_nothing(portable: Path) -> None:
    assert read_metadata(portable).required_ops == []
    assert run_self_test(ExportedModel(portable)).passed
    with zipfile.ZipFile(portable) as archive:
        code = [archive.read(name) for name in archive.namelist() if name.endswith(".py")]
    assert code
    assert not any(b"ops.ekd" in text for text in code)
