"""Readers of common layouts: values and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import h5py
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from ekd.data import Dataset, load_dataset
from ekd.data.readers import Request, hdf5_groups, join, open_source, source
from ekd.errors import DataError
from ekd.units import BOHR, HARTREE, KCAL_PER_MOL
from systems import methanol, triclinic_crystal, water
from tolerances import tolerance

# Energies and positions here are numbers without a meaning, which readers warn of.
pytestmark = pytest.mark.filterwarnings("ignore::ekd.errors.DataWarning")
CLOSE = tolerance("file").bounds


def refusal(path: Path, *arguments: Any, **keywords: Any) -> str:
    """The error message for the file."""
    with pytest.raises(DataError) as error:
        load_dataset(path, *arguments, **keywords)
    assert "\n" not in str(error.value)
    return error.value.message


def check_every_start(path: Path, request: Request) -> None:
    """Reading from any configuration with any block size gives the rest of the source."""
    whole = join(list(open_source(path, request).blocks()))
    for start in range(whole.n_read):
        blocks = list(open_source(path, request).blocks(start))
        assert sum(block.n_read for block in blocks) == whole.n_read - start
        rest = join(blocks)
        n_configs, n_atoms = len(rest), len(rest.positions)
        for name in ("sizes", "energies", "groups", "cells", "pbc"):
            if (array := getattr(rest, name)) is not None:
                expected = getattr(whole, name)[len(whole) - n_configs :]
                np.testing.assert_array_equal(array, expected)
        for name in ("atomic_numbers", "positions", "forces"):
            if (array := getattr(rest, name)) is not None:
                expected = getattr(whole, name)[len(whole.positions) - n_atoms :]
                np.testing.assert_array_equal(array, expected)


# ------------------------------------------------------------------------------ ANI-1x, ANI-1ccx


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Types and keys of the release: several energies, forces, charges, dipoles, and gaps."""
    generator = np.random.default_rng(0)
    path = tmp_path / "ani1x-release.h5"
    with h5py.File(path, "w") as file:
        for name, numbers, m in (("C1H4", [6, 1, 1, 1, 1], 7), ("H2O1", [8, 1, 1], 4)):
            n = len(numbers)
            group = file.create_group(name)
            group["atomic_numbers"] = np.array(numbers, dtype=np.uint8)
            group["coordinates"] = generator.normal(size=(m, n, 3)).astype(np.float32)
            for key in ("ccsd(t)_cbs.energy", "hf_dz.energy", "wb97x_dz.energy"):
                group[key] = generator.normal(size=m) - 40.0
            group["wb97x_dz.forces"] = generator.normal(size=(m, n, 3)).astype(np.float32)
            group["wb97x_dz.dipole"] = generator.normal(size=(m, 3)).astype(np.float32)
            group["wb97x_dz.cm5_charges"] = np.full((m, n), np.nan, dtype=np.float32)
            group["ccsd(t)_cbs.energy"][1::2] = np.nan
        file["C1H4/wb97x_dz.forces"][3] = np.nan
    return path


def test_release_drops_and_counts_what_was_not_computed(release: Path) -> None:
    dataset = load_dataset(release, energy="ccsd(t)_cbs.energy")
    assert dataset.provenance.n_dropped == 5
    with h5py.File(release) as file:
        groups = [file["C1H4"], file["H2O1"]]
        positions = [group["coordinates"][::2].reshape(-1, 3) for group in groups]
        energies = [group["ccsd(t)_cbs.energy"][::2] for group in groups]
    np.testing.assert_array_equal(dataset.positions, np.concatenate(positions))
    np.testing.assert_allclose(dataset.energies, np.concatenate(energies) * HARTREE, **CLOSE)
    assert dataset.groups.tolist() == ["C1H4"] * 4 + ["H2O1"] * 2


