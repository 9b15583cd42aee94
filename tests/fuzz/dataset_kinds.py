"""Data sets in formats without checksums that do not use HDF5."""

from __future__ import annotations

import random
from pathlib import Path

import mutations
import numpy as np
from kind import Kind, digest_of_data_file
from mutations import Mutation


class ExtendedXYZ(Kind):
    """Clusters and periodic cells, with forces and labels."""

    name, suffix = "xyz", ".xyz"

    def make(self, folder: Path) -> None:
        from ase import Atoms
        from ase.build import molecule
        from ase.calculators.singlepoint import SinglePointCalculator
        from ase.io import write

        rng = np.random.default_rng(0)
        for name, cell in (("clusters", None), ("cells", [6.0, 7.0, 8.0])):
            frames = []
            for formula in ("H2O", "CH4", "NH3"):
                atoms: Atoms = molecule(formula)
                atoms.positions += 0.02 * rng.normal(size=atoms.positions.shape)
                if cell:
                    atoms.set_cell(cell)
                    atoms.pbc = True
                atoms.info["method"] = "CCSD(T)"
                atoms.calc = SinglePointCalculator(
                    atoms, energy=rng.normal(), forces=rng.normal(size=atoms.positions.shape)
                )
                frames.append(atoms)
            write(folder / f"{name}.xyz", frames, format="extxyz")

    def mutate(self, content: bytes, rng: random.Random) -> Mutation:
        if rng.random() < 0.4:
            return mutations.of_bytes(content, rng, forged=True)
        lines = content.split(b"\n")
        k = rng.randrange(len(lines))
        words = lines[k].split(b" ")
        way = rng.choice(("word", "word", "drop", "double", "join", "line"))
        odd = (b"nan", b"inf", b"-1", b"0", b"1e400", b"999999999999", b"1_0", b"\xff\xfe", b"X")
        odd += (b"He", b'"', b"=", b"Properties=species:S:1", b'pbc="T F"', b'Lattice="0 0 0"')
        if way == "word":
            words[rng.randrange(len(words))] = rng.choice(odd)
        elif way == "drop":
            del words[rng.randrange(len(words))]
        elif way == "double":
            words.insert(rng.randrange(len(words) + 1), rng.choice(words))
        elif way == "join" and len(words) > 1:
            words[:2] = [words[0] + words[1]]
        lines[k] = b" ".join(words)
        if way == "line":
            lines[k : k + 1] = [lines[k]] * rng.choice((0, 2))
        return Mutation(b"\n".join(lines), way, forged=True)

    def read(self, path: Path) -> str:
        return digest_of_data_file(path, forces="forces")


class NPZ(Kind):
    """Arrays of one molecule, in the layout of sGDML."""

    name, suffix = "npz", ".npz"

    def make(self, folder: Path) -> None:
        from ase.build import molecule

        rng = np.random.default_rng(0)
        water = molecule("H2O")
        arrays = {
            "R": water.positions + 0.02 * rng.normal(size=(5, 3, 3)),
            "z": water.numbers.astype(np.uint8),
            "E": rng.normal(size=5),
            "F": rng.normal(size=(5, 3, 3)),
            "e_unit": "eV",
            "r_unit": "Ang",
        }
        np.savez(folder / "plain.npz", **arrays)
        np.savez_compressed(folder / "packed.npz", **arrays)

    def mutate(self, content: bytes, rng: random.Random) -> Mutation:
        way = rng.randrange(10)
        if way < 4:
            return mutations.of_bytes(content, rng, forged=True)
        if way == 4:
            return mutations.of_index(content, rng)
        if way == 5:
            return mutations.of_archive(content, rng)
        if way == 6:
            return mutations.of_record(content, rng, "", mutations.bad_numbers, "numbers")
        return mutations.of_record(content, rng, ".npy", mutations.any_bytes, "record")

    def read(self, path: Path) -> str:
        return digest_of_data_file(path, forces="F")
