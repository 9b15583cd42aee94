"""Files that ASE reads, whatever their name."""

from __future__ import annotations

from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest

from ekd.data import load_dataset
from ekd.data.frames import read_frames
from ekd.distillation.extra import read_structures
from ekd.dynamics import runs
from ekd.dynamics.settings import StructureConfig
from ekd.evaluation import CurveConfig
from ekd.evaluation.curves import coordinates
from ekd.files import sha256
from systems import methanol, triclinic_crystal, water


@pytest.mark.parametrize("suffix", [".xyz", ".extxyz", ".traj", ".db", ".json", ".vasp"])
def test_an_at_sign_belongs_to_the_name(tmp_path: Path, suffix: str) -> None:
    """ASE takes what follows it for an index, and reads another file or none."""
    crystal, other = triclinic_crystal(), water()
    ase.io.write(tmp_path / f"crystal@0{suffix}", crystal)
    ase.io.write(tmp_path / "crystal", other, format="extxyz")
    (frame,) = read_frames(tmp_path / f"crystal@0{suffix}")
    assert frame.get_chemical_formula() == crystal.get_chemical_formula()
    with pytest.raises(FileNotFoundError):
        list(read_frames(tmp_path / f"absent@0{suffix}"))


def test_every_reader_takes_names_with_an_at_sign(tmp_path: Path) -> None:
    path = tmp_path / "water@300K.xyz"
    frames = [water(0), water(1)]
    for index, frame in enumerate(frames):
        frame.info.update(e=-1.0 - index, phi=10.0 * index)
    ase.io.write(path, frames)
    ase.io.write(tmp_path / "water", methanol(), format="extxyz")
    data = load_dataset(path, energy="e")
    assert data.formulas.tolist() == ["H2O", "H2O"]
    assert data.provenance.sha256 == sha256(path)
    assert len(read_structures(path)) == 2
    found = runs.read_structures([StructureConfig(path=path, frames="-1")])
    np.testing.assert_allclose(
        found["water@300K"].positions, frames[1].positions, rtol=0, atol=1e-7
    )
    scan = CurveConfig(path=path, coordinate="phi")
    assert coordinates(data, scan)[0].tolist() == [0.0, 10.0]


@pytest.mark.parametrize("suffix", [".db", ".json"])
@pytest.mark.parametrize("index", [":", "1:", "::2", "-2:", "::-1", "7:"])
def test_rows_of_a_database_are_chosen_as_frames_of_a_file(
    tmp_path: Path, suffix: str, index: str
) -> None:
    frames = [water(seed) for seed in range(5)]
    with ase.db.connect(tmp_path / f"x{suffix}") as database:
        for number, frame in enumerate(frames):
            database.write(frame, number=number)
    ase.io.write(tmp_path / "x.traj", frames)
    rows = list(read_frames(tmp_path / f"x{suffix}", index))
    for row, frame in zip(rows, read_frames(tmp_path / "x.traj", index), strict=True):
        np.testing.assert_allclose(row.positions, frame.positions, rtol=0, atol=1e-12)
    assert [row.info["number"] for row in rows] == list(range(5))[
        slice(*(int(part) if part else None for part in index.split(":")))
    ]
