"""HDF5 files: data, prepared data and labels."""

from __future__ import annotations

import dataclasses
import io
import random
from pathlib import Path
from typing import Any

import mutations
import numpy as np
from kind import Kind, digest, digest_of_data, digest_of_data_file
from mutations import Mutation


class HDF5(Kind):
    """Files in the layout of ANI, where ekd stores no checksum."""

    name, suffix = "hdf5", ".h5"
    sealed = False

    def make(self, folder: Path) -> None:
        import h5py

        rng = np.random.default_rng(0)
        for name, options in (
            ("plain", {}),
            ("packed", {"compression": "gzip", "fletcher32": True}),
        ):
            with h5py.File(folder / f"{name}.h5", "w") as file:
                for formula, numbers in (("H2O", [8, 1, 1]), ("CH4", [6, 1, 1, 1, 1])):
                    group = file.create_group(formula)
                    group["atomic_numbers"] = np.array(numbers, dtype=np.uint8)
                    shape = (4, len(numbers), 3)
                    group.create_dataset("coordinates", data=rng.normal(size=shape), **options)
                    group.create_dataset("energy", data=rng.normal(size=4), **options)
                    group.create_dataset("forces", data=rng.normal(size=shape), **options)
                    group["energy"].attrs["units"] = "eV"
                    group["forces"].attrs["units"] = "eV/Å"

    def mutate(self, content: bytes, rng: random.Random) -> Mutation:
        if rng.random() < 0.7:
            return mutations.of_bytes(content, rng, forged=not self.sealed)
        return self._edited(content, rng)

    def _edited(self, content: bytes, rng: random.Random) -> Mutation:
        """Change an array, a group or an attribute with h5py."""
        import h5py

        memory = io.BytesIO(content)
        with h5py.File(memory, "r+") as file:
            names: list[str] = []
            file.visit(names.append)
            name = rng.choice(names)
            kind = rng.choice(("drop", "shape", "type", "number", "group", "link", "attribute"))
            item = file[name]
            if kind == "attribute" or not isinstance(item, h5py.Dataset):
                kind = "attribute"
                item = file if rng.random() < 0.7 else item
                known = [*item.attrs, "units", "pbc", "level_of_theory"]
                values = ("", "Hartree", "é" * 99, 3, -1, 2.5, np.nan, np.zeros(3), b"\xff", "{}")
                values += ("[]", "null", '{"H": "x"}', '[{"name": 1}]', "[" * 5000)
                item.attrs[rng.choice(known)] = rng.choice(values)
            else:
                array = item[()]
                del file[name]
                if kind == "shape":
                    ways = (array[:-1], array.reshape(-1), array[None], array[:0], array[::-1])
                    file[name] = rng.choice(ways) if array.ndim else array
                elif kind == "type":
                    types = ("f4", "i8", "u1", "S3", "c16", "i2", ">f8", "b1")
                    numeric = array.dtype.kind in "fiu"
                    file[name] = (
                        array.astype(rng.choice(types)) if numeric else np.zeros(len(array))
                    )
                elif kind == "number" and array.size and array.dtype.kind in "fiu":
                    values = [-1, 0, 1, 255, 2**31 - 1]
                    if array.dtype.kind == "f":
                        values += [np.nan, np.inf, 1e300]
                    value = rng.choice(values)
                    array.flat[rng.randrange(array.size)] = np.array(value).astype(array.dtype)
                    file[name] = array
                elif kind == "group":
                    file.create_group(name)
                elif kind == "link":
                    links = (h5py.SoftLink("/nothing"), h5py.ExternalLink("../../x.h5", "/x"))
                    file[name] = rng.choice((*links, h5py.SoftLink("/")))
        return Mutation(memory.getvalue(), f"h5py: {kind}", forged=not self.sealed)

    def read(self, path: Path) -> str:
        return digest_of_data_file(path, energy="energy", forces="forces")


