"""HDF5 data in addition to positions and energies: cells, units, links, custom keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

import ekd
from ekd.data import load_dataset
from ekd.data.readers import Request, open_source
from ekd.errors import DataError
from ekd.evaluation import CurveConfig
from ekd.evaluation.curves import coordinates
from ekd.units import BOHR, HARTREE, KJ_PER_MOL
from systems import triclinic_crystal
from tolerances import tolerance

# Energies and positions here are numbers without a meaning, which readers warn of.
pytestmark = pytest.mark.filterwarnings("ignore::ekd.errors.DataWarning")
CLOSE = tolerance("file").bounds

ATOMS = {"atomic_numbers": [13, 13], "species": [b"Al", b"Al"]}


def write(path: Path, groups: dict[str, dict[str, Any]], numbers: str = "atomic_numbers") -> Path:
    """Groups of four configurations of two atoms, with an energy in eV and given changes.

    A value is an array, or an array and its unit; None omits it.
    """
    with h5py.File(path, "w") as file:
        for index, (name, given) in enumerate(groups.items()):
            arrays = {
                numbers: ATOMS[numbers],
                "coordinates": np.random.default_rng(index).normal(size=(4, 2, 3)),
                "e": np.arange(4.0) - index,
            } | given
            for key, value in arrays.items():
                array, unit = value if isinstance(value, tuple) else (value, None)
                if array is not None:
                    dataset = file.create_dataset(f"{name}/{key}", data=array)
                    if unit is not None:
                        dataset.attrs["units"] = unit
    return path


def refusal(path: Path, **keywords: Any) -> str:
    with pytest.raises(DataError) as error:
        load_dataset(path, energy="e", **keywords)
    assert "\n" not in str(error.value)
    return error.value.message


# --------------------------------------------------------------------------------------- cells

CELLS = np.array([triclinic_crystal(seed).cell.array for seed in range(4)])
SQUARE = np.array([3.0, 4.0, 5.0])


@pytest.mark.parametrize("numbers", ["atomic_numbers", "species"])
@pytest.mark.parametrize(
    ("key", "array", "expected"),
    [
        ("cell", CELLS, CELLS),
        ("cells", CELLS[0], CELLS[[0] * 4]),
        ("lattice", CELLS[:1], CELLS[[0] * 4]),
        ("Lattice", CELLS.reshape(4, 9), CELLS),
        ("lattice_vectors", CELLS[0].ravel(), CELLS[[0] * 4]),
        ("box", SQUARE, [np.diag(SQUARE)] * 4),
        ("box_vectors", SQUARE * np.ones((4, 3)), [np.diag(SQUARE)] * 4),
    ],
)
def test_cells(tmp_path: Path, numbers: str, key: str, array: Any, expected: Any) -> None:
    """Cells of any usual name and shape; without pbc they are periodic in all directions."""
    path = write(tmp_path / "x.h5", {"Al": {key: array}}, numbers)
    dataset = load_dataset(path, energy="e", energy_unit="eV")
    assert dataset.pbc is not None
    assert dataset.pbc.all()
    np.testing.assert_array_equal(dataset.cells, expected)


@pytest.mark.parametrize("numbers", ["atomic_numbers", "species"])
def test_nearest_pairs_are_those_of_the_crystal(tmp_path: Path, numbers: str) -> None:
    """Twelve neighbors of each of the four atoms of a cubic cell of aluminum."""
    crystal = bulk("Al", cubic=True)
    aluminium = {
        numbers: ATOMS[numbers] * 2,
        "coordinates": crystal.positions[None],
        "e": [0.0],
        "cell": crystal.cell.array[None],
    }
    path = write(tmp_path / "x.h5", {"Al4": aluminium}, numbers)
    atoms = load_dataset(path, energy="e").atoms(0)
    assert len(neighbor_list("i", atoms, 3.2)) == 48


@pytest.mark.parametrize(
    ("pbc", "expected"),
    [
        (True, [[1, 1, 1]] * 4),
        (np.array([1]), [[1, 1, 1]] * 4),
        (np.array([1, 0, 1]), [[1, 0, 1]] * 4),
        (np.eye(4, 3), np.eye(4, 3)),
        (np.array([[True], [False], [True], [False]]), [[1, 1, 1], [0, 0, 0]] * 2),
    ],
)
def test_directions(tmp_path: Path, pbc: Any, expected: Any) -> None:
    path = write(tmp_path / "x.h5", {"Al": {"cell": CELLS, "pbc": pbc}})
    dataset = load_dataset(path, energy="e")
    assert dataset.pbc is not None
    np.testing.assert_array_equal(dataset.pbc, expected)


def test_clusters_beside_crystals(tmp_path: Path) -> None:
    """Clusters have a zero cell, no cell, or pbc = false."""
    some = CELLS * np.array([1, 0, 1, 0])[:, None, None]
    groups = {
        "a": {"cell": some},
        "b": {},
        "c": {"pbc": False},
        "d": {"cell": CELLS, "pbc": np.zeros((4, 3), bool)},
        "e": {"cell": CELLS[0]},
        "f": {"cellpar": np.ones((4, 6)), "pbc": np.zeros(3)},
    }
    dataset = load_dataset(write(tmp_path / "x.h5", groups), energy="e")
    assert dataset.pbc is not None
    assert dataset.cells is not None
    assert (
        dataset.pbc.all(axis=1).tolist()
        == [True, False] * 2 + [False] * 12 + [True] * 4 + [False] * 4
    )
    np.testing.assert_array_equal(dataset.cells[:4], some)
    path = write(tmp_path / "y.h5", {name: groups[name] for name in "bcdf"})
    assert load_dataset(path, energy="e").cells is None


def test_cell_in_attributes_of_the_group(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"Al": {}})
    with h5py.File(path, "a") as file:
        file["Al"].attrs["cell"] = CELLS[0]
        file["Al"].attrs["pbc"] = [True, False, True]
    dataset = load_dataset(path, energy="e")
    np.testing.assert_array_equal(dataset.cells, CELLS[[0] * 4])
    np.testing.assert_array_equal(dataset.pbc, [[True, False, True]] * 4)


@pytest.mark.parametrize("place", ["/", "a"])
@pytest.mark.parametrize("key", ["cell", "pbc", "lattice_parameters"])
def test_cells_above_the_groups(tmp_path: Path, place: str, key: str) -> None:
    """Such cells are not read, and the groups below are not treated as clusters."""
    path = write(tmp_path / "x.h5", {"a/m": {}, "a/n": {}})
    with h5py.File(path, "a") as file:
        file[place].attrs[key] = np.zeros(3)
    assert load_dataset(path, energy="e").cells is None
    with h5py.File(path, "a") as file:
        file[place].attrs[key] = np.ones(3)
    message = refusal(path)
    where = "the root" if place == "/" else "a"
    assert f"'{key}' in '{path}' is in {where}, above the group 'a/m'" in message
    with h5py.File(path, "a") as file:
        file["a/m/pbc"] = file["a/n/pbc"] = False
    assert load_dataset(path, energy="e").cells is None
    path = write(tmp_path / "y.h5", {f"{key}/m": {}})
    assert load_dataset(path, energy="e").cells is None  # names of groups have no meaning


def test_cells_of_what_is_kept(tmp_path: Path) -> None:
    energies = np.array([np.nan, 1.0, np.nan, 2.0])
    cells = CELLS.copy()
    cells[0] = np.nan
    path = write(tmp_path / "x.h5", {"Al": {"cell": cells, "e": energies}})
    np.testing.assert_array_equal(load_dataset(path, energy="e").cells, CELLS[[1, 3]])
    starts = [open_source(path, Request("e")).blocks(start) for start in range(3)]
    for blocks, expected in zip(starts, ([1, 3], [1, 3], [3]), strict=True):
        (block,) = blocks
        np.testing.assert_array_equal(block.cells, CELLS[expected])


def test_prepared_crystals_are_periodic(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"Al": {"lattice": CELLS}, "Al2": {}})
    summary = ekd.prepare_dataset(path, tmp_path / "y.h5", energy="e", progress=False)
    assert summary.n_periodic == 4
    np.testing.assert_array_equal(load_dataset(tmp_path / "y.h5").cells[:4], CELLS)  # type: ignore[index]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"cell": CELLS[:3]}, r"'cell' of Al in .* \(3, 3, 3\); expected \(3, 3\) or \(4, 3, 3\)"),
        ({"cell": np.ones((4, 6))}, r"\(4, 6\); expected \(3, 3\) or"),
        ({"cell": 4.05}, r"shape \(\); expected \(3, 3\) or"),
        ({"cell": b"cubic"}, "is of type .*; expected lattice vectors, numbers"),
        ({"cell": CELLS, "lattice": CELLS}, "has 'cell' and 'lattice'; name the one to read with"),
        ({"pbc": True}, "Al in .* is periodic by 'pbc', but has no lattice vectors; add 'cell'"),
        ({"cell": CELLS, "pbc": 2}, "'pbc' of Al in .* is not 0 or 1; expected true or false"),
        ({"cell": CELLS, "pbc": b"T T T"}, "'pbc' of Al in .* is of type .*; expected true or"),
        ({"cell": CELLS, "pbc": [True] * 4}, r"'pbc' .* \(4,\); expected \(\), \(3,\) or \(4, 3\)"),
        ({"cell/a": CELLS}, "'cell' of Al in .* is a group; expected an array"),
        ({"cell_lengths": SQUARE}, r"periodic with 'cell_lengths'.*keys={'cell': 'cell_lengths'}"),
        (
            {"cell_lengths": SQUARE, "cell_angles": SQUARE},
            r"with 'cell_angles' and 'cell_lengths', which is not read; .* is periodic \[EKD",
        ),
        ({"cell": CELLS * np.nan}, "4 periodic configurations whose lattice vectors"),
        ({"cell": [[3, 0, 0], [0, 3, 0], [0, 0, 0]]}, "4 periodic configurations whose lattice"),
    ],
)
def test_cells_refused(tmp_path: Path, given: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        load_dataset(write(tmp_path / "x.h5", {"Al": given}), energy="e")


def test_one_cell_or_three_lengths(tmp_path: Path) -> None:
    three = {"coordinates": np.random.default_rng(0).normal(size=(3, 2, 3)), "e": np.zeros(3)}
    path = write(tmp_path / "x.h5", {"Al": three | {"cell": np.full((3, 3), 3.0) + np.eye(3)}})
    assert "may be one cell or edge lengths of 3; write lattice vectors as (3, 3, 3)" in refusal(
        path
    )
    path = write(tmp_path / "y.h5", {"Al": three | {"cell": np.diag(SQUARE)}})
    np.testing.assert_array_equal(load_dataset(path, energy="e").cells, [np.diag(SQUARE)] * 3)


# --------------------------------------------------------------------------------------- units


FORCES = np.ones((4, 2, 3))


def test_units_that_arrays_state(tmp_path: Path) -> None:
    """Units are bytes or text, as in SPICE; forces may have another unit."""
    plain = {"coordinates": np.ones((4, 2, 3)) * [[0], [1]], "e": np.arange(4.0)}
    stated = {
        "coordinates": (plain["coordinates"], b"bohr"),
        "e": (plain["e"], "kJ/mol"),
        "cell": (CELLS, "nm"),
        "f": (FORCES, "hartree/bohr"),
    }
    path = write(tmp_path / "x.h5", {"Al": stated})
    dataset = load_dataset(path, energy="e", forces="f")
    np.testing.assert_allclose(dataset.energies, plain["e"] * KJ_PER_MOL, **CLOSE)
    np.testing.assert_allclose(dataset.positions[1], BOHR, **CLOSE)
    np.testing.assert_allclose(dataset.cells, CELLS * 10, **CLOSE)
    np.testing.assert_allclose(dataset.forces, HARTREE / BOHR, **CLOSE)
    gradients = load_dataset(path, energy="e", forces="f", gradients=True)
    np.testing.assert_allclose(gradients.forces, -HARTREE / BOHR, **CLOSE)
    same = load_dataset(path, energy="e", energy_unit="kJ/mol")
    assert same.fingerprint == dataset.fingerprint


def test_what_states_no_unit_follows_what_does(tmp_path: Path) -> None:
    stated = {
        "coordinates": (np.ones((4, 2, 3)), "bohr"),
        "cell": CELLS,
        "e": (np.arange(4.0), "eV"),
        "f": FORCES,
    }
    dataset = load_dataset(write(tmp_path / "x.h5", {"Al": stated}), energy="e", forces="f")
    np.testing.assert_allclose(dataset.cells, CELLS * BOHR, **CLOSE)
    np.testing.assert_allclose(dataset.forces, 1 / BOHR, **CLOSE)


@pytest.mark.parametrize("name", ["unit", "Units"])
def test_other_names_of_the_attribute(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "x.h5", {"Al": {}})
    with h5py.File(path, "a") as file:
        file["Al/e"].attrs[name] = np.array([b"eV"])
        file["Al/coordinates"].attrs[name] = "Å".encode("latin-1")
    np.testing.assert_array_equal(load_dataset(path, energy="e").energies, np.arange(4.0))


@pytest.mark.parametrize(
    ("given", "options", "expected"),
    [
        (
            {"e": (np.zeros(4), "eV")},
            {"energy_unit": "Hartree"},
            "'Al/e' in .* is in eV according to the file, but energy_unit is 'Hartree'; leave",
        ),
        (
            {"coordinates": (FORCES, "bohr")},
            {"length_unit": "Å"},
            "'Al/coordinates' in .* is in bohr according to the file, but length_unit is 'Å'",
        ),
        ({"cell": (CELLS, "bohr")}, {"length_unit": "nm"}, "'Al/cell' in .* is in bohr"),
        (
            {"e": (np.zeros(4), "Rydberg")},
            {},
            "'Al/e' in .* states its unit: unknown energy unit 'Rydberg'; use one of eV, .*; give "
            "energy_unit, or correct the unit in the file",
        ),
        ({"e": (np.zeros(4), "eV/atom")}, {}, "unknown energy unit 'eV/atom'"),
        ({"coordinates": (FORCES, "fm")}, {}, "unknown unit of length 'fm'.*give length_unit"),
        ({"f": (FORCES, "N")}, {"forces": "f"}, "unknown unit of force 'N'.*correct the unit"),
        ({"f": (FORCES, "eV")}, {"forces": "f"}, "unknown unit of force 'eV'"),
        ({"e": (np.zeros(4), 7)}, {}, "the attribute 'units' of 'Al/e' in .* is .*7.*; expected"),
    ],
)
def test_units_refused(
    tmp_path: Path, given: dict[str, Any], options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DataError, match=expected):
        load_dataset(write(tmp_path / "x.h5", {"Al": given}), energy="e", **options)


def test_an_unknown_unit_gives_way_to_one_that_is_given(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"Al": {"e": (np.ones(4), "electron volts (eV)")}})
    assert load_dataset(path, energy="e", energy_unit="eV").energies.tolist() == [1.0] * 4


def test_two_attributes_that_differ(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"Al": {"e": (np.ones(4), "eV")}})
    with h5py.File(path, "a") as file:
        file["Al/e"].attrs["unit"] = "Hartree"
    assert "has attributes that state Hartree and eV; delete the wrong one" in refusal(path)


def test_groups_of_several_units(tmp_path: Path) -> None:
    """Each group is read in its own unit; a mixture of stated and unstated units is refused."""
    groups = {"a": {"e": (np.ones(4), "eV")}, "b": {"e": (np.ones(4), "Hartree")}}
    dataset = load_dataset(write(tmp_path / "x.h5", groups), energy="e")
    assert dataset.energies.tolist() == [1.0] * 4 + [HARTREE] * 4
    groups["c"] = {"e": np.ones(4)}
    path = write(tmp_path / "y.h5", groups)
    assert "'b/e'" not in refusal(path)
    assert "'a/e' in " in refusal(path)
    assert "states that it is in eV, but 'c/e' states no unit; add the attribute" in refusal(path)
    del groups["a"]  # Hartree is then used for the others too
    assert len(load_dataset(write(tmp_path / "z.h5", groups), energy="e")) == 8
    groups = {"a": {"e": (np.ones(4), "eV")}, "b": {"e": None}}
    assert len(load_dataset(write(tmp_path / "w.h5", groups), energy="e")) == 4


# --------------------------------------------------------------------------------------- links


def hard(file: h5py.File, name: str) -> None:
    file[f"train/{name}"] = file[name]


def soft(file: h5py.File, name: str) -> None:
    file[f"train/{name}"] = h5py.SoftLink(f"/{name}")


def external(file: h5py.File, name: str) -> None:
    file[f"train/{name}"] = h5py.ExternalLink(file.filename, f"/{name}")


def arrays(file: h5py.File, name: str) -> None:
    for key in file[name]:
        file[f"train/{name}/{key}"] = file[name][key]


def soft_arrays(file: h5py.File, name: str) -> None:
    for key in file[name]:
        file[f"train/{name}/{key}"] = h5py.SoftLink(f"/{name}/{key}")


def cycle(file: h5py.File, name: str) -> None:
    file[f"{name}/up"] = file["/"]
    file.require_group("train")[name] = h5py.SoftLink("/")


@pytest.mark.parametrize("link", [hard, soft, external, arrays, soft_arrays, cycle])
def test_what_is_linked_is_counted_once(
    tmp_path: Path, link: Callable[[h5py.File, str], None]
) -> None:
    path = write(tmp_path / "x.h5", {"a": {}, "b": {}})
    plain = load_dataset(path, energy="e")
    with h5py.File(path, "a") as file:
        link(file, "a")
        link(file, "b")
    dataset = load_dataset(path, energy="e")
    assert dataset.groups.tolist() == ["a"] * 4 + ["b"] * 4
    assert dataset.fingerprint == plain.fingerprint


def test_links_to_another_file(tmp_path: Path) -> None:
    """An external group keeps its name here; two links to one group count once."""
    write(tmp_path / "there.h5", {"a": {}, "b": {}})
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, target in (("train/one", "a"), ("train/two", "b"), ("test/one", "a")):
            file[name] = h5py.ExternalLink("there.h5", f"/{target}")
    dataset = load_dataset(tmp_path / "x.h5", energy="e")
    assert dataset.groups.tolist() == ["test/one"] * 4 + ["train/two"] * 4
    there = load_dataset(tmp_path / "there.h5", energy="e")
    assert dataset.fingerprint == there.fingerprint


def test_one_geometry_with_two_energies_is_two(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"a": {}, "b": {"coordinates": None}})
    with h5py.File(path, "a") as file:
        file["b/coordinates"] = file["a/coordinates"]
    assert len(load_dataset(path, energy="e")) == 8


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (h5py.SoftLink("/nowhere"), "'train/a' in .* is a link to '/nowhere', which cannot be"),
        (h5py.ExternalLink("no.h5", "/a"), "is a link to '/a' in 'no.h5', which cannot be opened"),
    ],
)
def test_link_that_leads_nowhere(tmp_path: Path, link: Any, expected: str) -> None:
    path = write(tmp_path / "x.h5", {"a": {}})
    with h5py.File(path, "a") as file:
        file["train/a"] = link
    with pytest.raises(DataError, match=expected):
        load_dataset(path, energy="e")


# ---------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize("positions", ["coords", "positions", "conformations"])
@pytest.mark.parametrize("numbers", ["nuclear_charges", "numbers", "symbols"])
def test_usual_names(tmp_path: Path, positions: str, numbers: str) -> None:
    """Usual names of positions and atoms; energies (m, 1); atoms per configuration or symbols."""
    atoms = [[13, 1], [1, 13]] * 2
    if numbers == "symbols":
        atoms = np.array([[b"Al", b"H"], [b"H", b"Al"]] * 2)  # type: ignore[assignment]
    vectors = np.random.default_rng(0).normal(size=(4, 2, 3))
    group = {"coordinates": None, positions: vectors, "atomic_numbers": None, numbers: atoms}
    energies = np.array([[1.0], [np.nan], [2.0], [3.0]])
    path = write(tmp_path / "x.h5", {"m": group | {"e": energies}})
    dataset = load_dataset(path, energy="e", energy_unit="eV")
    assert dataset.energies.tolist() == [1.0, 2.0, 3.0]
    assert dataset.atomic_numbers.tolist() == [13, 1, 13, 1, 1, 13]
    np.testing.assert_array_equal(dataset.positions, vectors[[0, 2, 3]].reshape(-1, 3))
    assert refusal(path.parent / "x.h5", forces="f").endswith("no key 'f'; its keys are: e")
    with pytest.raises(DataError, match="Keys with one number per configuration: e"):
        load_dataset(path)


def test_names_that_are_given(tmp_path: Path) -> None:
    """They take precedence over the usual ones, and are the same for prepare."""
    vectors = np.random.default_rng(9).normal(size=(4, 2, 3))
    group = {"xyz": vectors, "charges": [14, 14], "cell": CELLS, "lattice": CELLS * 2, "o": False}
    path = write(tmp_path / "x.h5", {"m": group})
    keys = {"positions": "xyz", "numbers": "charges", "cell": "lattice"}
    dataset = load_dataset(path, energy="e", keys=keys)
    assert set(dataset.formulas) == {"Si2"}
    np.testing.assert_array_equal(dataset.positions, vectors.reshape(-1, 3))
    np.testing.assert_array_equal(dataset.cells, CELLS * 2)
    assert load_dataset(path, energy="e", keys=keys | {"pbc": "o"}).cells is None
    output = tmp_path / "y.h5"
    for _ in range(2):  # the same request twice
        summary = ekd.prepare_dataset(path, output, energy="e", keys=keys, progress=False)
    assert summary.fingerprint == load_dataset(output).fingerprint == dataset.fingerprint
    with pytest.raises(DataError, match="has other inputs or options"):
        ekd.prepare_dataset(path, output, energy="e", keys=keys | {"pbc": "o"}, progress=False)


def test_names_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"m": {}})
    assert "has no group with 'xyz'; expected" in refusal(path, keys={"positions": "xyz"})
    assert "'m' of" in (message := refusal(path, keys={"numbers": "charges"}))
    assert "has no 'charges', only atomic_numbers, coordinates, e" in message
    assert "Al" not in (message := refusal(path, keys={"cell": "metric"}))
    assert "no group of '" in message
    assert "has 'metric'" in message
    assert "expected positions, numbers, cell, pbc" in refusal(path, keys={"x": "y"})
    assert "keys is 'xyz'; expected a dictionary" in refusal(path, keys="xyz")
    assert "keys has 1 for the positions; expected a name" in refusal(path, keys={"positions": 1})
    ekd.prepare_dataset(path, tmp_path / "y.h5", energy="e", progress=False)
    with pytest.raises(DataError, match=r"keys are for HDF5 in groups and for \.npz: leave"):
        load_dataset(tmp_path / "y.h5", keys={"positions": "xyz"})


def test_a_scan_is_ordered_by_what_is_read(tmp_path: Path) -> None:
    """Linked groups count once, with the keys of the scan."""
    group = {"xyz": np.ones((4, 2, 3)), "coordinates": None, "phi": [3.0, 1.0, 2.0, 0.0]}
    path = write(tmp_path / "x.h5", {"m": group})
    with h5py.File(path, "a") as file:
        file["again/m"] = file["m"]
    keys = {"positions": "xyz"}
    data = load_dataset(path, energy="e", keys=keys)
    scan = CurveConfig(path=path, coordinate="phi", keys=keys)
    assert coordinates(data, scan)[0].tolist() == [3.0, 1.0, 2.0, 0.0]
