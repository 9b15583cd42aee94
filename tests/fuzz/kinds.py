"""The kinds of files that are damaged: valid files, ways to damage them, and ways to read them."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import random
import shutil
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutations
import numpy as np
from mutations import Mutation

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


class Wrong(Exception):  # noqa: N818  # describes a reader, not an error
    """The behavior of a reader is a finding."""


class Kind(ABC):
    """A kind of file.

    Attributes:
        name: name in the table.
        suffix: suffix of the files.
        outside: folders of packages whose crashes are not findings.
    """

    name: str
    suffix: str
    outside: tuple[str, ...] = ()

    @abstractmethod
    def make(self, folder: Path) -> None:
        """Write valid files to an empty folder."""

    @abstractmethod
    def mutate(self, content: bytes, rng: random.Random) -> Mutation:
        """Damage a file."""

    @abstractmethod
    def read(self, path: Path) -> str:
        """Read a file; returns a digest of its contents.

        Raises:
            EKDError: the file is refused.
            Wrong: the file is accepted, but should be refused.
        """


def digest(value: Any) -> str:
    """SHA-256 of plain types and arrays, including their types."""
    found = hashlib.sha256()

    def add(part: Any) -> None:
        found.update(type(part).__name__.encode())
        if isinstance(part, dict):
            for key in part:
                add(key)
                add(part[key])
        elif isinstance(part, (list, tuple)):
            found.update(str(len(part)).encode())
            for each in part:
                add(each)
        elif hasattr(part, "detach"):
            add(part.detach().cpu().numpy())
        elif isinstance(part, np.ndarray):
            found.update(f"{part.dtype} {part.shape}".encode())
            data = part.tolist() if part.dtype.kind in "OU" else part.tobytes()
            found.update(data if isinstance(data, bytes) else repr(data).encode())
        else:
            found.update(repr(part).encode())

    add(value)
    return found.hexdigest()


# ----------------------------------------------------------------------------------- exported model


class Exported(Kind):
    """Format 4: opened, self-tested and evaluated as by LAMMPS and ASE, without torch."""

    name, suffix = "exported", ".pt"

    def make(self, folder: Path) -> None:
        shutil.copy(ROOT / "python" / "ekd" / "lammps" / "smoke_test.pt", folder)

    def mutate(self, content: bytes, rng: random.Random) -> Mutation:
        way = rng.randrange(10)
        if way < 3:
            return mutations.of_bytes(content, rng)
        if way == 3:
            return mutations.of_index(content, rng)
        if way == 4:
            tail = rng.choice(("", ".json", ".bin", "ekd_format"))
            return mutations.of_archive(content, rng, tail)
        if way == 5:
            return mutations.of_record(
                content, rng, "ekd_weights.bin", mutations.bad_numbers, "numbers"
            )
        if way == 6:
            tail = rng.choice((".json", "ekd_weights.bin", "ekd_format"))
            return mutations.of_record(content, rng, tail, mutations.any_bytes, "record")
        if way == 7:
            return self._reshaped(content, rng)
        tail = rng.choice(("ekd_metadata.json", "ekd_weights.json"))
        return mutations.of_record(content, rng, tail, mutations.json_text, "JSON")

    def _reshaped(self, content: bytes, rng: random.Random) -> Mutation:
        """Change the shape or the offset of an array."""

        def change(text: bytes, rng: random.Random) -> bytes:
            document = json.loads(text)
            array = rng.choice(document["arrays"])
            kind = rng.randrange(4)
            if kind == 0:
                array["shape"].reverse()
            elif kind == 1:
                array["shape"] = [int(np.prod(array["shape"]))]
            elif kind == 2:
                other = rng.choice(document["arrays"])
                array["offset"], other["offset"] = other["offset"], array["offset"]
            else:
                array["shape"] = [n * rng.choice((1, 2, 2**20, 2**31)) for n in array["shape"]]
            return json.dumps(document).encode()

        return mutations.of_record(content, rng, "ekd_weights.json", change, "shape")

    def read(self, path: Path) -> str:
        from ekd.errors import ModelFileError
        from ekd.inference import ExportedModel, read_metadata, run_self_test

        read_metadata(path)
        model = ExportedModel(path)
        if not (report := run_self_test(model)).passed:
            raise ModelFileError(f"'{path}' fails its self-test by {report}")
        rng = np.random.default_rng(0)
        numbers = np.resize(model.metadata.atomic_numbers, 7)
        found = model.evaluate(numbers, 3.0 * rng.normal(size=(7, 3)))
        alone = model.evaluate(numbers[:1], np.zeros((1, 3)))
        metadata = json.loads(model._runtime.metadata_json)
        return digest([metadata, found.forces, found.atomic_energies, alone.energy])


class Script(Exported):
    """Formats 2 and 3, which are run by torch."""

    name, outside = "script", ("torch",)

    def make(self, folder: Path) -> None:
        for name in ("exported-2.pt", "exported-3-single.pt"):
            shutil.copy(GOLDEN / name, folder)

    def mutate(self, content: bytes, rng: random.Random) -> Mutation:
        way = rng.randrange(10)
        if way < 6:
            return mutations.of_torch_file(content, rng, way)
        if way < 8:
            tail = rng.choice((".pkl", ".py", "ekd_format"))
            return mutations.of_record(content, rng, tail, mutations.any_bytes, "record")
        return mutations.of_record(content, rng, "metadata.json", mutations.json_text, "JSON")


class Checkpoint(Kind):
    """Checkpoints of finished and interrupted trainings, in the first and the last format."""

    name, suffix, outside = "checkpoint", ".pt", ("torch",)

    def make(self, folder: Path) -> None:
        for name in ("1-finished", "5-finished", "5-broken-off"):
            shutil.copy(GOLDEN / f"checkpoint-{name}.pt", folder)

    def mutate(self, content: bytes, rng: random.Random) -> Mutation:
        way = rng.randrange(8)
        if way < 6:
            return mutations.of_torch_file(content, rng, way)
        if way == 6:
            return mutations.of_record(content, rng, "data.pkl", mutations.any_bytes, "pickle")
        return mutations.of_record(content, rng, "data.pkl", self._opcode, "opcode")

    def _opcode(self, content: bytes, rng: random.Random) -> bytes:
        """Replace an operation of the pickle or its argument, or insert operations."""
        import pickletools

        places = [place for _, _, place in pickletools.genops(content) if place is not None]
        changed = bytearray(content)
        at = rng.choice(places)
        kind = rng.randrange(3)
        if kind == 0:
            changed[at] = ord(rng.choice(list(pickletools.code2op)))
        elif kind == 1 and at + 5 < len(changed):
            changed[at + 1 : at + 5] = (rng.choice(mutations.SIZES) % 2**32).to_bytes(4, "little")
        else:
            wide = rng.choice(
                (b"r\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f", b"(" * 50, b"]" * 5000)
            )
            changed[at:at] = wide
        return bytes(changed)

    def read(self, path: Path) -> str:
        from ekd.training import TrainedModel, checkpoint

        contents = checkpoint.load(path)
        if contents["state"] is not None:
            return digest(contents)
        model = TrainedModel.load(path)
        return digest([contents, model.model.state_dict(), model.model_config.model_dump()])


# -------------------------------------------------------------------------------------------- HDF5


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
        from ekd.data import load_dataset

        data = load_dataset(path, energy="energy", forces="forces")
        if not np.isfinite(data.positions).all() or not np.isfinite(data.energies).all():
            raise Wrong("numbers that are not finite")
        return self.digest(data)

    @staticmethod
    def digest(data: Any) -> str:
        names = ("atomic_numbers", "positions", "offsets", "energies", "groups", "forces")
        arrays = [np.asarray(getattr(data, name)) for name in names]
        arrays[0] = arrays[0].astype(np.int64)  # the type of integers may differ
        rest = [data.cells, data.pbc, dict(data.reference_energies or {}), data.fingerprint]
        return digest([*arrays, *rest])


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

        return self.digest(load_dataset(path))


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
        extra = None if labels.extra is None else HDF5.digest(labels.extra)
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


# -------------------------------------------------------------------------------------------- TOML


class TOML(Kind):
    """Configurations; no setting in a file may be ignored."""

    name, suffix = "toml", ".toml"

    def make(self, folder: Path) -> None:
        from ekd.config import load_config, write_config

        source = ROOT / "examples" / "quickstart.toml"
        shutil.copy(source, folder / "quickstart.toml")
        write_config(load_config(source), folder / "resolved.toml")

    def mutate(self, content: bytes, rng: random.Random) -> Mutation:
        if rng.random() < 0.4:
            return mutations.of_bytes(content, rng, forged=True)
        lines = content.decode().split("\n")
        settings = [k for k, line in enumerate(lines) if "=" in line and not line.startswith("#")]
        k = rng.choice(settings)
        key, _, value = lines[k].partition("=")
        kind = rng.choice(("value", "value", "value", "key", "double", "drop", "move", "section"))
        if kind == "value":
            odd = ("nan", "inf", "-inf", "1e999", "-1", "0", "1.5", "true", '""', '"x"', "[]", "{}")
            odd += ("1" * 5000, "99999999999999999999", "2020-01-01", "[[[1]]]", "[" * 3000, '"""')
            odd += (
                '"\\u0000"',
                '"../../../x"',
                '"\\ud800"',
                "{a = {b = {c = 1}}}",
                "[1, 'a']",
                "é",
            )
            odd += ("[" * 100 + "]" * 100, "0x7fffffffffffffff", "1_000", '"a\\nb"', value + value)
            lines[k] = f"{key}= {rng.choice(odd)}"
        elif kind == "key":
            new = "".join(rng.choices("abcxyz_.-\"' é", k=rng.randint(1, 9)))
            lines[k] = f"{rng.choice((new, key.strip() + 's', key.strip() + '.x'))} = {value}"
        elif kind == "double":
            lines.insert(rng.randrange(len(lines)), lines[k])
        elif kind == "drop":
            del lines[k]
        elif kind == "move":
            line = lines.pop(k)
            lines.insert(rng.randrange(len(lines)), line)
        else:
            names = ("[data]", "[[data]]", "[model.x]", "[]", "[a.b.c]", "[student]", "[[labels]]")
            lines.insert(rng.randrange(len(lines)), rng.choice((*names, "[" + "a." * 2000 + "a]")))
        return Mutation("\n".join(lines).encode("utf-8", "replace"), kind, forged=True)

    def read(self, path: Path) -> str:
        from ekd.config import load_config

        config = load_config(path)
        settings = config.model_dump(mode="json")
        _require_taken(tomllib.loads(path.read_text("utf-8")), settings, "")
        settings.pop("output")
        return digest(settings)


def _require_taken(written: Any, taken: Any, name: str) -> None:
    """Check that the configuration contains all settings of a file."""
    if isinstance(written, dict):
        for key, value in written.items():
            if not isinstance(taken, dict) or key not in taken:
                raise Wrong(f"'{name}{key}' is ignored")
            _require_taken(value, taken[key], f"{name}{key}.")
    elif isinstance(written, list):
        if not isinstance(taken, list) or len(written) != len(taken):
            raise Wrong(f"'{name}' is {taken}, written as {written}")
        for one, other in zip(written, taken, strict=True):
            _require_taken(one, other, name)
    elif isinstance(written, str) and isinstance(taken, str):
        if written != taken and Path(written).name not in taken:  # a path that was made absolute
            raise Wrong(f"'{name}' is {taken!r}, written as {written!r}")
    elif isinstance(taken, float) and type(written) is int:
        _require_taken(float(written), taken, name)
    elif written != taken or isinstance(written, bool) != isinstance(taken, bool):
        raise Wrong(f"'{name}' is {taken!r}, written as {written!r}")


KINDS: dict[str, Callable[[], Kind]] = {
    kind.name: kind for kind in (Exported, Script, Checkpoint, HDF5, Labels, Prepared, TOML)
}
