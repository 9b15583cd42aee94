"""Unusual files in extended XYZ."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ekd.units import HARTREE
from odd_files import ENERGY, WATER, OddFile, Read, Refused, waters

PLAIN = "Properties=species:S:1:pos:R:3"
FORCES = PLAIN + ":forces:R:3"
BOX = 'Lattice="9 0 0 0 8 0 0 0 7"'
E = f"energy={ENERGY}"
F0 = np.array([[0.0, 0.0, 0.3], [0.0, 0.1, -0.15], [0.0, -0.1, -0.15]])


def frame(comment: str, positions: Any = WATER, symbols: str = "O H H", columns: Any = None) -> str:
    """One frame; ``columns`` are numbers that follow the positions."""
    rows = np.asarray(positions) if columns is None else np.hstack([positions, columns])
    names = symbols.split()
    lines = [
        name + "".join(f" {x:.6f}" for x in row) for name, row in zip(names, rows, strict=True)
    ]
    return f"{len(names)}\n{comment}\n" + "\n".join(lines) + "\n"


def text(content: str, name: str = "x.xyz", encoding: str = "utf-8") -> Callable[[Path], Path]:
    """Return a function that writes a text file."""

    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content.encode(encoding))
        return folder / name

    return write


def packed(name: str, pack: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """Return a function that writes a compressed file."""

    def write(folder: Path) -> Path:
        (folder / name).write_bytes(pack(frame(f"{PLAIN} {E}").encode()))
        return folder / name

    return write


def frames(comments: list[str], **options: Any) -> str:
    """Distorted water molecules with these comments."""
    return "".join(
        frame(comment, positions, **options)
        for comment, positions in zip(comments, waters(len(comments)), strict=True)
    )


def numbered(n: int, form: str) -> list[str]:
    """Comments of n frames with different energies, written in this format."""
    values = ENERGY + np.random.default_rng(1).normal(scale=0.3, size=n)
    return [f"{PLAIN} " + form.format(value) for value in values]


ONE = Read([ENERGY], positions=WATER)
TWO = [f"{PLAIN} energy=-2078.5", f"{PLAIN} energy=-2078.25"]
LISTED = (
    # ------------------------------------------------------------------------ bytes and lines
    (
        "line ends of Windows",
        "editors of Windows",
        frame(f"{PLAIN} {E}").replace("\n", "\r\n"),
        ONE,
    ),
    ("byte order mark", "Notepad, Excel, PowerShell", "\ufeff" + frame(f"{PLAIN} {E}"), ONE),
    ("tabs", "tables that were pasted", frame(f"{PLAIN} {E}").replace(" 0", "\t0"), ONE),
    (
        "spaces at the ends of lines, blank lines at the end",
        "Fortran programs, Molden",
        frame(f"{PLAIN} {E}").replace("\n", "  \n") + "\n  \n\n",
        ONE,
    ),
    (
        "blank line between frames",
        "files joined with cat, Molden, Jmol",
        frame(TWO[0]) + "\n" + frame(TWO[1], waters(1)[0]),
        Read([-2078.5, -2078.25]),
    ),
    (
        "number of atoms with spaces before it",
        "Fortran programs",
        "     " + frame(f"{PLAIN} {E}"),
        ONE,
    ),
    (
        "Fortran exponents",
        "old Fortran programs, Gaussian, MOLPRO",
        f"3\n{PLAIN} energy=-2.0785127D+03\n"
        "O 0.0D+00 0.0D0 1.17D-01\nH 0.0d0 7.57d-01 -4.71D-01\nH 0.0D0 -0.757D+00 -4.71D-01\n",
        ONE,
    ),
    (
        "decimal commas",
        "German and French locales",
        frame(f"{PLAIN} {E}").replace("0.7", "0,7"),
        Refused("'0,757000'.*decimal comma.*EKD-DATA-075"),
    ),
    (
        "numbers that did not fit",
        "Fortran formats that overflow",
        frame(f"{PLAIN} {E}").replace("0.117000", "********"),
        Refused(r"'\*+'.*expected a number"),
    ),
    (
        "very long comment",
        "provenance or a whole input in the comment line",
        frame(f'{PLAIN} {E} input="' + "a = 'b' \\n " * 20000 + '"'),
        ONE,
    ),
    # ------------------------------------------------------------------------------ comments
    (
        "JSON, quotes and backslashes in the comment",
        "ASE, libAtoms, workflow managers",
        frame(
            f'{PLAIN} {E} note="energy=-1 \\"quoted\\" C:\\\\x" '
            'meta="_JSON {\\"energy\\": -3, \\"a\\": [1, 2]}" path=C:\\data\\new'
        ),
        ONE,
    ),
    (
        "key twice",
        "scripts that append what is there already",
        frame(f"{PLAIN} {E} energy=-2000.0"),
        Refused("'energy' twice.*EKD-DATA-073"),
    ),
    (
        "key twice with one value",
        "scripts that append what is there already",
        frame(f"{PLAIN} {E} {E}"),
        ONE,
    ),
    (
        "bare energy as the comment",
        "xtb, ORCA, CREST",
        frame("-76.4026"),
        Refused("has no key 'energy'"),
    ),
    (
        "energy with words",
        "xtb: energy: -5.07 gnorm: 0.001 xtb: 6.6",
        frame("energy: -5.0705 gnorm: 0.001 xtb: 6.6.1"),
        Refused("has no key 'energy'"),
    ),
    (
        "trajectory of CP2K",
        "CP2K: i = 0, time = 0.000, E = -17.2",
        frame(" i =        0, time =        0.000, E =     -76.3833"),
        Read([-76.3833 * HARTREE], positions=WATER),
        {"energy": "E", "energy_unit": "Hartree"},
    ),
    (
        "lower-case lattice",
        "scripts of people",
        frame(f"{PLAIN} {E} " + BOX.replace("Lattice", "lattice")),
        Refused("'lattice'.*expected 'Lattice'.*EKD-DATA-074"),
    ),
    (
        "cell instead of Lattice",
        "scripts of people",
        frame(f"{PLAIN} {E} " + BOX.replace("Lattice", "cell")),
        Refused("'cell'.*expected 'Lattice'"),
    ),
    (
        "upper-case PBC",
        "scripts of people",
        frame(f'{PLAIN} {E} {BOX} PBC="F F F"'),
        Refused("'PBC'.*expected 'pbc'"),
    ),
    (
        "lower-case properties",
        "scripts of people",
        frame(f"{FORCES} {E}".replace("Prop", "prop"), columns=F0),
        Refused("'properties'.*expected 'Properties'"),
    ),
    # ------------------------------------------------------------------------------- columns
    (
        "columns in another order",
        "QUIP, fpsample",
        "3\nProperties=forces:R:3:pos:R:3:species:S:1 "
        + E
        + "\n"
        + "".join(
            " ".join(f"{x:.6f}" for x in (*f, *p)) + f" {s}\n"
            for f, p, s in zip(F0, WATER, "OHH", strict=True)
        ),
        Read([ENERGY], positions=WATER, forces=F0),
        {"forces": "forces"},
    ),
    (
        "more columns than there are names for",
        "files with columns added by awk",
        frame(f"{PLAIN} {E}", columns=F0),
        ONE,
    ),
    (
        "fewer columns than names",
        "files with columns cut by awk",
        frame(f"{FORCES} {E}"),
        Refused("has 4 columns; expected 7"),
    ),
    (
        "atomic numbers in a column Z",
        "QUIP",
        frame(f"{PLAIN} {E}".replace("species:S", "Z:I"), symbols="8 1 1"),
        ONE,
    ),
    (
        "atomic numbers as symbols",
        "Molden, Gaussian, home-made writers",
        frame(f"{PLAIN} {E}", symbols="8 1 1"),
        ONE,
    ),
    (
        "symbols in lower and upper case",
        "Turbomole, GAMESS",
        frame(f"{PLAIN} {E}", 1.9 * WATER, symbols="cl H CL"),
        Read([ENERGY], ["HCl2"]),
    ),
    (
        "deuterium and tritium",
        "neutron scattering, CPMD",
        frame(f"{PLAIN} {E}", symbols="O D H"),
        Refused("'D'.*isotope.*'H'"),
    ),
    (
        "ghost atoms",
        "counterpoise corrections, NICS",
        frame(f"{PLAIN} {E}", symbols="O H Bq"),
        Refused("'Bq'.*ghost.*EKD-DATA-047"),
    ),
    (
        "dummy atoms",
        "Z-matrices, ASE",
        frame(f"{PLAIN} {E}", symbols="O H X"),
        Refused("'X'.*ghost"),
    ),
    (
        "labels of atoms",
        "force fields, CIF",
        frame(f"{PLAIN} {E}", symbols="O1 H1 H2"),
        Refused("'O1' is not a chemical symbol"),
    ),
    (
        "ions as symbols",
        "Materials Project, pymatgen",
        frame(f"{PLAIN} {E}", symbols="O2- H+ H+"),
        Refused("is not a chemical symbol"),
    ),
    (
        "energy of every atom as the energy",
        "potentials that decompose the energy",
        frame(f"{PLAIN}:energy:R:1", columns=[[-2000.0], [-40.0], [-38.0]]),
        Refused("'energy'.*one number for every atom.*EKD-DATA-026"),
    ),
)

ODD_FILES = (
    *(
        OddFile(name, found, text(content), outcome, *request)
        for name, found, content, outcome, *request in LISTED
    ),
    OddFile(
        "text in Latin-1",
        "old editors: Å, accents",
        text(frame(f'{PLAIN} {E} note="1 \xc5"'), encoding="latin-1"),
        ONE,
    ),
    OddFile(
        "text in UTF-16",
        "redirected output of PowerShell",
        text(frame(f"{PLAIN} {E}"), encoding="utf-16"),
        Refused("UTF-16"),
    ),
    OddFile("gzip", "archives", packed("x.xyz.gz", gzip.compress), ONE),
    OddFile("bzip2", "archives", packed("x.extxyz.bz2", bz2.compress), ONE),
    OddFile("xz", "archives", packed("x.xyz.xz", lzma.compress), ONE),
    OddFile(
        "gzip that is cut off",
        "downloads that broke off",
        packed("x.xyz.gz", lambda content: gzip.compress(content)[:-20]),
        Refused("cannot be read as extended XYZ"),
    ),
    OddFile(
        "Zstandard",
        "archives",
        packed("x.xyz.zst", lambda content: b"\x28\xb5\x2f\xfd" + content),
        Refused("Zstandard.*unpack"),
    ),
    OddFile(
        "gzip without the suffix",
        "downloads",
        packed("x.xyz", gzip.compress),
        Refused("gzip"),
    ),
    OddFile(
        "pointer of Git LFS",
        "repositories cloned without git-lfs",
        text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        Refused("Git LFS.*git lfs pull.*EKD-DATA-087"),
    ),
    OddFile(
        "web page",
        "downloads behind a login",
        text("<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"),
        Refused("web page.*EKD-DATA-087"),
    ),
)