class Prepared(HDF5):
    """Files of ``ekd prepare``, with and without compression."""

    name, sealed = "prepared", True

    def make(self, folder: Path) -> None:
        from ekd.data import prepared

        data = small_data()
        index = {name: k for k, name in enumerate(sorted(set(data.groups.tolist())))}
        columns = {
            "offsets": data.offsets,
            "atomic_numbers": data.atomic_numbers.astype(np.uint8),
            "positions": data.positions,
            "energies": data.energies,
            "forces": data.forces,
            "cells": data.cells,
            "pbc": data.pbc.astype(np.uint8),
            "group_index": np.array([index[name] for name in data.groups.tolist()], dtype=np.int32),
        }
        for name, compress in (("compressed", True), ("contiguous", False)):
            prepared.write(
                folder / f"{name}.h5",
                {key: [array] for key, array in columns.items()},
                {key: array.shape for key, array in columns.items()},
                list(index),
                "CCSD(T)",
                0,
                {"sources": [{"energy": "energy", "forces": "forces"}]},
                compress=compress,
                reference_energies={1: -13.6, 6: -1030.0, 8: -2041.8},
            )

    def read(self, path: Path) -> str:
        from ekd.data import load_dataset

        return digest_of_data(load_dataset(path))


class Labels(HDF5):
    """Label files, with and without extra configurations."""

    name, sealed = "labels", True

    def make(self, folder: Path) -> None:
        from ekd.config import WallConfig
        from ekd.distillation.label_file import TeacherRecord
        from ekd.distillation.labels import Labels as Written

        data = small_data()
        rng = np.random.default_rng(1)
        unknown = dataclasses.replace(data.subset([0, 2]), energies=np.full(2, np.nan), forces=None)
        for name, extra in (("plain", None), ("extra", unknown)):
            n_atoms = len(data.positions) + (0 if extra is None else len(extra.positions))
            n_configs = len(data) + (0 if extra is None else len(extra))
            Written(
                energies=rng.normal(size=n_configs),
                energies_std=rng.random(n_configs),
                member_energies=rng.normal(size=(n_configs, 2)),
                forces=rng.normal(size=(n_atoms, 3)),
                forces_std=rng.random(n_atoms),
                teachers=(TeacherRecord("a", "0" * 64, True), TeacherRecord("b", "1" * 64, True)),
                data_fingerprint=data.fingerprint,
                extra=extra,
                chunk_size=2,
                wall=None if extra is None else WallConfig(),
            ).save(folder / f"{name}.h5", data)

    def read(self, path: Path) -> str:
        from ekd.distillation.labels import Labels as Written

        labels = Written.load(path)
        names = ("energies", "energies_std", "member_energies", "forces", "forces_std")
        arrays = [np.asarray(getattr(labels, name)) for name in names]
        extra = None if labels.extra is None else digest_of_data(labels.extra)
        identity = [teacher.identity for teacher in labels.teachers]
        wall = labels.wall and labels.wall.model_dump()
        return digest([*arrays, labels.data_fingerprint, extra, identity, labels.chunk_size, wall])


def small_data() -> Any:
    """A few molecules and a crystal."""
    from ekd.data import Dataset, Provenance

    rng = np.random.default_rng(0)
    sizes = np.array([3, 5, 3, 2])
    numbers = np.array([8, 1, 1, 6, 1, 1, 1, 1, 8, 1, 1, 6, 8])
    cells, pbc = np.zeros((4, 3, 3)), np.zeros((4, 3), dtype=bool)
    cells[3], pbc[3] = 5.0 * np.eye(3), True
    return Dataset(
        atomic_numbers=numbers,
        positions=rng.normal(size=(13, 3)),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        energies=rng.normal(size=4),
        groups=np.array(["H2O", "CH4", "H2O", "CO"]),
        provenance=Provenance("small", "", "none", 0),
        forces=rng.normal(size=(13, 3)),
        cells=cells,
        pbc=pbc,
    )
