"""The notebooks in examples/notebooks, cell by cell, with a few epochs and steps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
SHORT = {"N_TEACHERS": "2", "EPOCHS": "1", "N_STEPS": "50"}


def cells(name: str) -> list[str]:
    """The code, with short settings."""
    content = json.loads((FOLDER / name).read_text())
    found = []
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == [], "notebooks are committed without outputs"
        for setting, value in SHORT.items():
            source = re.sub(rf"^{setting} = .*", f"{setting} = {value}", source, flags=re.MULTILINE)
        found.append(source)
    return found


def run(name: str, **settings: object) -> dict[str, Any]:
    """Run a notebook in this folder; return its output."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(cells(name)):
        exec(compile(source, f"{name}, cell {number}", "exec"), space)
        space.update({key: value for key, value in settings.items() if key in space})
    return space


@pytest.fixture(autouse=True)
def no_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    backend = mpl.get_backend()
    mpl.use("agg")
    yield
    plt.close("all")
    mpl.use(backend)


def test_notebooks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second one uses the student of the first."""
    first = run("first_student.ipynb", DATA=FOLDER.parent / "data")
    printed = capsys.readouterr().out
    assert "training: 3414 configurations" in printed
    assert "energy of methanol: -3" in printed
    assert first["predicted"].shape == first["test"].forces.shape
    second = run("uncertainty.ipynb")
    assert len(second["frames"]) == 5
    assert np.isfinite(second["largest"]).all()
    assert (tmp_path / "uncertain.xyz").exists()
