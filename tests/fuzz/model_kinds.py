"""Exported models and checkpoints."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import mutations
import numpy as np
from kind import GOLDEN, ROOT, Kind, digest
from mutations import Mutation


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
