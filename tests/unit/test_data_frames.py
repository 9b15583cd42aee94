"""Files that ASE reads, with any name, and rows of its databases."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.formats import string2index

from ekd.data import load_dataset
from ekd.data.frames import read_frames
from ekd.data.readers import Request, open_source
from ekd.distillation.extra import read_structures
from ekd.dynamics import runs
from ekd.dynamics.stability_settings import StructureConfig
from ekd.errors import DataError
from ekd.evaluation import CurveConfig
from ekd.evaluation.curves import coordinates
from ekd.files import sha256
from ekd.units import BOHR, HARTREE, KCAL_PER_MOL
from systems import methanol, triclinic_crystal, water
from tolerances import tolerance

# Energies and positions here are numbers without a meaning, which readers warn of.
pytestmark = pytest.mark.filterwarnings("ignore::ekd.errors.DataWarning")
CLOSE = tolerance("file").bounds


@pytest.mark.parametrize("suffix", [".xyz", ".extxyz", ".traj", ".db", ".json", ".vasp"])
def test_an_at_sign_belongs_to_the_name(tmp_path: Path, suffix: str) -> None:
    """ASE uses the text after it as an index, and reads another file or none."""
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


@pytest.mark.parametrize("index", [":", "1:", "::2", "-2:", "::-1", "7:", "4:1:-2", "-1", "2"])
def test_frames_of_extended_xyz_are_chosen_as_from_a_list(tmp_path: Path, index: str) -> None:
    frames = [water(seed) for seed in range(5)]
    ase.io.write(tmp_path / "x.xyz", frames)
    everything = ase.io.read(tmp_path / "x.xyz", ":")
    chosen = string2index(index)
    expected = [everything[chosen]] if isinstance(chosen, int) else everything[chosen]
    found = list(read_frames(tmp_path / "x.xyz", index))
    assert [frame.positions.tolist() for frame in found] == [
        frame.positions.tolist() for frame in expected
    ]


def test_databases_of_others_stay_as_they_are(tmp_path: Path) -> None:
    """ASE writes its tables into any database that it opens."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("create table molecules (energy real)")
        connection.commit()
    before = (tmp_path / "x.db").read_bytes()
    with pytest.raises(DataError, match=r"tables molecules, but not one of ASE.*EKD-DATA-076"):
        load_dataset(tmp_path / "x.db")
    assert (tmp_path / "x.db").read_bytes() == before


@pytest.mark.parametrize("suffix", [".db", ".json"])
def test_charges_of_rows_are_not_sums_over_atoms(tmp_path: Path, suffix: str) -> None:
    """ASE returns the sum of initial charges instead of the key-value pair."""
    with ase.db.connect(tmp_path / f"x{suffix}") as database:
        for charge in (0, -1, 1):
            database.write(water(), charge=charge)
    found = [frame.info["charge"] for frame in read_frames(tmp_path / f"x{suffix}")]
    assert found == [0, -1, 1]


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


# ----------------------------------------------------------------------------------- databases


def database(
    path: Path, metadata: dict[str, Any] | None = None, **more: dict[str, Any]
) -> list[Atoms]:
    """Three molecules; ``more`` is stored with the first one, and shifted for the others."""
    frames = [water(0), water(1), methanol(2)]
    with ase.db.connect(path) as rows:
        for index, frame in enumerate(frames):
            given = {
                place: {key: value(index, frame) for key, value in entries.items()}
                for place, entries in more.items()
            }
            rows.write(frame, **given)
        if metadata is not None:
            rows.metadata = metadata
    return frames


def energy(index: int, _: Atoms) -> float:
    return -76.4 - index


def energy_array(index: int, frame: Atoms) -> Any:
    return np.array([energy(index, frame)])


def vectors(index: int, frame: Atoms) -> Any:
    return np.random.default_rng(index).normal(size=(len(frame), 3))


@pytest.mark.parametrize("suffix", [".db", ".json"])
@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("key_value_pairs", energy),
        ("data", energy),
        ("data", energy_array),
        ("data", lambda index, frame: energy_array(index, frame).reshape(1, 1)),
        ("data", lambda index, frame: [energy(index, frame)]),
    ],
)
def test_energies_of_rows(tmp_path: Path, suffix: str, place: str, value: Any) -> None:
    """Energies as in QM9, nablaDFT and SchNetPack: any key, a number or an array of one."""
    path = tmp_path / f"x{suffix}"
    frames = database(path, None, **{place: {"ccsd_energy": value}})
    dataset = load_dataset(path, energy="ccsd_energy", energy_unit="Hartree")
    expected = [energy(index, frame) * HARTREE for index, frame in enumerate(frames)]
    np.testing.assert_allclose(dataset.energies, expected, **CLOSE)
    np.testing.assert_allclose(dataset.positions[:3], frames[0].positions, rtol=0, atol=1e-12)


