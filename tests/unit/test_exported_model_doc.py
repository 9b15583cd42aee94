"""docs/exported_model.md lists exactly the fields of an exported student."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset
from ekd.distillation import Labels, distill
from ekd.distillation.label_file import TeacherRecord
from ekd.errors import ModelFileError
from ekd.inference import read_metadata
from models import other_format

PAGE = Path(__file__).parents[2] / "docs" / "exported_model.md"


def _list_of(kind: type | tuple[type, ...]) -> Callable[[Any], bool]:
    """Whether a value is a list of that type, or nested lists of it."""

    def check(value: Any) -> bool:
        return isinstance(value, list) and all(
            check(entry) if isinstance(entry, list) else isinstance(entry, kind) for entry in value
        )

    return check


# Names of types on the page, and checks of the corresponding JSON values.
TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "string or null": lambda value: value is None or isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, float),
    "number or null": lambda value: value is None or isinstance(value, float),
    "map": lambda value: isinstance(value, dict),
    "list of strings": _list_of(str),
    "list of integers": _list_of(int),
    "list of numbers": _list_of(float),
    "list of booleans": _list_of(bool),
}


@pytest.fixture(scope="module")
def documented() -> dict[str, str]:
    """Type of every field, by its dotted name."""
    fields = re.findall(r"^\| `([\w.]+)` \| ([\w ]+) \|.*\|.*\|$", PAGE.read_text(), re.MULTILINE)
    assert len(fields) == len(dict(fields)), "a field is listed twice"
    return dict(fields)


@pytest.fixture(scope="module")
def archive(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student trained on labels and exported."""
    data = small_dataset.subset(np.arange(12))
    labels = Labels(
        energies=data.energies,
        energies_std=np.zeros(len(data)),
        member_energies=np.zeros((len(data), 2)),
        forces=np.zeros_like(data.positions),
        forces_std=np.zeros(data.n_atoms),
        data_fingerprint=data.fingerprint,
        teachers=tuple(TeacherRecord(name, name * 64, True) for name in "ab"),
    )
    model = HIPNNConfig(n_features=4, n_sensitivities=4, cutoff=4.0, soft_max=3.0)
    student = distill(data, labels, model, TrainingConfig(epochs=1), progress=False)
    path = tmp_path_factory.mktemp("model") / "student.pt"
    student.export(path, description="for a test")
    return path


@pytest.fixture(scope="module")
def records(archive: Path) -> dict[str, bytes]:
    """The extra records of the archive, read without any of ekd's code."""
    with zipfile.ZipFile(archive) as file:
        return {
            name.split("/", 1)[1]: file.read(name) for name in file.namelist() if "/extra/" in name
        }


def leaves(document: dict[str, Any], maps: set[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field by its dotted name, including those of nested objects except ``maps``."""
    for key, value in document.items():
        name = prefix + key
        if isinstance(value, dict) and name not in maps:
            yield from leaves(value, maps, name + ".")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for entry in value:
                yield from leaves(entry, maps, name + ".")
        else:
            yield name, value


def test_fields_and_their_types(documented: dict[str, str], records: dict[str, bytes]) -> None:
    maps = {name for name, kind in documented.items() if kind == "map"}
    found = dict(leaves(json.loads(records["extra/ekd_metadata.json"]), maps))
    assert sorted(found) == sorted(documented)
    for name, value in found.items():
        assert TYPES[documented[name]](value), f"{name} is {value!r}, not a {documented[name]}"


def test_records(records: dict[str, bytes]) -> None:
    named = re.findall(r"^\| `(extra/[\w.]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(records) == sorted(named)
    assert records["extra/ekd_format"] == b"4"


@pytest.mark.parametrize("number", ["1", "5"])
def test_refusal_of_another_format_is_quoted(archive: Path, tmp_path: Path, number: str) -> None:
    with pytest.raises(ModelFileError) as refusal:
        read_metadata(other_format(archive, tmp_path / "student.pt", number))
    message = refusal.value.message.replace(f"{tmp_path}/", "")
    quoted = PAGE.read_text().replace("\n> ", " ")
    assert re.sub(r"ekd [\d.]+", "ekd 0.1.0", message) in quoted
