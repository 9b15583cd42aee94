"""Damaged or malicious checkpoints are refused with a message that names the file."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ekd.errors import CheckpointError
from ekd.training import TrainedModel, checkpoint
from models import rewritten

GOLDEN = Path(__file__).parents[2] / "golden" / f"checkpoint-{checkpoint.FORMAT}-finished.pt"


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    contents = torch.load(GOLDEN, weights_only=True)
    change(contents)
    torch.save(contents, path)
    return path


def refuse(path: Path, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        TrainedModel.load(path)
    assert str(path) in str(caught.value)


def test_flipped_bit_of_a_weight(tmp_path: Path) -> None:
    """Torch reads it as another weight, because it does not verify checksums."""
    with zipfile.ZipFile(GOLDEN) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data/4"))
        weight = archive.read(name)
    content = bytearray(GOLDEN.read_bytes())
    content[content.index(weight) + 7] ^= 1
    torch.load(io.BytesIO(content), weights_only=True)
    path = tmp_path / "flipped.pt"
    path.write_bytes(content)
    refuse(path, r"damaged \(the checksum of the record 'data/4' does not match the index\)")


def test_size_that_the_record_does_not_have(tmp_path: Path) -> None:
    """Torch would read memory beyond it."""

    def edit(name: str, content: bytes) -> bytes:
        if name != "data.pkl":
            return content
        # Change the size of a tensor from 4 to 200: ('storage', DoubleStorage, '0', 'cpu', 4).
        at = content.index(b"cpu") + content[content.index(b"cpu") :].index(b"K\x04")
        return content[: at + 1] + b"\xc8" + content[at + 2 :]

    path = rewritten(GOLDEN, tmp_path / "longer.pt", edit)
    refuse(path, r"record 'data/0' has 32 bytes, expected 200 numbers")


def test_tensor_that_repeats_its_memory(tmp_path: Path) -> None:
    def grow(contents: dict[str, Any]) -> None:
        contents["model"]["reference_energies"] = torch.zeros(1).expand(10**12)

    refuse(changed(tmp_path / "large.pt", grow), r"a tensor of \(1000000000000,\) does not lie in")


def test_code_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "code was run",)

    torch.save(Trap(), tmp_path / "trap.pt")
    refuse(
        tmp_path / "trap.pt", r"it holds a __builtin__.getattr, expected plain types and tensors"
    )
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Trap()))
    refuse(tmp_path / "plain.pt", "it is no archive")
    assert not (tmp_path / "code was run").exists()


def test_number_of_the_memo_that_would_fill_the_memory(tmp_path: Path) -> None:
    def edit(name: str, content: bytes) -> bytes:
        huge = b"r" + struct.pack("<I", 2**32 - 1)
        return content[:3] + huge + content[3:] if name == "data.pkl" else content

    refuse(rewritten(GOLDEN, tmp_path / "memo.pt", edit), "number 4294967295 of its memo")


def deep(contents: dict[str, Any]) -> None:
    value: list[Any] = []
    for _ in range(100):
        value = [value]
    contents["provenance"]["deep"] = value


def many(contents: dict[str, Any]) -> None:
    value: list[Any] = [0]
    for _ in range(40):  # a few hundred bytes, 2^40 values
        value = [value, value]
    contents["provenance"]["many"] = value


def circular(contents: dict[str, Any]) -> None:
    contents["provenance"]["itself"] = contents["provenance"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (deep, "nested more than 64 deep"),
        (many, "holds more than 10000000 values"),
        (circular, "contains itself"),
        (lambda c: c.update(surprise=1), "too many or too few: surprise"),
        (lambda c: c.pop("history"), "too many or too few: history"),
        (lambda c: c.update(format=True), "has checkpoint format True, expected 1 to"),
        (lambda c: c.update(provenance=[]), "'provenance' is a list"),
        (lambda c: c.update(history=[1]), "'history' holds something else than records"),
        (lambda c: c.update(elements=[1, 1, 7, 8]), "one of them is there twice"),
        (lambda c: c.update(elements=[1, 6, 7, 300]), "are not atomic numbers"),
        (lambda c: c["model_config"].update({"n_f\x1b[2J": 1}), r"unknown key 'n_f\?\[2J'"),
        (lambda c: c["model_config"].update(n_features=10**9), r"shape \(4,\)|has the shape"),
        (lambda c: c["model_config"].update(n_interactions=10**9), "there is no"),
        (lambda c: c["model_config"].update(cutoff=-1.0), "cutoff"),
        (lambda c: c["model"].pop("blocks.0.outer.bias"), "blocks.0.outer.bias"),
        (lambda c: c["model"].update(surplus=torch.zeros(1)), "surplus"),
        (lambda c: c["model"].update(name=1), "something else than tensors"),
        (lambda c: c["model"]["blocks.0.outer.bias"].fill_(float("nan")), "not finite"),
        (lambda c: c["model"].update({"blocks.0.outer.bias": torch.zeros(3).half()}), "float16"),
        (lambda c: c["model"].update({"blocks.0.outer.bias": torch.zeros(5).double()}), "size mis"),
        (lambda c: c.update(state={"step_count": 1}), "there is no 'weights'"),
        (lambda c: c.update(state={}, training_config=None), "has no settings"),
    ],
)
def test_contents_that_are_unsound(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    refuse(changed(tmp_path / "odd.pt", change), words)


def test_records_that_two_readers_could_read_differently(tmp_path: Path) -> None:
    path = tmp_path / "double.pt"
    with zipfile.ZipFile(GOLDEN) as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item))
            if item.filename.endswith("/data/4"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # from zipfile, about the name
                    new.writestr(item.filename, bytes(item.file_size))
    refuse(path, "data/4' occurs twice")
