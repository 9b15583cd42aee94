"""Unusual HDF5 files with groups in the layout of ANI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ekd.units import HARTREE
from odd_files import OddFile, Read, Refused, waters

E = np.array([-76.3833, -76.3811])
EV = (E * HARTREE).tolist()
R = waters(2)
F = np.array([[0.0, 0.0, 0.01], [0.0, 0.004, -0.005], [0.0, -0.004, -0.005]])
TOTAL = {"energy": "e"}
WITH_FORCES = {"energy": "e", "forces": "f"}


def group(**arrays: Any) -> dict[str, Any]:
    """A group of two water molecules in the layout of ANI-1x; None removes an array."""
    made = {"atomic_numbers": [8, 1, 1], "coordinates": R, "e": E} | arrays
    return {key: array for key, array in made.items() if array is not None}


def hdf5(
    groups: Mapping[str, Mapping[str, Any]],
    change: Callable[[h5py.File], object] = lambda _: None,
    **attributes: Any,
) -> Callable[[Path], Path]:
    """Return a function that writes groups and attributes of a file, then changes the file."""

    def write(folder: Path) -> Path:
        with h5py.File(folder / "x.h5", "w") as file:
            file.attrs.update(attributes)
            for name, arrays in groups.items():
                made = file.require_group(name) if name else file
                for key, array in arrays.items():
                    made.create_dataset(key, data=array)
            change(file)
        return folder / "x.h5"

    return write


def one(change: Callable[[h5py.Group], object], **arrays: Any) -> Callable[[Path], Path]:
    """A file with one group, which is changed at the end."""
    return hdf5({"w": group(**arrays)}, lambda file: change(file["w"]))


def plain(**arrays: Any) -> Callable[[Path], Path]:
    """A file with one group."""
    return hdf5({"w": group(**arrays)})


def attributes(**values: Any) -> Callable[[Path], Path]:
    """A file whose group has attributes."""
    return one(lambda made: made.attrs.update(values))


def units(**values: str) -> Callable[[Path], Path]:
    """A file whose arrays have the attribute ``units``."""

    def change(made: h5py.Group) -> None:
        for key, unit in values.items():
            made[key].attrs["units"] = unit

    return one(change, f=np.stack([F, F]))


def single(**arrays: Any) -> Callable[[Path], Path]:
    """A file with one configuration per group, whose arrays have no axis for configurations."""
    return hdf5({f"w{k}": group(coordinates=R[k], e=E[k], **arrays) for k in range(2)})


def _virtual(made: h5py.Group, source: str) -> None:
    layout = h5py.VirtualLayout((2, 3, 3), "f8")
    layout[:] = h5py.VirtualSource(source, "R", (2, 3, 3))
    del made["coordinates"]
    made.create_virtual_dataset("coordinates", layout)


def virtual(folder: Path) -> Path:
    with h5py.File(folder / "part.h5", "w") as file:
        file["R"] = R
    return one(lambda made: _virtual(made, "part.h5"))(folder)


def _half_written(made: h5py.Group) -> None:
    del made["e"]
    made.create_dataset("e", (2,), "f8", chunks=(1,))[0] = E[0]


def _never_written(made: h5py.Group) -> None:
    del made["coordinates"]
    made.create_dataset("coordinates", (2, 3, 3), "f8")


def _fill_value(made: h5py.Group) -> None:
    made["e"][1] = 9.96921e36
    made["e"].attrs["_FillValue"] = 9.96921e36


def _outside(folder: Path) -> Path:
    """An array whose data are in an external raw file that does not exist."""

    def change(made: h5py.Group) -> None:
        del made["coordinates"]
        made.create_dataset(
            "coordinates", (2, 3, 3), "f8", external=[(str(folder / "raw.bin"), 0, 144)]
        )

    path = one(change)(folder)
    (folder / "raw.bin").unlink(missing_ok=True)
    return path


def unknown_filter(folder: Path) -> Path:
    """Chunks compressed by a filter that is not installed."""
    with h5py.File(folder / "x.h5", "w") as file:
        made = file.create_group("w")
        for key, array in group(e=None).items():
            made[key] = array
        made.create_dataset("e", data=E, chunks=(2,), compression="gzip")
    content = (folder / "x.h5").read_bytes()
    message = content.index(b"deflate") - 8  # the filter number is stored before the name
    assert content[message : message + 2] == b"\x01\x00"
    changed = content[:message] + (32001).to_bytes(2, "little") + content[message + 2 :]
    (folder / "x.h5").write_bytes(changed)
    return folder / "x.h5"


def cut_off(folder: Path) -> Path:
    path = plain(e=E)(folder)
    path.write_bytes(path.read_bytes()[:-3000])
    return path


def pointer(folder: Path) -> Path:
    (folder / "x.h5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d\n")
    return folder / "x.h5"


def page(folder: Path) -> Path:
    (folder / "x.h5").write_text("<html><body>403 Forbidden</body></html>")
    return folder / "x.h5"


def zipped(folder: Path) -> Path:
    np.savez(folder / "x.npz", R=R)
    return (folder / "x.npz").rename(folder / "x.h5")


def stored(n: int) -> np.ndarray:
    """Energies similar to that of benzene, in single precision."""
    values = -230.5 + np.random.default_rng(2).normal(scale=0.01, size=n)
    return values.astype(np.float32)


def stored_in_ev(n: int) -> list[float]:
    return (stored(n).astype(np.float64) * HARTREE).tolist()


BOTH = Read(EV, positions=R[0])
PADDED_Z = np.array([[8, 1, 1], [1, 1, 0]])
PADDED_R = np.stack([R[0], [[0, 0, 0], [0, 0, 0.74], [0, 0, 0]]])
PADDED = Read([E[0] * HARTREE, -1.17 * HARTREE], ["H2O", "H2"], positions=R[0])

LISTED = (
    # -------------------------------------------------------------------------------- shapes
    ("energies (m, 1)", "PyTorch", plain(e=E[:, None]), BOTH),
    ("energies (m, 1, 1)", "PyTorch, arrays that were broadcast", plain(e=E[:, None, None]), BOTH),
    ("energies (1, m)", "MATLAB", plain(e=E[None]), Refused(r"shape \(1, 2\); expected \(2,\)")),
    (
        "energies of several states",
        "excited states",
        plain(e=np.stack([E, E + 0.3], axis=1)),
        Refused(r"shape \(2, 2\); expected \(2,\)"),
    ),
    ("one configuration in each group", "QM7-X, QCArchive", single(), BOTH),
    (
        "one configuration, energy (1,)",
        "QM7-X",
        hdf5({"w": group(coordinates=R[0], e=E[:1])}),
        Read(EV[:1], positions=R[0]),
    ),
    (
        "axes of MATLAB",
        "MATLAB, Fortran",
        plain(coordinates=np.concatenate([R, R, R]).T, e=np.tile(E, 3)),
        Refused(r"shape \(3, 3, 6\); expected \(m, 3, 3\)"),
    ),
    (
        "all atoms in one long array",
        "PyTorch Geometric",
        plain(coordinates=R.reshape(6, 3)),
        Refused(r"shape \(6, 3\); expected"),
    ),
    (
        "flat coordinates",
        "optimizers",
        plain(coordinates=R.reshape(2, 9)),
        Refused(r"shape \(2, 9\); expected"),
    ),
    (
        "group without configurations",
        "filters that dropped all",
        hdf5(
            {
                "a": group(coordinates=np.zeros((0, 3, 3)), e=np.zeros(0)),
                "w": group(),
            }
        ),
        BOTH,
    ),
    (
        "groups in groups",
        "COMP6, GDB",
        hdf5({"gdb/s03/w": group(), "gdb/s02/h": group()}),
        Read(EV + EV),
    ),
    ("arrays in the root", "home-made files", hdf5({"": group()}), BOTH),
    # --------------------------------------------------------------------------------- types
    ("big-endian numbers", "workstations of IBM and Sun", plain(e=E.astype(">f8")), BOTH),
    (
        "energies in single precision",
        "PyTorch",
        plain(coordinates=waters(3), e=stored(3)),
        Read(stored_in_ev(3), warnings=["single precision.*steps of 0.415 meV"]),
        TOTAL,
    ),
    (
        "energies that were in single precision",
        "PyTorch, converted again",
        plain(coordinates=waters(12), e=stored(12).astype(np.float64)),
        Read(stored_in_ev(12), warnings=["single precision.*steps of 0.415 meV"]),
        TOTAL,
    ),
    (
        "whole numbers",
        "energies that were rounded",
        plain(e=[-76, -77]),
        Read([-76 * HARTREE, -77 * HARTREE]),
    ),
    (
        "energies as text",
        "tables that became HDF5",
        plain(e=[b"-76.3833", b"-76.3811"]),
        Refused("'e' of w .*type .*; expected numbers"),
    ),
    (
        "complex energies",
        "resonances, MATLAB",
        plain(e=E + 0j),
        Refused("complex128; expected numbers"),
    ),
    (
        "NaN energies",
        "ANI-1x: not computed",
        plain(e=[E[0], np.nan]),
        Read(EV[:1], n_dropped=1),
    ),
    (
        "fill value for what is missing",
        "netCDF",
        one(_fill_value),
        Read(EV[:1], n_dropped=1),
    ),
    (
        "zero for what is missing",
        "arrays that were filled with zeros",
        plain(coordinates=waters(3), e=[*E, 0.0]),
        Read([*EV, 0.0], warnings=["1 of 3 energies .* exactly zero"]),
    ),
    (
        "numbers of atoms as floating-point numbers",
        "MATLAB, pandas",
        plain(atomic_numbers=[8.0, 1.0, 1.0]),
        BOTH,
    ),
    (
        "NaN as atomic number",
        "pandas, padding",
        plain(atomic_numbers=[8.0, 1.0, np.nan]),
        Refused("are not whole numbers"),
    ),
    (
        "symbols as bytes",
        "pyanitools",
        hdf5({"w": {"species": [b"O", b"H", b"H"], "coordinates": R, "energies": E}}),
        BOTH,
        {},
    ),
    (
        "symbols in lower case, with spaces",
        "Turbomole",
        hdf5({"w": {"species": [b"o ", b"h ", b"h "], "coordinates": R, "energies": E}}),
        BOTH,
        {},
    ),
    (
        "symbols in one text",
        "JSON that became HDF5",
        hdf5({"w": {"species": "O H H", "coordinates": R, "energies": E}}),
        Refused(r"shape \(\); expected \(n,\)"),
        {},
    ),
    (
        "ghost atoms",
        "counterpoise corrections",
        plain(atomic_numbers=[8, 0, 1]),
        Refused("atomic number 0.*ghost"),
    ),
    (
        "padding with zeros",
        "QM7, PhysNet",
        plain(atomic_numbers=PADDED_Z, coordinates=PADDED_R, e=[E[0], -1.17]),
        PADDED,
    ),
    (
        "padding with -1",
        "TorchANI",
        plain(
            atomic_numbers=np.where(PADDED_Z == 0, -1, PADDED_Z),
            coordinates=PADDED_R,
            e=[E[0], -1.17],
        ),
        PADDED,
    ),
    (
        "index of the element as species",
        "TorchANI: 0, 1, 2, 3 for H, C, N, O",
        plain(atomic_numbers=[3, 0, 0]),
        Refused("atomic number 0"),
    ),
)


def _with_request(entry: tuple[Any, ...]) -> OddFile:
    name, found, write, outcome, *request = entry
    return OddFile(name, found, write, outcome, request[0] if request else TOTAL)


ODD_FILES = tuple(_with_request(entry) for entry in LISTED)
