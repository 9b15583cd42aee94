"""Every file that is not a valid exported model is refused, with a message that names it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch

from ekd.errors import EKDError, ModelFileError
from ekd.inference import ExportedModel, read_metadata, run_self_test
from models import other_format, random_model, rewritten, without_weights


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("model") / "student.pt")


def with_metadata(source: Path, target: Path, **changes: object) -> Path:
    """A copy with changed metadata; the value ``...`` removes a key."""

    def edit(name: str, content: bytes) -> bytes:
        if name != "extra/ekd_metadata.json":
            return content
        metadata = json.loads(content)
        for key, value in changes.items():
            if value is ...:
                del metadata[key]
            else:
                metadata[key] = value
        return json.dumps(metadata).encode()

    return rewritten(source, target, edit)


def test_metadata_is_complete(exported: Path) -> None:
    metadata = read_metadata(exported)
    assert metadata.elements == ["H", "C", "N", "O"]
    assert metadata.atomic_numbers == [1, 6, 7, 8]
    assert metadata.interaction_range == metadata.n_interactions * metadata.cutoff == 4.0
    assert metadata.feature_widths == [4, 8]
    assert metadata.energy_reference["O"] == -2041.8
    assert metadata.strictly_local
    assert metadata.n_members == 1
    assert len(metadata.self_test["forces"]) == len(metadata.self_test["atomic_numbers"])


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nothing\.pt' cannot be opened; check the path"):
        read_metadata(tmp_path / "nothing.pt")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is not an exported model"):
        read_metadata(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK", b"LAMMPS data file\n"])
def test_not_an_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in.water"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="is not an exported model; write one with"):
        read_metadata(path)


def test_some_other_torch_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.ones(3)}, path)
    with pytest.raises(ModelFileError, match="is a torch archive but not an ekd model"):
        read_metadata(path)


def test_some_other_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(ModelFileError, match="not an ekd model"):
        read_metadata(path)


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.99])
def test_truncated(exported: Path, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "short.pt"
    content = exported.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ModelFileError, match="is truncated or damaged"):
        ExportedModel(path)


def test_damaged_weights(exported: Path, tmp_path: Path) -> None:
    """The metadata are valid; the rest is not."""

    def edit(name: str, content: bytes) -> bytes | None:
        return None if name.startswith("data/") or name == "data.pkl" else content

    path = rewritten(
        without_weights(exported, tmp_path / "script.pt"), tmp_path / "gutted.pt", edit
    )
    read_metadata(path)
    with pytest.raises(ModelFileError, match="its metadata is sound but the model does not load"):
        ExportedModel(path)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("5", r"has model format 5, but ekd .* reads formats 2 to 4; update ekd"),
        ("1", r"has model format 1, which ekd .* no longer reads; export the model again with"),
        ("one", "'one'"),
    ],
)
def test_newer_older_or_impossible_format(
    exported: Path, tmp_path: Path, number: str, message: str
) -> None:
    path = other_format(exported, tmp_path / "future.pt", number)
    with pytest.raises(ModelFileError, match=message):
        read_metadata(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoff": ...}, "lacks 'cutoff'"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"cutoff": "far"}, "'cutoff' in the metadata has type string, expected number"),
        ({"cutoff": -1.0}, "cutoff is not a positive number"),
        ({"elements": [1, 2]}, "'elements' in the metadata cannot be read"),
        ({"elements": ["H"]}, "elements and atomic_numbers differ in length"),
        ({"elements": [], "atomic_numbers": []}, "there are no elements"),
        ({"atomic_numbers": [1, 6, 7, 0]}, "the atomic number 0 is not an element"),
        ({"atomic_numbers": [1, 6, 7, 2**40]}, "is not an element"),
        ({"atomic_numbers": [1, 6, 7, 6]}, "the atomic number 6 occurs twice"),
        (
            {"units": {"length": "bohr", "energy": "Hartree"}},
            "units are 'length bohr, energy Hartree', expected length angstrom",
        ),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"n_interactions": 0}, "n_interactions is below 1"),
        ({"feature_widths": [4]}, "feature_widths does not have"),
        ({"feature_widths": [4, 8.5]}, "'feature_widths' in the metadata cannot be read"),
        ({"feature_widths": [5, 8]}, "not the number of elements"),
        ({"n_members": 0, "provenance": []}, "n_members is below 1"),
        ({"n_members": "two"}, "'n_members' in the metadata has type string"),
        ({"n_members": 2}, "provenance does not have n_members entries"),
        ({"strictly_local": False}, "strictly_local contradicts"),
        ({"self_test": {}}, "'self_test' in the metadata cannot be read"),
        ({"interaction_range": 9.0}, "interaction_range is not"),
    ],
)
def test_unsound_metadata(
    exported: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = with_metadata(exported, tmp_path / "unsound.pt", **changes)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_metadata(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        ("message, please", "holds 'message, please', which is not an operator"),
        ("ekd::message(Tensor weights) -> Tensor", "another form of it"),
        ("ekd::future(Tensor x) -> Tensor", "none of that name"),
    ],
)
def test_operators_that_are_not_there(
    exported: Path, tmp_path: Path, operator: str, message: str
) -> None:
    """They matter only if the TorchScript is run."""
    path = with_metadata(exported, tmp_path / "unknown.pt", required_ops=[operator])
    assert run_self_test(ExportedModel(path)).passed
    with pytest.raises(ModelFileError, match=message) as caught:
        ExportedModel(without_weights(path, tmp_path / "script.pt"))
    assert "script.pt" in str(caught.value)


@pytest.mark.parametrize("script_alone", [False, True])
def test_metadata_that_contradict_the_model(
    exported: Path, tmp_path: Path, script_alone: bool
) -> None:
    if script_alone:
        exported = without_weights(exported, tmp_path / "script.pt")
    path = with_metadata(exported, tmp_path / "other.pt", cutoff=2.0, interaction_range=2.0)
    with pytest.raises(ModelFileError, match="'cutoff' in its metadata does not match the model"):
        ExportedModel(path)
    path = with_metadata(exported, tmp_path / "more.pt", n_members=2, provenance=[{}, {}])
    with pytest.raises(ModelFileError, match="'n_members' in its metadata does not match the"):
        ExportedModel(path)


def test_device_that_is_not_there(exported: Path) -> None:
    with pytest.raises(EKDError, match="device 'warp' cannot be used by this torch"):
        ExportedModel(exported, device="warp")


@pytest.mark.parametrize(
    "change",
    [
        {"cell": [[5.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 5.0]]},
        {"positions": [[0.0, 0.0, 0.0]] * 8},
    ],
    ids=["flat", "on top of each other"],
)
def test_self_test_that_cannot_be_evaluated(
    exported: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    frame = read_metadata(exported).self_test | change
    path = with_metadata(exported, tmp_path / "odd.pt", self_test=frame)
    expected = r"odd\.pt' is damaged: its self-test has no valid structure \("
    with pytest.raises(ModelFileError, match=expected):
        run_self_test(ExportedModel(path))


def test_seeds_may_be_large(exported: Path, tmp_path: Path) -> None:
    path = with_metadata(exported, tmp_path / "seed.pt", provenance=[{"seed": 2**64 - 1}])
    assert read_metadata(path).provenance == [{"seed": 2**64 - 1}]


@pytest.mark.parametrize("found", [b"{", b'{"ekd_version": "\xff"}'])
def test_metadata_that_is_no_json(exported: Path, tmp_path: Path, found: bytes) -> None:
    def edit(name: str, content: bytes) -> bytes:
        return found if name == "extra/ekd_metadata.json" else content

    with pytest.raises(ModelFileError, match="its metadata is not JSON"):
        read_metadata(rewritten(exported, tmp_path / "broken.pt", edit))
