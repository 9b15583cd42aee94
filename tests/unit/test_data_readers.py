"""Readers of HDF5 and extended XYZ: values, units, selection and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import h5py
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from ekd.data import load_dataset
from ekd.errors import DataError
from ekd.files import sha256
from ekd.units import HARTREE, KCAL_PER_MOL
from systems import methanol, triclinic_crystal, water, water_box
from tolerances import tolerance

# Energies and positions here are numbers without a meaning, which readers warn of.
pytestmark = pytest.mark.filterwarnings("ignore::ekd.errors.DataWarning")
CLOSE = tolerance("file").bounds
Groups = dict[str, dict[str, Any]]


def molecules(seed: int = 0) -> Groups:
    """Groups of the release layout; the energy of one CH4 and one H2O is NaN."""
    generator = np.random.default_rng(seed)

    def group(numbers: list[int], n_configs: int) -> dict[str, Any]:
        return {
            "atomic_numbers": np.array(numbers, dtype=np.uint8),
            "coordinates": generator.normal(size=(n_configs, len(numbers), 3)).astype(np.float32),
            "cc.energy": generator.normal(size=n_configs) - 40.0,
            "cc.forces": generator.normal(size=(n_configs, len(numbers), 3)),
            "dft.energy": generator.normal(size=n_configs) - 40.0,
        }

    groups = {
        "C1H4": group([6, 1, 1, 1, 1], 4),
        "H2O1": group([8, 1, 1], 3),
        "N2": group([7, 7], 1),
    }
    groups["C1H4"]["cc.energy"][1] = np.nan
    groups["H2O1"]["cc.energy"][0] = np.nan
    return groups


def write_hdf5(path: Path, groups: Groups, **attributes: str) -> Path:
    """Write groups of arrays as HDF5."""
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for name, arrays in groups.items():
            for key, array in arrays.items():
                file.create_dataset(f"{name}/{key}", data=array)
    return path


# ---------------------------------------------------------------------------------------- HDF5


def test_hdf5_equals_a_plain_loop(tmp_path: Path) -> None:
    groups = molecules()
    path = write_hdf5(tmp_path / "x.h5", groups)
    dataset = load_dataset(path, energy="cc.energy", forces="cc.forces")

    expected = [
        (name, group["atomic_numbers"], *(group[key][row] for key in keys))
        for keys in [("coordinates", "cc.energy", "cc.forces")]
        for name, group in groups.items()
        for row in range(len(group["cc.energy"]))
        if not np.isnan(group["cc.energy"][row])
    ]
    assert len(dataset) == len(expected) == 6
    assert dataset.forces is not None
    for config, (name, numbers, positions, energy, forces) in enumerate(expected):
        rows = slice(*dataset.offsets[config : config + 2])
        assert dataset.groups[config] == name
        np.testing.assert_array_equal(dataset.atomic_numbers[rows], numbers)
        np.testing.assert_array_equal(dataset.positions[rows], positions)
        np.testing.assert_allclose(dataset.energies[config], energy * HARTREE, **CLOSE)
        np.testing.assert_allclose(dataset.forces[rows], forces * HARTREE, **CLOSE)
    assert dataset.cells is None
    assert dataset.pbc is None
    for name, kind in (
        ("atomic_numbers", np.int64),
        ("offsets", np.int64),
        ("positions", np.float64),
        ("energies", np.float64),
        ("forces", np.float64),
    ):
        assert getattr(dataset, name).dtype == kind, name


def test_hdf5_provenance(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "x.h5", molecules(), level_of_theory="CCSD(T)/CBS")
    provenance = load_dataset(path, energy="cc.energy").provenance
    assert provenance.path == str(path)
    assert provenance.sha256 == sha256(path)
    assert provenance.level_of_theory == "CCSD(T)/CBS"
    assert provenance.n_dropped == 2
    plain = write_hdf5(tmp_path / "plain.h5", molecules())
    assert load_dataset(plain, energy="cc.energy").provenance.level_of_theory == "cc.energy"


def test_hdf5_group_that_lacks_the_energy_is_dropped(tmp_path: Path) -> None:
    groups = molecules()
    del groups["C1H4"]["cc.energy"]
    dataset = load_dataset(write_hdf5(tmp_path / "x.h5", groups), energy="cc.energy")
    assert set(dataset.formulas) == {"H2O", "N2"}
    assert dataset.provenance.n_dropped == 5


def test_hdf5_nested_groups(tmp_path: Path) -> None:
    groups = {f"gdb/{name}": group for name, group in molecules().items()}
    dataset = load_dataset(write_hdf5(tmp_path / "x.hdf5", groups), energy="dft.energy")
    assert len(dataset) == 8
    assert dataset.groups[0] == "gdb/C1H4"


def test_hdf5_empty_group(tmp_path: Path) -> None:
    groups = molecules()
    groups["N2"] = {
        "atomic_numbers": np.array([7, 7]),
        "coordinates": np.zeros((0, 2, 3)),
        "cc.energy": np.zeros(0),
    }
    assert len(load_dataset(write_hdf5(tmp_path / "x.h5", groups), energy="cc.energy")) == 5


def test_units_are_converted_once(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "x.h5", molecules())
    hartree = load_dataset(path, energy="cc.energy", forces="cc.forces")
    kcal = load_dataset(path, "cc.energy", "cc.forces", energy_unit="kcal/mol")
    ratio = HARTREE / KCAL_PER_MOL
    assert kcal.forces is not None
    assert hartree.forces is not None
    np.testing.assert_allclose(kcal.energies * ratio, hartree.energies, **CLOSE)
    np.testing.assert_allclose(kcal.forces * ratio, hartree.forces, **CLOSE)


def test_shipped_data(training_file: Path, test_file: Path) -> None:
    training = load_dataset(training_file, energy="ccsd(t)_ccpvdz.energy")
    assert len(training) == 3414
    assert training.elements == (1, 6, 7, 8)
    assert training.forces is None
    assert training.provenance.level_of_theory.startswith("CCSD(T)/cc-pVDZ")
    test = load_dataset(test_file, "ccsd(t)_ccpvdz.energy", "ccsd(t)_ccpvdz.forces")
    assert len(test) == 93
    assert test.forces is not None
    # forces without an outer field sum to nothing: convention and atom order are right
    net = np.add.reduceat(test.forces, test.offsets[:-1], axis=0)
    assert np.abs(net).max() < 1e-3


# -------------------------------------------------------------------------------- extended XYZ


def test_extxyz_molecules_and_periodic_cells(tmp_path: Path) -> None:
    frames = [water(), triclinic_crystal(), water_box()]
    frames[2].pbc = [True, True, False]
    forces = [np.random.default_rng(k).normal(size=(len(f), 3)) for k, f in enumerate(frames)]
    for index, frame in enumerate(frames):
        frame.calc = SinglePointCalculator(frame, energy=-100.5 - index, forces=forces[index])
    path = tmp_path / "x.extxyz"
    ase.io.write(path, frames)
    dataset = load_dataset(path, energy="energy", forces="forces")

    np.testing.assert_allclose(dataset.energies, [-100.5, -101.5, -102.5], **CLOSE)
    assert dataset.forces is not None
    # extended XYZ has eight decimals
    np.testing.assert_allclose(dataset.forces, np.concatenate(forces), rtol=0, atol=1e-8)
    for index, frame in enumerate(frames):
        read = dataset.atoms(index)
        np.testing.assert_array_equal(read.numbers, frame.numbers)
        np.testing.assert_array_equal(read.pbc, frame.pbc)
        np.testing.assert_allclose(read.positions, frame.positions, rtol=0, atol=1e-8)
        np.testing.assert_allclose(read.cell.array, frame.cell.array, rtol=0, atol=1e-8)
    assert dataset.groups.tolist() == [frame.get_chemical_formula() for frame in frames]
    assert dataset.provenance.n_dropped == 0


def test_extxyz_key_of_its_own(tmp_path: Path) -> None:
    frame = methanol()
    frame.info["ref_energy"] = -3  # stored as an integer
    frame.arrays["ref_forces"] = np.ones((len(frame), 3))
    ase.io.write(tmp_path / "x.xyz", frame, format="extxyz")
    dataset = load_dataset(tmp_path / "x.xyz", "ref_energy", "ref_forces", energy_unit="Hartree")
    assert dataset.energies.tolist() == [-3 * HARTREE]
    assert dataset.forces is not None
    np.testing.assert_array_equal(dataset.forces, np.full((6, 3), HARTREE))
    assert dataset.cells is None
    assert dataset.groups.tolist() == ["CH4O"]


def test_extxyz_frames_without_energy_are_dropped_with_their_forces(tmp_path: Path) -> None:
    frames = [water(seed) for seed in range(5)]
    for index, frame in enumerate(frames):
        if index != 1:
            frame.info["e"] = float(index) if index != 3 else np.nan
            frame.arrays["f"] = np.full((3, 3), float(index))
    ase.io.write(tmp_path / "x.xyz", frames, format="extxyz")
    dataset = load_dataset(tmp_path / "x.xyz", energy="e", forces="f")
    assert dataset.energies.tolist() == [0.0, 2.0, 4.0]
    assert dataset.provenance.n_dropped == 2
    assert dataset.forces is not None
    np.testing.assert_array_equal(dataset.forces[:, 0], np.repeat([0.0, 2.0, 4.0], 3))


# ------------------------------------------------------------------------------------ refusals


def refusal(path: Path, *arguments: Any, **keywords: Any) -> str:
    """The error message for the file."""
    with pytest.raises(DataError) as error:
        load_dataset(path, *arguments, **keywords)
    assert "\n" not in str(error.value)
    return error.value.message


def test_missing_file(tmp_path: Path) -> None:
    assert "absent.h5' not found; check the path" in refusal(tmp_path / "absent.h5", "e")


def test_unknown_suffix(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    message = refusal(tmp_path / "x.csv", "e")
    assert "suffix '.csv', which neither ekd nor ASE recognizes; expected HDF5" in message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.h5", "x.h5' cannot be read as HDF5"),
        ("x.xyz", "neither this nor that'; expected the number of atoms of frame 1"),
    ],
)
def test_damaged_file(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / name).write_bytes(b"\x89 neither this nor that")
    assert expected in refusal(tmp_path / name, "e")


def test_truncated_hdf5(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "x.h5", molecules())
    path.write_bytes(path.read_bytes()[:-2000])
    assert "cannot be read as HDF5" in refusal(path, "cc.energy")


def test_truncated_extxyz(tmp_path: Path) -> None:
    path = tmp_path / "x.xyz"
    path.write_text("3\nProperties=species:S:1:pos:R:3 energy=1\nH 0 0 0\n")
    message = refusal(path, "energy")
    assert "frame 1 of" in message
    assert "has 1 of 3 atoms before the end of the file: it is cut off" in message


def test_unknown_unit(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "x.h5", molecules())
    assert "unknown energy unit 'Ry'" in refusal(path, "cc.energy", energy_unit="Ry")


def test_unknown_key_lists_the_keys_of_the_file(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "x.h5", molecules())
    expected = "has no key 'energy'; its keys are: cc.energy, cc.forces, dft.energy"
    assert refusal(path, "energy").endswith(expected)
    assert "has no key 'mp2.forces'" in refusal(path, "cc.energy", "mp2.forces")

    frame = water()
    frame.info["e"] = 1.0
    frame.arrays["f"] = np.zeros((3, 3))
    ase.io.write(tmp_path / "x.xyz", frame, format="extxyz")
    assert refusal(tmp_path / "x.xyz", "energy").endswith("its keys are: e")
    assert refusal(tmp_path / "x.xyz", "e", "forces").endswith("its keys are: f")


def test_all_energies_nan(tmp_path: Path) -> None:
    groups = molecules()
    for group in groups.values():
        group["cc.energy"][:] = np.nan
    path = write_hdf5(tmp_path / "x.h5", groups)
    assert "all 8 values of 'cc.energy'" in refusal(path, "cc.energy")

    frame = water()
    frame.info["e"] = np.nan
    ase.io.write(tmp_path / "x.xyz", [frame, frame], format="extxyz")
    assert "all 2 values of 'e'" in refusal(tmp_path / "x.xyz", "e")


def test_no_configurations(tmp_path: Path) -> None:
    empty = write_hdf5(tmp_path / "x.h5", {})
    assert "has no group with 'coordinates'; expected one group per formula" in refusal(empty, "e")
    (tmp_path / "x.xyz").write_text("")
    assert "has no configurations" in refusal(tmp_path / "x.xyz", "e")


def test_hdf5_without_atomic_numbers(tmp_path: Path) -> None:
    groups = molecules()
    del groups["H2O1"]["atomic_numbers"]
    message = refusal(write_hdf5(tmp_path / "x.h5", groups), "cc.energy")
    assert "group 'H2O1' of" in message
    assert "has no 'atomic_numbers', only cc.energy, cc.forces, coordinates" in message


@pytest.mark.parametrize(
    ("key", "shape", "expected"),
    [
        ("cc.energy", (2,), "(3,)"),
        ("cc.energy", (3, 2), "(3,)"),
        ("cc.forces", (3, 3, 2), "(3, 3, 3)"),
        ("coordinates", (3, 4, 3), "(m, 3, 3)"),
        ("coordinates", (3, 9), "(m, 3, 3)"),
        ("atomic_numbers", (2, 3), "(3, 3)"),
        ("atomic_numbers", (3, 3, 1), "(n,) or (m, n)"),
    ],
)
def test_hdf5_shapes_that_disagree(
    tmp_path: Path, key: str, shape: tuple[int, ...], expected: str
) -> None:
    groups = molecules()
    groups["H2O1"][key] = np.ones(shape)
    message = refusal(write_hdf5(tmp_path / "x.h5", groups), "cc.energy", "cc.forces")
    assert "of H2O1 in" in message
    assert message.endswith(f"expected {expected}")


def test_forces_that_are_not_full(tmp_path: Path) -> None:
    groups = molecules()
    groups["C1H4"]["cc.forces"][1:3] = np.nan  # row 1 has no energy either: dropped, not counted
    del groups["N2"]["cc.forces"]
    message = refusal(write_hdf5(tmp_path / "x.h5", groups), "cc.energy", "cc.forces")
    assert "2 of 6 configurations with an energy" in message
    assert "have no finite 'cc.forces'" in message

    frames = [water(0), water(1)]
    for frame in frames:
        frame.info["e"] = 1.0
    frames[0].arrays["f"] = np.zeros((3, 3))
    ase.io.write(tmp_path / "x.xyz", frames, format="extxyz")
    assert "1 of 2 configurations" in refusal(tmp_path / "x.xyz", "e", "f")


def test_extxyz_values_of_a_wrong_kind(tmp_path: Path) -> None:
    frame = water()
    frame.info["e"] = "low"
    frame.info["e3"] = [1.0, 2.0]
    frame.arrays["f"] = np.zeros((3, 2))
    frame.info["good"] = 1.0
    ase.io.write(tmp_path / "x.xyz", frame, format="extxyz")
    assert "is 'low' in one frame; expected a number" in refusal(tmp_path / "x.xyz", "e")
    assert "in one frame; expected a number" in refusal(tmp_path / "x.xyz", "e3")
    assert refusal(tmp_path / "x.xyz", "good", "f").endswith("shape (3, 2); expected (3, 3)")


def test_impossible_structures(tmp_path: Path) -> None:
    groups = molecules()
    groups["N2"]["coordinates"][0, 0, 0] = np.inf
    assert "positions that are not finite" in refusal(
        write_hdf5(tmp_path / "inf.h5", groups), "cc.energy"
    )
    groups = molecules()
    groups["N2"]["atomic_numbers"][0] = 0
    assert "an atom of atomic number 0; expected 1 to 118" in refusal(
        write_hdf5(tmp_path / "zero.h5", groups), "cc.energy"
    )
    groups = {"nothing": {"atomic_numbers": np.zeros(0), "coordinates": np.zeros((1, 0, 3))}}
    groups["nothing"]["cc.energy"] = np.zeros(1)
    assert "configuration without atoms" in refusal(
        write_hdf5(tmp_path / "void.h5", groups), "cc.energy"
    )
    frame = '3\nProperties=species:S:1:pos:R:3 energy=1 pbc="T T T"\n'
    (tmp_path / "x.xyz").write_text(frame + "O 0 0 0\nH 1 0 0\nH 0 1 0\n")
    assert "1 periodic configurations whose lattice vectors" in refusal(
        tmp_path / "x.xyz", "energy"
    )
