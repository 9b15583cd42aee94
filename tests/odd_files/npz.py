"""Unusual NumPy archives in the layouts of sGDML, MD17, PhysNet and others."""

from __future__ import annotations

import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ekd.units import BOHR, HARTREE, KCAL_PER_MOL
from odd_files import OddFile, Read, Refused, waters

E = np.array([-47931.2, -47930.1])
EV = (E * KCAL_PER_MOL).tolist()
R = waters(2)
F = np.array([[0.0, 0.0, 6.0], [0.0, 2.0, -3.0], [0.0, -2.0, -3.0]])


def npz(pack: Callable[..., None] = np.savez, **arrays: Any) -> Callable[[Path], Path]:
    """Return a function that writes an archive of two water molecules; None removes an array."""
    made = {"R": R, "z": [8, 1, 1], "E": E, "e_unit": "kcal/mol", "r_unit": "Ang"} | arrays

    def write(folder: Path) -> Path:
        kept = {key: array for key, array in made.items() if array is not None}
        pack(folder / "x.npz", **kept)
        return folder / "x.npz"

    return write


def pickled(values: list[Any]) -> np.ndarray:
    """An array of objects, which NumPy pickles."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def ragged(folder: Path) -> Path:
    return npz(R=pickled([R[0], R[1][:2]]), z=pickled([[8, 1, 1], [1, 1]]))(folder)


def cut_off(folder: Path) -> Path:
    path = npz()(folder)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def twice(folder: Path) -> Path:
    path = npz()(folder)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("E.npy", archive.read("E.npy"))
    return path


def damaged(folder: Path) -> Path:
    """A compressed member with changed bytes, which its checksum reveals."""
    path = npz(np.savez_compressed)(folder)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("R.npy").header_offset
    content = bytearray(path.read_bytes())
    name, extra = struct.unpack("<HH", content[start + 26 : start + 30])
    begin = start + 30 + name + extra
    content[begin + 20 : begin + 40] = bytes(20)
    path.write_bytes(content)
    return path


def bare_array(folder: Path) -> Path:
    np.save(folder / "x.npy", R)
    return (folder / "x.npy").rename(folder / "x.npz")


def npy(folder: Path) -> Path:
    np.save(folder / "x.npy", R)
    return folder / "x.npy"


def pointer(folder: Path) -> Path:
    (folder / "x.npz").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d\n")
    return folder / "x.npz"


def hdf5(folder: Path) -> Path:
    (folder / "x.npz").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    return folder / "x.npz"


def many(n: int) -> np.ndarray:
    values = -47931.2 + np.random.default_rng(2).normal(scale=3, size=n)
    return values.astype(np.float32)


BOTH = Read(EV, positions=R[0])
CELL = np.array([[9.0, 0, 0], [1, 8, 0], [0, 0, 7]])
PADDED_Z = np.array([[8, 1, 1], [1, 1, 0]])
PADDED_R = np.stack([R[0], [[0, 0, 0], [0, 0, 0.74], [0, 0, 0]]])
PADDED_E = np.array([E[0], -734.0])
PADDED = Read((PADDED_E * KCAL_PER_MOL).tolist(), ["H2O", "H2"], positions=R[0])

LISTED = (
    # -------------------------------------------------------------------------------- shapes
    ("energies (m, 1)", "sGDML", npz(E=E[:, None]), BOTH),
    ("energies (m, 1, 1)", "Keras", npz(E=E[:, None, None]), BOTH),
    ("energies (1, m)", "MATLAB", npz(E=E[None]), Refused(r"shape \(1, 2\); expected \(2,\)")),
    (
        "energies of several states",
        "SchNarc",
        npz(E=np.stack([E, E], axis=1)),
        Refused(r"shape \(2, 2\); expected \(2,\)"),
    ),
    (
        "one configuration",
        "one structure saved alone",
        npz(R=R[0], E=E[0]),
        Read(EV[:1], positions=R[0]),
    ),
    (
        "one configuration, energy (1,)",
        "one structure saved alone",
        npz(R=R[0], E=E[:1]),
        Read(EV[:1], positions=R[0]),
    ),
    ("numbers (1, n)", "MATLAB", npz(z=[[8, 1, 1]]), BOTH),
    ("numbers of every configuration", "PhysNet", npz(z=[[8, 1, 1]] * 2), BOTH),
    (
        "axes of MATLAB",
        "MATLAB",
        npz(R=np.concatenate([R, R]).transpose(1, 2, 0), E=np.tile(E, 2)),
        Refused(r"shape \(3, 3, 4\); expected"),
    ),
    ("flat coordinates", "optimizers", npz(R=R.reshape(2, 9)), Refused(r"shape \(2, 9\)")),
    (
        "no configurations",
        "filters that dropped all",
        npz(R=R[:0], E=E[:0]),
        Refused("has no conf"),
    ),
    (
        "fewer energies",
        "arrays of two files",
        npz(E=E[:1]),
        Refused(r"shape \(1,\); expected \(2,\)"),
    ),
    (
        "padding with zeros",
        "QM7, PhysNet",
        npz(z=PADDED_Z, R=PADDED_R, E=PADDED_E),
        PADDED,
    ),
    (
        "padding with -1",
        "TorchANI",
        npz(z=np.where(PADDED_Z == 0, -1, PADDED_Z), R=PADDED_R, E=PADDED_E),
        PADDED,
    ),
    (
        "zero in front of atoms",
        "dummy and ghost atoms",
        npz(z=[[0, 8, 1], [8, 1, 1]]),
        Refused("atomic number 0.*ghost"),
    ),
    # --------------------------------------------------------------------------------- types
    ("big-endian numbers", "workstations of IBM and Sun", npz(E=E.astype(">f8")), BOTH),
    ("order of Fortran", "numpy.asfortranarray", npz(R=np.asfortranarray(R)), BOTH),
    (
        "energies in single precision",
        "PyTorch, JAX",
        npz(R=waters(3), E=many(3)),
        Read(
            (many(3).astype(np.float64) * KCAL_PER_MOL).tolist(),
            warnings=["single precision.*steps of 0.169 meV"],
        ),
    ),
    (
        "energies in half precision",
        "PyTorch",
        npz(E=np.array([-76.4, -76.3], np.float16), e_unit="Hartree"),
        Read(
            [-76.375 * HARTREE, -76.3125 * HARTREE], warnings=["half precision.*steps of 1701 meV"]
        ),
    ),
    ("energies as text", "CSV", npz(E=["-1", "-2"]), Refused("'E' .*expected numbers")),
    ("complex energies", "resonances", npz(E=E + 0j), Refused("complex128; expected numbers")),
    ("energies None", "pandas", npz(E=pickled([-1.0, None])), Refused("'E'.*pickled")),
    (
        "molecules of several sizes as objects",
        "lists given to numpy.array",
        ragged,
        Refused("'R'.*pickled.*EKD-DATA-086"),
    ),
    ("true and false as atomic numbers", "masks", npz(z=[True] * 3), Refused("is of type bool")),
    ("NaN energies", "pandas", npz(E=[E[0], np.nan]), Read(EV[:1], n_dropped=1)),
    ("symbols", "ASE", npz(z=["O", "H", "H"]), BOTH),
    ("symbols as bytes", "HDF5", npz(z=[b"O", b"H", b"H"]), BOTH),
    (
        "zero for what is missing",
        "numpy.zeros",
        npz(R=waters(3), E=[*E, 0.0]),
        Read([*EV, 0.0], warnings=["1 of 3 energies .* exactly zero"]),
    ),
    # ----------------------------------------------------------------------- units and names
    ("unit as bytes", "sGDML for Python 2", npz(e_unit=b"kcal/mol"), BOTH),
    ("unit in another spelling", "sGDML", npz(e_unit="kcal mol-1", r_unit="Angstrom"), BOTH),
    ("no unit", "rMD17", npz(e_unit=None), Refused("no 'e_unit'")),
    ("unknown unit", "sGDML", npz(e_unit="unknown"), Refused("unknown energy unit 'unknown'")),
    (
        "Bohr that the archive states",
        "sGDML",
        npz(R=R / BOHR, r_unit="bohr"),
        BOTH,
    ),
    (
        "Bohr that nobody mentions",
        "PySCF",
        npz(R=R / BOHR, r_unit=None),
        Read(EV, warnings=["1.9 times.*Bohr"]),
    ),
    (
        "unit that contradicts",
        "sGDML",
        npz(),
        Refused("kcal/mol according to the file, but energy_unit is 'Hartree'"),
        {"energy_unit": "Hartree"},
    ),
    (
        "two energies",
        "archives with several methods",
        npz(energies=E + 1),
        Read(EV, warnings=["'E' is read.*'energies' in 2"]),
    ),
    (
        "names of rMD17",
        "rMD17",
        npz(
            R=None,
            z=None,
            E=None,
            e_unit=None,
            r_unit=None,
            coords=R,
            nuclear_charges=[8, 1, 1],
            energies=E,
            forces=np.stack([F, F]),
            old_indices=[3, 4],
            old_energies=E,
            old_forces=np.stack([F, F]),
        ),
        Read(EV, forces=F * KCAL_PER_MOL, warnings=["'energies' is read.*'old_energies' in 2"]),
        {"energy_unit": "kcal/mol", "forces": "forces"},
    ),
    (
        "gradient by its name",
        "Psi4",
        npz(grad=np.stack([F, F])),
        Refused("'grad'.*gradients=True"),
        {"forces": "grad"},
    ),
    (
        "forces in Hartree/Bohr",
        "Psi4",
        npz(
            E=E * KCAL_PER_MOL / HARTREE,
            F=np.stack([F, F]),
            e_unit="Hartree",
            f_unit="Hartree/Bohr",
        ),
        Read(EV, forces=F * HARTREE / BOHR),
        {"forces": "F"},
    ),
    ("forces that are not there", "MD17 of CCSD(T)", npz(), Refused("no key 'F'"), {"forces": "F"}),
    ("lattice as columns", "sGDML", npz(lattice=CELL.T), Read(EV, pbc=[True] * 3, cell=CELL)),
    # ------------------------------------------------------------------ levels, charges, spins
    (
        "total charges of PhysNet",
        "PhysNet: Q",
        npz(Q=[0.0, 1.0], N=[3, 3]),
        Refused("1 of 2 configurations .* charge"),
    ),
    (
        "total charges of PhysNet, ions are left out",
        "PhysNet: Q",
        npz(Q=[0.0, 1.0], N=[3, 3]),
        Read(EV[:1], n_dropped=1),
        {"states": "neutral"},
    ),
    ("one charge for all", "sGDML", npz(charge=0), BOTH),
    (
        "anions",
        "sGDML",
        npz(charge=-1),
        Read(EV, warnings=["all 2 configurations .* have charge -1"]),
    ),
    (
        "temperatures, one is chosen",
        "MD at several temperatures",
        npz(temperature=[300, 500]),
        Read(EV[1:], n_dropped=1),
        {"where": {"temperature": 500}},
    ),
    (
        "value that is nowhere is chosen",
        "typing errors",
        npz(temperature=[300, 500]),
        Refused("temperature.*'700'.*300 \\(1\\), 500 \\(1\\).*EKD-DATA-082"),
        {"where": {"temperature": "700"}},
    ),
    (
        "one geometry with two energies",
        "two methods in one archive",
        npz(R=R[[0, 0]]),
        Read(EV, warnings=["1 configurations .*repeat .* 47.7 meV"]),
    ),
    # ------------------------------------------------------------------------ how it is stored
    ("compressed", "numpy.savez_compressed", npz(np.savez_compressed), BOTH),
    (
        "archive that is cut off",
        "downloads that broke off",
        cut_off,
        Refused("cannot be read as an npz"),
    ),
    ("damaged member", "disks and networks", damaged, Refused("cannot be read as an npz")),
    (
        "array that occurs twice",
        "archives that were extended by zip",
        twice,
        Refused("cannot be read as an npz archive: an array occurs twice"),
    ),
    (
        "unit in Latin-1",
        "older programs",
        npz(r_unit=np.array("Å".encode("latin-1"))),
        BOTH,
    ),
    ("one array with the wrong suffix", "numpy.save", bare_array, Refused("one array|npz")),
    ("one array", "numpy.save", npy, Refused("'.npy'")),
    ("pointer of Git LFS", "repositories cloned without git-lfs", pointer, Refused("Git LFS")),
    ("HDF5 with the wrong suffix", "renamed files", hdf5, Refused("HDF5")),
)

ODD_FILES = tuple(
    OddFile(name, found, write, outcome, *request)
    for name, found, write, outcome, *request in LISTED
)