def test_forces_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    odd = {"odd": lambda *_: [[1.0], [2.0, 3.0]]}
    frames = database(path, data={"energy": energy_array, "forces": vectors} | odd)
    dataset = load_dataset(path, energy="energy", forces="forces")
    expected = np.concatenate([vectors(index, frame) for index, frame in enumerate(frames)])
    np.testing.assert_allclose(dataset.forces, expected, **CLOSE)
    with pytest.raises(DataError, match=r"has no key 'e'; its keys are: energy, odd \[EKD"):
        load_dataset(path, energy="e")
    with pytest.raises(DataError, match=r"has no key 'f'; its keys are: forces \[EKD"):
        load_dataset(path, forces="f")


def test_units_in_the_metadata(tmp_path: Path) -> None:
    """Units are stored as by SchNetPack; structures without energies are converted too."""
    metadata = {
        "_distance_unit": "Bohr",
        "_property_unit_dict": {"energy": "kcal/mol", "forces": "Hartree/Bohr", "mu": "Debye"},
    }
    path = tmp_path / "x.db"
    frames = database(path, metadata, data={"energy": energy_array, "forces": vectors})
    dataset = load_dataset(path, forces="forces")
    np.testing.assert_allclose(dataset.energies[0], -76.4 * KCAL_PER_MOL, **CLOSE)
    np.testing.assert_allclose(dataset.positions[:3], frames[0].positions * BOHR, **CLOSE)
    np.testing.assert_allclose(
        dataset.forces[:3], vectors(0, frames[0]) * (HARTREE / BOHR), **CLOSE
    )
    same = load_dataset(path, energy_unit="kcal/mol", length_unit="a0")
    assert same.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(read_structures(path).positions, dataset.positions)


@pytest.mark.parametrize(
    ("metadata", "options", "expected"),
    [
        (
            {"_property_unit_dict": {"energy": "Hartree"}},
            {"energy_unit": "eV"},
            "'energy' in .* is in Hartree according to the file, but energy_unit is 'eV'; leave",
        ),
        ({"_distance_unit": "Bohr"}, {"length_unit": "Å"}, "'positions' in .* is in Bohr"),
        ({"_distance_unit": "inch"}, {}, "states its unit: unknown unit of length 'inch'"),
        ({"_property_unit_dict": {"energy": "Debye"}}, {}, "unknown energy unit 'Debye'"),
        ({"_property_unit_dict": {"energy": 1}}, {}, "'_property_unit_dict' in the metadata of"),
        ({"_distance_unit": ["Ang"]}, {}, "expected a text, and a dictionary of texts by key"),
    ],
)
def test_units_in_the_metadata_refused(
    tmp_path: Path, metadata: dict[str, Any], options: dict[str, str], expected: str
) -> None:
    database(tmp_path / "x.db", metadata, data={"energy": energy_array})
    with pytest.raises(DataError, match=expected):
        load_dataset(tmp_path / "x.db", **options)  # type: ignore[arg-type]


def test_result_and_data_that_differ(tmp_path: Path) -> None:
    frame = water(0)
    for name, shift in (("same.db", 0.0), ("other.db", 1e-3)):
        frame.calc = SinglePointCalculator(frame, energy=-10.0)
        with ase.db.connect(tmp_path / name) as rows:
            rows.write(frame, data={"energy": np.array([-10.0 + shift])})
    assert load_dataset(tmp_path / "same.db").energies.tolist() == [-10.0]
    with pytest.raises(DataError, match="has 'energy' as a result of its calculator and, with"):
        load_dataset(tmp_path / "other.db")


def test_energies_that_are_none(tmp_path: Path) -> None:
    database(tmp_path / "x.db", data={"energy": lambda *_: np.array([1.0, 2.0])})
    with pytest.raises(DataError, match=r"'energy' in .* is array.* in one frame; expected a num"):
        load_dataset(tmp_path / "x.db")


def test_databases_from_any_row_on(tmp_path: Path) -> None:
    database(tmp_path / "x.db", key_value_pairs={"e": energy})
    source = open_source(tmp_path / "x.db", Request("e"))
    for start in range(4):
        blocks = list(source.blocks(start))
        found = blocks[0].energies.tolist() if blocks else []
        assert found == [-76.4, -77.4, -78.4][start:]
