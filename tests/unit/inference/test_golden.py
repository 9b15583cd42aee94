"""Exported files of earlier formats, with results of the version that wrote them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ekd.errors import ModelFileError
from ekd.export import upgrade_model
from ekd.inference import ExportedModel, has_weights, read_metadata, run_self_test
from ekd.inference.metadata import FORMAT
from models import with_other_class

GOLDEN = Path(__file__).parents[2] / "golden"
EXPECTED = json.loads((GOLDEN / "exported-3.json").read_text())
EXPECTED_4 = json.loads((GOLDEN / "exported-4.json").read_text())
NAMES = [name for name in EXPECTED if name != "structure"]


def check(path: Path, name: str, expected: dict[str, Any] = EXPECTED) -> None:
    # On processors with wider vectors, sums have another order; in float32 this changes a few 1e-7.
    scale = 1e-5 if name == "single" else 1e-11
    found = ExportedModel(path).evaluate(**expected["structure"])
    for key, value in expected[name].items():
        np.testing.assert_allclose(getattr(found, key), value, rtol=scale, atol=scale, err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_format_3(name: str, tmp_path: Path) -> None:
    old = GOLDEN / f"exported-3-{name}.pt"
    assert not has_weights(old)
    check(old, name)
    assert upgrade_model(old, tmp_path / "new.pt")
    assert has_weights(tmp_path / "new.pt")
    check(tmp_path / "new.pt", name)
    before, after = read_metadata(old), read_metadata(tmp_path / "new.pt")
    assert before == after


def test_every_format_has_files() -> None:
    """A change of the format needs golden files of the new one."""
    assert FORMAT == 4


@pytest.mark.parametrize("name", NAMES)
def test_format_4(name: str, tmp_path: Path) -> None:
    """Nothing remains to be upgraded."""
    path = tmp_path / "student.pt"
    shutil.copy(GOLDEN / f"exported-4-{name}.pt", path)
    assert has_weights(path)
    check(path, name, EXPECTED_4)
    assert run_self_test(ExportedModel(path)).passed
    assert not upgrade_model(path)


def test_format_2(tmp_path: Path) -> None:
    path = tmp_path / "student.pt"
    shutil.copy(GOLDEN / "exported-2.pt", path)
    before = ExportedModel(path).evaluate([8, 1, 1], [[0, 0, 0], [0.9, 0, 0], [0, 0.9, 0]])
    assert upgrade_model(path)
    assert has_weights(path)
    model = ExportedModel(path)
    assert run_self_test(model).passed
    after = model.evaluate([8, 1, 1], [[0, 0, 0], [0.9, 0, 0], [0, 0.9, 0]])
    np.testing.assert_array_equal(before.forces, after.forces)
    assert not upgrade_model(path)  # nothing remains to be done


def test_other_networks_cannot_be_upgraded(tmp_path: Path) -> None:
    path = with_other_class(GOLDEN / "exported-3-portable.pt", tmp_path / "other.pt")
    with pytest.raises(ModelFileError, match=r"models\.other\..*HIPNN', not HIP-NN-TS"):
        upgrade_model(path)
