"""Plain weights of a file: read as written, and refused if invalid."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ekd.errors import ModelFileError
from ekd.inference import ExportedModel, has_weights
from models import random_committee, random_model, rewritten, with_other_class, without_weights

WATER = ([8, 1, 1], [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "student.pt"
    return random_model(path, n_hidden=4, n_interactions=2, zbl=True)


def with_description(source: Path, target: Path, change: Callable[[Any], None]) -> Path:
    """A copy whose description of the weights is changed."""

    def edit(name: str, content: bytes) -> bytes:
        if name != "extra/ekd_weights.json":
            return content
        description = json.loads(content)
        change(description)
        return json.dumps(description).encode()

    return rewritten(source, target, edit)


def with_numbers(source: Path, target: Path, change: Callable[[bytearray], None]) -> Path:
    """A copy with changed numbers and a valid checksum."""

    def edit(name: str, content: bytes) -> bytes:
        if name != "extra/ekd_weights.bin":
            return content
        numbers = bytearray(content)
        change(numbers)
        return bytes(numbers)

    return rewritten(source, target, edit)


def array(description: Any, name: str) -> Any:
    return next(entry for entry in description["arrays"] if entry["name"] == name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_same_as_its_torchscript(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "committee.pt"
    random_committee(path, dtype=dtype, n_hidden=4, n_interactions=2, zbl=True)
    script = without_weights(path, tmp_path / "script.pt")
    assert has_weights(path)
    assert not has_weights(script)
    one, other = (ExportedModel(file).evaluate(*WATER) for file in (path, script))
    np.testing.assert_array_equal(one.forces, other.forces)
    assert one.energy == other.energy
    assert one.energy_std == other.energy_std
    np.testing.assert_array_equal(one.uncertainty, other.uncertainty)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["arrays"].pop(0), "its weights overlap, or leave numbers unused"),
        (lambda d: array(d, "0.blocks.0.outer.weight").update(name="0.x"), "there is no weight '"),
        (lambda d: d.update(new=1), "it has the unknown key 'new'"),
        (lambda d: d["members"][0].update(new=1), "a member has the unknown key 'new'"),
        (lambda d: d["arrays"][0].update(new=1), "an array has the unknown key 'new'"),
        (
            lambda d: d["members"][0].update(n_atom_layers=0),
            "the network does not use the weight",
        ),
        (lambda d: d.pop("arrays"), "the description of its weights cannot be read"),
        (lambda d: d.pop("members"), "the description of its weights cannot be read"),
        (lambda d: d["members"].clear(), "belongs to no network of the file"),
        (
            lambda d: d["members"].append(d["members"][0]),
            "'n_members' in its metadata does not match the model",
        ),
        (lambda d: d["members"][0].update(cutoff=3.0), "'cutoff' in its metadata does not match"),
        (lambda d: d["members"][0].update(cusp=[1e-3]), "'n_interactions' in its metadata does"),
        (
            lambda d: d["members"][0].update(cusp=[1e-3, -1.0]),
            "a cusp is not a number of 0 or more",
        ),
        (lambda d: d["members"][0].update(uncertainty=False), "'uncertainty' in its metadata"),
        (lambda d: d["members"][0].update(l_max=7), "l_max is not 0, 1 or 2"),
        (lambda d: d["members"][0].update(l_max=1), "has the shape .*, expected "),
        (lambda d: d["members"][0].update(n_atom_layers=9), r"no weight 'blocks\.0\.atom_layers"),
        (lambda d: d["members"][0].update(n_atom_layers=-1), "the number of atom layers is"),
        (lambda d: d["members"][0].update(architecture="Allegro"), "those of 'Allegro', expected"),
        (
            lambda d: array(d, "0.blocks.0.outer.weight").update(shape=[64]),
            r"'blocks\.0\.outer\.weight' has the shape \[64\], expected \[8, 8\]",
        ),
        (
            lambda d: array(d, "0.blocks.0.outer.weight").update(shape=[1 << 40, 1 << 40]),
            r"has the shape \[1099511627776, 1099511627776\]",
        ),
        (
            lambda d: array(d, "0.blocks.0.outer.weight").update(shape=[-8, -8]),
            r"has the shape \[-8, -8\]",
        ),
        (
            lambda d: array(d, "0.blocks.0.outer.weight").update(shape=[1, 1, 1, 8, 8]),
            "has more than 4 dimensions",
        ),
        (
            lambda d: array(d, "0.blocks.0.outer.weight").update(offset=1 << 60),
            "extends beyond the end of its record",
        ),
        (
            lambda d: array(d, "0.blocks.0.outer.weight").update(offset=-8),
            "extends beyond the end of its record",
        ),
        (
            lambda d: array(d, "0.blocks.0.outer.weight").update(dtype="float16"),
            "is of type 'float16', expected float32 or float64",
        ),
        (
            lambda d: array(d, "0.blocks.0.interaction.sensitivities.mu").update(shape=[1, 6]),
            "has no sensitivities, or too many",
        ),
    ],
)
def test_unsound_description(
    exported: Path, tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    path = with_description(exported, tmp_path / "unsound.pt", change)
    with pytest.raises(ModelFileError, match=message) as caught:
        ExportedModel(path)
    assert str(path) in str(caught.value)


def test_numbers_that_are_not_finite(exported: Path, tmp_path: Path) -> None:
    def change(numbers: bytearray) -> None:
        numbers[:8] = np.array([np.nan]).tobytes()

    path = with_numbers(exported, tmp_path / "nan.pt", change)
    with pytest.raises(ModelFileError, match="has a number that is not finite"):
        ExportedModel(path)


def test_numbers_that_end_early(exported: Path, tmp_path: Path) -> None:
    def change(numbers: bytearray) -> None:
        del numbers[80:]

    path = with_numbers(exported, tmp_path / "short.pt", change)
    with pytest.raises(ModelFileError, match="extends beyond the end of its record"):
        ExportedModel(path)


def test_a_flipped_bit(exported: Path, tmp_path: Path) -> None:
    """The archive has a checksum for each record."""
    content = bytearray(exported.read_bytes())
    name = b"extra/ekd_weights.bin"
    content[content.index(name) + len(name) + 100] ^= 0x10
    (tmp_path / "flipped.pt").write_bytes(content)
    with pytest.raises(ModelFileError, match="is truncated or damaged: the checksum of the record"):
        ExportedModel(tmp_path / "flipped.pt")


def test_torch_is_not_imported(exported: Path) -> None:
    code = f"""
import sys
from ase import Atoms
from ekd import EKDCalculator
from ekd.inference import run_self_test
atoms = Atoms("OH2", {WATER[1]}, calculator=EKDCalculator({str(exported)!r}))
atoms.get_forces()
assert run_self_test(atoms.calc.model).passed
assert "torch" not in sys.modules, "torch was imported"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("make", [without_weights, with_other_class])
def test_torch_is_asked_for_where_it_is_needed(
    exported: Path, tmp_path: Path, make: Callable[[Path, Path], Path]
) -> None:
    script = make(exported, tmp_path / "script.pt")
    code = f"""
import sys
sys.modules["torch"] = None  # an import of it fails
from ekd import ExportedModel
from ekd.errors import BuildError
from ekd.inference import read_metadata
print(read_metadata({str(script)!r}).elements)
try:
    ExportedModel({str(script)!r})
except BuildError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True)
    assert "torch is not installed" in found.stdout
    assert "pip install 'ekd[train]'" in found.stdout