def test_release_gaps_of_other_properties_do_not_matter(release: Path) -> None:
    """All charges are NaN, and a force without this energy; neither is requested."""
    dataset = load_dataset(release, "ccsd(t)_cbs.energy", "wb97x_dz.forces")
    assert len(dataset) == 6
    assert np.isfinite(dataset.forces).all()
    assert "1 of 11 configurations with an energy" in refusal(
        release, "wb97x_dz.energy", "wb97x_dz.forces"
    )


def test_release_asks_for_the_key(release: Path) -> None:
    message = refusal(release)
    assert message.endswith(": ccsd(t)_cbs.energy, hf_dz.energy, wb97x_dz.energy")


def test_release_in_blocks_and_from_any_configuration(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "ATOMS_PER_BLOCK", 10)
    check_every_start(release, Request("ccsd(t)_cbs.energy", "wb97x_dz.forces"))


def test_what_is_not_kept_is_not_read(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(release, "a") as file:
        file["C1H4/ccsd(t)_cbs.energy"][:] = np.nan
    read: list[str] = []
    original = h5py.Dataset.__getitem__

    def record(self: h5py.Dataset, key: Any, **options: Any) -> Any:
        read.append(self.name)
        return original(self, key, **options)

    monkeypatch.setattr(hdf5_groups.h5py.Dataset, "__getitem__", record)
    assert len(load_dataset(release, "ccsd(t)_cbs.energy")) == 2
    assert "/H2O1/coordinates" in read
    assert "/C1H4/coordinates" not in read


# ------------------------------------------------------------------------- pyanitools, COMP6, 2x


SMILES = (np.array([b"[", b"C", b"]"], "S1"), "O")  # characters, and text


@pytest.fixture
def comp6(tmp_path: Path) -> Path:
    """Nested groups; symbols as bytes of fixed length and as text; forces are gradients."""
    path = tmp_path / "gdb11.h5"
    with h5py.File(path, "w") as file:
        for index, (symbols, kind) in enumerate(
            [("CHHHH", "S2"), ("OHH", h5py.string_dtype()), ("NN", "S1")]
        ):
            group = file.create_group(f"gdb11_s01/gdb11_s01-{index}")
            n = len(symbols)
            group.create_dataset(
                "species", data=[letter.encode() for letter in symbols], dtype=kind
            )
            group["coordinates"] = np.arange(2.0 * n * 3).reshape(2, n, 3).astype(np.float32)
            group["coordinatesHE"] = np.zeros((5, n, 3), dtype=np.float32)
            group["energies"] = [-40.0 - index, -40.5 - index]
            group["energiesHE"] = np.zeros(5)
            group["forces"] = np.full((2, n, 3), 0.5 + index)
            if index != 2:
                group.create_dataset("smiles", data=SMILES[index])
    return path


def test_pyanitools(comp6: Path) -> None:
    dataset = load_dataset(comp6, forces="forces")
    assert dataset.formulas.tolist() == ["CH4", "CH4", "H2O", "H2O", "N2", "N2"]
    assert dataset.atomic_numbers[:5].tolist() == [6, 1, 1, 1, 1]
    names = ["gdb11_s01/gdb11_s01-0 [C]", "gdb11_s01/gdb11_s01-1 O", "gdb11_s01/gdb11_s01-2"]
    assert dataset.groups[::2].tolist() == names
    np.testing.assert_allclose(dataset.energies[:2], [-40.0 * HARTREE, -40.5 * HARTREE], **CLOSE)
    np.testing.assert_array_equal(dataset.positions[10:13].ravel(), np.arange(9.0))
    np.testing.assert_allclose(dataset.forces[-1], 2.5 * HARTREE, **CLOSE)
    assert dataset.provenance.level_of_theory == "energies"


def test_smiles_of_every_configuration_do_not_name_the_group(comp6: Path) -> None:
    with h5py.File(comp6, "a") as file:
        file["gdb11_s01/gdb11_s01-2/smiles"] = [b"N#N", b"N#N"]
    assert load_dataset(comp6).groups[-1] == "gdb11_s01/gdb11_s01-2"


def test_gradients_turn_their_sign(comp6: Path) -> None:
    forces = load_dataset(comp6, forces="forces").forces
    gradients = load_dataset(comp6, forces="forces", gradients=True).forces
    np.testing.assert_array_equal(gradients, -forces)


def test_successors_of_pyanitools_have_atomic_numbers_for_every_configuration(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ani2x.h5"
    with h5py.File(path, "w") as file:
        file["003/species"] = [[8, 1, 1], [16, 1, 1]]
        file["003/coordinates"] = np.arange(18.0).reshape(2, 3, 3)
        file["003/energies"] = [np.nan, -398.0]
    dataset = load_dataset(path)
    assert dataset.formulas.tolist() == ["H2S"]
    np.testing.assert_array_equal(dataset.positions.ravel(), np.arange(9.0, 18.0))
    check_every_start(path, Request())


def test_pyanitools_in_blocks(comp6: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "ATOMS_PER_BLOCK", 3)
    check_every_start(comp6, Request(forces="forces"))


@pytest.mark.parametrize(
    ("species", "expected"),
    [
        ([b"C", b"H", b"Q"], "'species' of m in .*'Q' is not a chemical symbol"),
        ([[b"C"], [b"H"], [b"H"]], r"shape \(4, 3, 3\); expected \(m, 1, 3\)"),
        ([[[b"C"]]], r"shape \(1, 1, 1\); expected \(n,\) or \(m, n\)"),
        ([1.5, 1, 1], "'species' of m in .* are not whole numbers"),
        ([True, True, True], "is of type bool; expected atomic numbers or chemical symbols"),
        (np.ones((2, 3), dtype=int), r"shape \(2, 3\); expected \(4, 3\)"),
        ([1, 1, 0], "atomic number 0; expected 1 to 118"),
        ([b"C", b"H"], r"shape \(4, 3, 3\); expected \(m, 2, 3\)"),
    ],
)
def test_pyanitools_refused(tmp_path: Path, species: Any, expected: str) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["m/species"] = species
        file["m/coordinates"] = np.ones((4, 3, 3))
        file["m/energies"] = np.ones(4)
    with pytest.raises(DataError, match=expected):
        load_dataset(tmp_path / "x.h5")


def test_pyanitools_without_species(comp6: Path) -> None:
    with h5py.File(comp6, "a") as file:
        del file["gdb11_s01/gdb11_s01-2/species"]
    assert "gdb11_s01-2' of" in refusal(comp6)
    assert "has no 'species', only coordinates" in refusal(comp6)
    assert "has no key 'E'; its keys are: coordinatesHE" in refusal(comp6, "E")


# ----------------------------------------------------------------------------------------- sGDML


def archive(path: Path, **changes: Any) -> Path:
    """An archive as on sgdml.org with three configurations of water; None omits an array."""
    generator = np.random.default_rng(0)
    arrays = {
        "R": generator.normal(size=(3, 3, 3)),
        "z": np.array([8, 1, 1], dtype=np.uint8),
        "E": np.array([[-47.0], [np.nan], [-48.0]]),
        "F": generator.normal(size=(3, 3, 3)),
        "r_unit": np.array("Ang"),
        "e_unit": np.array("kcal/mol"),
        "theory": np.array(b"CCSD(T)"),
        "name": np.array("water"),
        "md5": np.array("0" * 32),
        "perms": np.array([None], dtype=object),
    } | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_sgdml(tmp_path: Path) -> None:
    path = archive(tmp_path / "water.npz")
    dataset = load_dataset(path, forces="F")
    assert dataset.formulas.tolist() == dataset.groups.tolist() == ["H2O", "H2O"]
    np.testing.assert_allclose(dataset.energies, [-47 * KCAL_PER_MOL, -48 * KCAL_PER_MOL], **CLOSE)
    with np.load(path, allow_pickle=True) as arrays:
        np.testing.assert_array_equal(dataset.positions, arrays["R"][[0, 2]].reshape(-1, 3))
        expected = arrays["F"][[0, 2]].reshape(-1, 3) * KCAL_PER_MOL
    np.testing.assert_allclose(dataset.forces, expected, **CLOSE)
    assert dataset.provenance.level_of_theory == "CCSD(T)"
    assert dataset.provenance.n_dropped == 1
    assert dataset.cells is None
    check_every_start(path, Request(forces="F"))


def test_sgdml_units_and_lattice(tmp_path: Path) -> None:
    """Lattice vectors are columns in this format; a given unit must match the file."""
    columns = np.array([[9.0, 1.0, 0.0], [0.0, 8.0, 0.5], [0.0, 0.0, 7.0]])
    path = archive(tmp_path / "x.npz", r_unit="bohr", e_unit=b"Ha", lattice=columns)
    dataset = load_dataset(path, forces="F")
    assert load_dataset(path, energy_unit="Eh", length_unit="a0").fingerprint == dataset.fingerprint
    message = refusal(path, energy_unit="eV")
    assert "is in Ha according to the file, but energy_unit is 'eV'; leave energy_unit" in message
    other = archive(tmp_path / "y.npz", r_unit="Ang", e_unit="eV", lattice=columns)
    plain = load_dataset(other, forces="F")
    assert dataset.cells is not None
    assert dataset.forces is not None
    assert dataset.pbc.all()
    np.testing.assert_allclose(dataset.cells[0], columns.T * BOHR, **CLOSE)
    np.testing.assert_allclose(dataset.positions, plain.positions * BOHR, **CLOSE)
    np.testing.assert_allclose(dataset.energies, plain.energies * HARTREE, **CLOSE)
    np.testing.assert_allclose(dataset.forces, plain.forces * (HARTREE / BOHR), **CLOSE)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"e_unit": None}, "has no 'e_unit'; give energy_unit .archives of MD17 and rMD17 are in"),
        ({"e_unit": "erg"}, "unknown energy unit 'erg'"),
        ({"r_unit": "inch"}, "unknown unit of length 'inch'; use one of Å, .*Bohr"),
        ({"z": None}, "has no key 'z'; its keys are: E"),
        ({"F": None}, "has no key 'F'"),
        ({"F": np.zeros((3, 3, 2))}, r"'F' of the archive in .*\(3, 3, 2\); expected \(3, 3, 3\)"),
        ({"E": np.zeros(2)}, r"'E' of the archive in .* \(2,\); expected \(3,\)"),
        ({"R": np.zeros((3, 4, 3))}, r"\(3, 4, 3\); expected \(m, 3, 3\)"),
        ({"z": np.array(["O", "H", "Q"])}, "'z' of the archive in .*'Q' is not a chemical symbol"),
        ({"z": np.full((2, 3), 1)}, r"'z' of the archive in .* \(2, 3\); expected \(3, 3\)"),
        ({"R": np.full((3, 3, 3), "a")}, "'R' in .* is of type <U1; expected numbers"),
        ({"pbc": True}, "the archive in .* is periodic by 'pbc', but has no lattice vectors"),
        ({"cell": np.eye(3), "lattice": np.eye(3)}, "has 'cell' and 'lattice'; name the one"),
        ({"z": np.array([8, 1, 200])}, "atomic number 200"),
        ({"lattice": np.eye(2)}, r"'lattice' of the archive in .* expected \(3, 3\)"),
        ({"E": np.full(3, np.nan)}, "all 3 values of 'E' in .* are missing or NaN"),
    ],
)
def test_sgdml_refused(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        load_dataset(archive(tmp_path / "x.npz", **changes), forces="F")


def test_archives_of_rmd17(tmp_path: Path) -> None:
    """These archives have other names and no unit, which is not guessed."""
    arrays = {
        "nuclear_charges": np.array([8, 1, 1], dtype=np.uint8),
        "coords": np.arange(18.0).reshape(2, 3, 3),
        "energies": np.array([[-47.0], [-48.0]]),
        "forces": np.ones((2, 3, 3)),
        "old_indices": np.arange(2.0),
        "old_energies": np.zeros(2),
        "old_forces": np.zeros((2, 3, 3)),
    }
    np.savez(tmp_path / "x.npz", **arrays)
    assert "give energy_unit" in refusal(tmp_path / "x.npz")
    dataset = load_dataset(tmp_path / "x.npz", forces="forces", energy_unit="kcal/mol")
    assert dataset.formulas.tolist() == dataset.groups.tolist() == ["H2O", "H2O"]
    np.testing.assert_array_equal(dataset.positions.ravel(), np.arange(18.0))
    np.testing.assert_allclose(dataset.energies, [-47 * KCAL_PER_MOL, -48 * KCAL_PER_MOL], **CLOSE)
    np.testing.assert_allclose(dataset.forces, KCAL_PER_MOL, **CLOSE)
    check_every_start(tmp_path / "x.npz", Request(forces="forces", energy_unit="eV"))


@pytest.mark.parametrize("kind", ["U", "S"])
def test_archive_of_isomers(tmp_path: Path, kind: str) -> None:
    """Every configuration has its own symbols, in any order."""
    symbols = np.array([["O", "H", "H"], ["H", "O", "H"], ["S", "H", "H"]], dtype=kind)
    path = archive(tmp_path / "x.npz", z=None, symbols=symbols)
    dataset = load_dataset(path)
    assert dataset.atomic_numbers.tolist() == [8, 1, 1, 16, 1, 1]
    assert dataset.groups.tolist() == ["H2O", "H2S"]


def test_cells_of_archives(tmp_path: Path) -> None:
    """Every configuration has a cell; its vectors are rows, except in ``lattice``."""
    cells = np.array([triclinic_crystal(seed).cell.array for seed in range(3)])
    one = load_dataset(archive(tmp_path / "x.npz", lattice=np.swapaxes(cells, 1, 2)))
    other = load_dataset(archive(tmp_path / "y.npz", cells=cells, pbc=[True, True, False]))
    np.testing.assert_array_equal(one.cells, cells[[0, 2]])
    np.testing.assert_array_equal(other.cells, cells[[0, 2]])
    np.testing.assert_array_equal(other.pbc, [[True, True, False]] * 2)
    assert load_dataset(archive(tmp_path / "z.npz", cell=np.zeros((3, 3)))).cells is None


def test_keys_of_archives(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", R=None, xyz=np.ones((3, 3, 3)), z=None, q=[8, 1, 1])
    assert "has no key 'R'; its keys are: E, F" in refusal(path)
    keys = {"positions": "xyz", "numbers": "q"}
    assert load_dataset(path, keys=keys).formulas.tolist() == ["H2O", "H2O"]
    assert "has no key 'xy'" in refusal(path, keys=keys | {"positions": "xy"})
    message = refusal(path, keys={"coordinates": "xyz"})
    assert "keys has an entry 'coordinates'; expected positions, numbers, cell, pbc" in message


def test_damaged_archive(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK neither this nor that")
    assert "x.npz' cannot be read as an npz archive" in refusal(tmp_path / "x.npz")


# ------------------------------------------------------------------------------- formats of ASE


def frames(n: int = 5) -> list[Any]:
    """Molecules and a crystal with energies and forces of a calculator."""
    made = [water(0), methanol(1), triclinic_crystal(2), water(3), methanol(4)][:n]
    for index, frame in enumerate(made):
        forces = np.random.default_rng(index).normal(size=(len(frame), 3))
        frame.calc = SinglePointCalculator(frame, energy=-10.0 - index, forces=forces)
    return made


@pytest.mark.parametrize("suffix", [".traj", ".db", ".json", ".extxyz"])
def test_formats_of_ase(tmp_path: Path, suffix: str) -> None:
    expected = frames()
    path = tmp_path / f"x{suffix}"
    if suffix in (".db", ".json"):
        for frame in expected:
            ase.io.write(path, frame, append=path.exists())
    else:
        ase.io.write(path, expected)
    dataset = load_dataset(path, forces="forces")
    np.testing.assert_allclose(dataset.energies, [-10.0, -11.0, -12.0, -13.0, -14.0], **CLOSE)
    for index, frame in enumerate(expected):
        read = dataset.atoms(index)
        np.testing.assert_array_equal(read.numbers, frame.numbers)
        np.testing.assert_array_equal(read.pbc, frame.pbc)
        np.testing.assert_allclose(read.positions, frame.positions, rtol=0, atol=1e-8)
        rows = slice(*dataset.offsets[index : index + 2])
        np.testing.assert_allclose(dataset.forces[rows], frame.get_forces(), rtol=0, atol=1e-8)
    check_every_start(path, Request(forces="forces"))


def test_format_of_one_frame_by_name(tmp_path: Path) -> None:
    """The suffix is unknown, and the given format has only one frame, so it accepts no index."""
    atoms = triclinic_crystal()
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0)
    path = tmp_path / "structure.out"
    path.write_text("")
    ase.io.write(path, atoms, format="json")
    dataset = load_dataset(path, format="json", length_unit="nm")
    np.testing.assert_allclose(dataset.positions, 10 * atoms.positions, **CLOSE)
    np.testing.assert_allclose(dataset.cells[0], 10 * atoms.cell.array, **CLOSE)
    ase.io.write(tmp_path / "POSCAR", atoms, format="vasp")
    assert "has no key 'energy'; its keys are: none" in refusal(tmp_path / "POSCAR")


def test_keys_are_not_for_formats_of_ase(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "x.xyz", water())
    assert "keys are for HDF5" in refusal(tmp_path / "x.xyz", keys={"positions": "pos"})


def test_format_that_ase_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "x.xyz").write_text("")
    message = refusal(tmp_path / "x.xyz", format="exyz")
    assert message == "ASE has no format 'exyz'; 'ase info --formats' lists what it has"


def test_parser_of_ase_that_fails(tmp_path: Path) -> None:
    (tmp_path / "x.traj").write_bytes(b"- of Ulmnonsense")
    assert "x.traj' cannot be read as 'traj': " in refusal(tmp_path / "x.traj")


def test_folder(tmp_path: Path) -> None:
    assert "is a folder; name the files in it" in refusal(tmp_path)


# ------------------------------------------------------------------------------- all formats


def test_every_format_gives_the_same_dataset(tmp_path: Path) -> None:
    """The same configurations have the same fingerprint with every reader."""
    positions = np.random.default_rng(0).normal(size=(4, 3, 3)).round(8)
    energies = np.array([-2.0, -2.5, -2.25, -3.0])
    with h5py.File(tmp_path / "release.h5", "w") as file:
        file["H2O"] = group = file.create_group("x")
        group["atomic_numbers"] = [8, 1, 1]
        group["coordinates"], group["e"] = positions, energies
        del file["x"]
    with h5py.File(tmp_path / "pyanitools.h5", "w") as file:
        file["H2O/species"] = [b"O", b"H", b"H"]
        file["H2O/coordinates"], file["H2O/energies"] = positions, energies
    np.savez(tmp_path / "sgdml.npz", R=positions, z=[8, 1, 1], E=energies, e_unit="eV")
    atoms = [ase.Atoms("OH2", positions=one, info={"e": e}) for one, e in zip(positions, energies)]  # noqa: B905
    ase.io.write(tmp_path / "x.xyz", atoms, format="extxyz")
    datasets: list[Dataset] = [
        load_dataset(tmp_path / "release.h5", "e", energy_unit="eV"),
        load_dataset(tmp_path / "pyanitools.h5", energy_unit="eV"),
        load_dataset(tmp_path / "sgdml.npz"),
        load_dataset(tmp_path / "x.xyz", "e"),
    ]
    assert len({dataset.fingerprint for dataset in datasets}) == 1
    assert all((dataset.groups == "H2O").all() for dataset in datasets)


def test_stream_needs_a_prepared_file(release: Path) -> None:
    message = refusal(release, "hf_dz.energy", stream=True)
    assert "cannot be streamed as it is; run 'ekd prepare" in message
