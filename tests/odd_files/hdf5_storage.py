"""Unusual HDF5 files: units and signs, storage of arrays, levels of theory, charges and spins."""

from __future__ import annotations

import h5py
import numpy as np

from ekd.units import BOHR, HARTREE
from odd_files import Read, Refused
from odd_files.hdf5 import (
    BOTH,
    EV,
    TOTAL,
    WITH_FORCES,
    E,
    F,
    R,
    _half_written,
    _never_written,
    _outside,
    _virtual,
    _with_request,
    cut_off,
    group,
    hdf5,
    one,
    page,
    plain,
    pointer,
    units,
    unknown_filter,
    virtual,
    zipped,
)

LISTED = (
    # ----------------------------------------------------------------------- units and signs
    (
        "eV in an array that says so",
        "SPICE, OpenMM",
        one(lambda made: made["e"].attrs.update(units="eV"), e=E * HARTREE),
        BOTH,
    ),
    (
        "unit of the energy as attribute of the file",
        "home-made files",
        hdf5({"w": group(e=E * HARTREE)}, energy_unit="eV"),
        BOTH,
    ),
    (
        "unit of the energy as attribute of the group",
        "home-made files",
        one(lambda made: made.attrs.update(energy_units="eV"), e=E * HARTREE),
        BOTH,
    ),
    (
        "unit of lengths as attribute of the file",
        "home-made files",
        hdf5({"w": group(coordinates=R / BOHR)}, length_unit="bohr"),
        BOTH,
    ),
    (
        "units in words, as attribute of the file",
        "home-made files",
        hdf5({"w": group(e=E * HARTREE)}, units="energies in eV, distances in Angstrom"),
        BOTH,
    ),
    (
        "units in a list, as attribute of the file",
        "home-made files",
        hdf5({"w": group(coordinates=R / BOHR)}, units="coordinates: Bohr; energy: Hartree"),
        BOTH,
    ),
    (
        "units of something, as attribute of the file",
        "home-made files",
        hdf5({"w": group()}, units="atomic units"),
        Read(EV, positions=R[0], warnings=["'units'.*is ignored.*energy_unit"]),
    ),
    (
        "Bohr that nobody mentions",
        "SPICE without its attributes, Psi4",
        plain(coordinates=R / BOHR),
        Read(EV, warnings=["1.9 times.*Bohr"]),
    ),
    (
        "eV that nobody mentions",
        "converters",
        plain(e=E * HARTREE),
        Read((E * HARTREE**2).tolist(), warnings=["energy_unit"]),
    ),
    (
        "forces in Hartree/Bohr that say so",
        "SPICE",
        units(f="hartree/bohr"),
        Read(EV, forces=F * HARTREE / BOHR),
        WITH_FORCES,
    ),
    (
        "gradient by its name",
        "SPICE: dft_total_gradient",
        one(lambda made: made.move("f", "dft_total_gradient"), f=np.stack([F, F])),
        Refused("'dft_total_gradient'.*gradients=True"),
        {"energy": "e", "forces": "dft_total_gradient"},
    ),
    (
        "forces of zero where none were computed",
        "arrays that were filled with zeros",
        plain(f=np.stack([F, 0 * F])),
        Read(EV, forces=F * HARTREE, warnings=["1 of 2 configurations .* forces .* zero"]),
        WITH_FORCES,
    ),
    # ------------------------------------------------------------------------ how it is stored
    ("virtual array", "files that join others", virtual, BOTH),
    (
        "virtual array whose file is lost",
        "files that join others, moved",
        one(lambda made: _virtual(made, "lost.h5")),
        Refused("'coordinates' of w .*virtual.*'lost.h5'.*EKD-DATA-033"),
    ),
    (
        "array in a raw file that is lost",
        "instruments",
        _outside,
        Refused("'coordinates' of w .*raw.bin.*EKD-DATA-033"),
    ),
    (
        "array that was never written",
        "jobs that were killed",
        one(_never_written),
        Refused("'coordinates' of w .*never written.*EKD-DATA-079"),
    ),
    (
        "array of which half was written",
        "jobs that were killed",
        one(_half_written),
        Refused("'e' of w .*never written"),
    ),
    (
        "filter that is not there",
        "Blosc, Zstandard",
        unknown_filter,
        Refused("cannot be read as HDF5"),
    ),
    (
        "compressed with gzip and shuffle",
        "h5py",
        hdf5(
            {"w": group(e=None)},
            lambda file: file["w"].create_dataset(
                "e", data=E, compression="gzip", shuffle=True, fletcher32=True
            ),
        ),
        BOTH,
    ),
    (
        "soft link that leads nowhere",
        "files that were split",
        one(lambda made: made.file.__setitem__("old", h5py.SoftLink("/gone"))),
        Refused("'old' .*is a link"),
    ),
    (
        "external link to a file that is lost",
        "files that join others, moved",
        one(lambda made: made.file.__setitem__("more", h5py.ExternalLink("lost.h5", "/w"))),
        Refused("'more' .*is a link.*lost.h5"),
    ),
    (
        "file that is cut off",
        "downloads that broke off",
        cut_off,
        Refused("cannot be read as HDF5"),
    ),
    ("pointer of Git LFS", "repositories cloned without git-lfs", pointer, Refused("Git LFS")),
    ("web page", "downloads behind a login", page, Refused("web page")),
    (
        "archive with the wrong suffix",
        "renamed files",
        zipped,
        Refused("zip archive.*EKD-DATA-088"),
    ),
    (
        "table of pandas",
        "pandas.to_hdf",
        hdf5({"df": {"axis0": [b"a"], "block0_values": np.ones((2, 1))}}),
        Refused("no group with 'coordinates'"),
    ),
    # ------------------------------------------------------------------ levels, charges, spins
    (
        "charge of each configuration",
        "QCArchive",
        plain(charge=[0, 1]),
        Refused("1 of 2 configurations .* charge"),
    ),
    (
        "charge as attribute of the group",
        "QCArchive",
        hdf5(
            {"a": group(), "b": group()},
            lambda file: file["b"].attrs.update(charge=-1, multiplicity=1),
        ),
        Refused("2 of 4 configurations .* charge"),
    ),
    (
        "neutral molecules are chosen",
        "QCArchive",
        plain(charge=[0, 1]),
        Read(EV[:1], n_dropped=1),
        TOTAL | {"states": "neutral"},
    ),
    ("partial charges", "ANI-1x: cm5_charges", plain(charges=np.full((2, 3), 0.1)), BOTH),
    (
        "method as attribute of the group",
        "QCArchive",
        hdf5(
            {"a": group(), "b": group()},
            lambda file: [file[k].attrs.update(method=m) for k, m in (("a", "MP2"), ("b", "HF"))],
        ),
        Refused("'method'.*'HF' \\(2\\), 'MP2' \\(2\\)"),
    ),
    (
        "method as attribute of the group, one is chosen",
        "QCArchive",
        hdf5(
            {"a": group(), "b": group()},
            lambda file: [file[k].attrs.update(method=m) for k, m in (("a", "MP2"), ("b", "HF"))],
        ),
        Read(EV, n_dropped=2),
        TOTAL | {"where": {"method": "HF"}},
    ),
    (
        "subset is chosen",
        "SPICE",
        hdf5(
            {
                "a": group(subset=[b"SPICE PubChem", b"SPICE PubChem"]),
                "b": group(subset=b"SPICE Dipeptides"),
            }
        ),
        Read(EV, n_dropped=2),
        TOTAL | {"where": {"subset": "SPICE Dipeptides"}},
    ),
    (
        "one geometry with two energies",
        "two methods in one file",
        plain(coordinates=R[[0, 0]]),
        Read(EV, warnings=["1 configurations .*repeat .* 59.87 meV"]),
    ),
    (
        "two names of the cell",
        "converters",
        plain(cell=np.eye(3) * 9, lattice=np.eye(3) * 9),
        Refused("has 'cell' and 'lattice'"),
    ),
)

ODD_FILES = tuple(_with_request(entry) for entry in LISTED)
