"""Files with an expected SHA-256, and readers that run no code of a file."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ekd import EKDCalculator
from ekd.cli.app import app
from ekd.errors import EKDError, ModelFileError
from ekd.files import sha256
from ekd.inference import ExportedModel
from models import rewritten

MODEL = Path(__file__).parents[3] / "python" / "ekd" / "lammps" / "smoke_test.pt"


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return Path(shutil.copy(MODEL, tmp_path / "student.pt"))


@pytest.mark.parametrize("use", [ExportedModel, EKDCalculator])
def test_expected_digits_in_either_case(student: Path, use: type) -> None:
    digits = sha256(student)
    for expected in (None, digits, digits.upper()):
        used = use(student, sha256=expected)
    model = used.model if use is EKDCalculator else used
    assert model.sha256 == digits


@pytest.mark.parametrize("use", [ExportedModel, EKDCalculator])
@pytest.mark.parametrize("digits", ["", "abc", "g" * 64, "0" * 63, "0" * 65])
def test_digits_that_are_none(student: Path, use: type, digits: str) -> None:
    with pytest.raises(EKDError, match="give 64 hexadecimal digits"):
        use(student, sha256=digits)


def test_another_file_is_refused_before_it_is_read(student: Path) -> None:
    """The SHA-256 is compared first, before other errors."""
    expected = sha256(student)
    content = student.read_bytes()
    for other in (content[:-100], b"no archive at all", content + b"\0"):
        student.write_bytes(other)
        with pytest.raises(ModelFileError, match=f"expected {expected}; restore that file"):
            ExportedModel(student, sha256=expected)


def test_what_runs_is_what_was_hashed(student: Path, tmp_path: Path) -> None:
    """If the file is replaced at any time, the model still uses the bytes that were compared."""
    model = ExportedModel(student, sha256=sha256(student))
    positions = np.array([[0.0, 0.0, 0.0], [1.1, 0.0, 0.0]])
    numbers = model.metadata.atomic_numbers[:2]
    expected = model.evaluate(numbers, positions).energy
    student.write_bytes(b"something else")
    assert model.evaluate(numbers, positions).energy == expected
    assert model.sha256 == sha256(MODEL)


def test_inspect_shows_the_digits(student: Path) -> None:
    digits = sha256(student)
    runner = CliRunner()
    shown = runner.invoke(app, ["inspect", str(student)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert digits in shown.output
    as_json = runner.invoke(app, ["inspect", str(student), "--json"])
    assert json.loads(as_json.output)["sha256"] == digits


def test_inspect_runs_nothing_of_the_file(student: Path, tmp_path: Path) -> None:
    """Torch is not imported, and a pickle with side effects is not run."""

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "code was run"),)

    trap = pickle.dumps(Trap(), protocol=2)

    def edit(name: str, content: bytes) -> bytes:
        return trap if name.endswith(".pkl") else content

    path = rewritten(student, tmp_path / "trap.pt", edit)
    program = (
        "import sys\nfrom ekd.__main__ import main\nsys.argv = ['ekd', 'inspect', sys.argv[1]]\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.endswith("False\n")
    assert not (tmp_path / "code was run").exists()


@pytest.mark.parametrize("warnings", ["one", 3, None, [1, None], {"a": "b"}])
def test_inspect_takes_any_provenance(student: Path, tmp_path: Path, warnings: object) -> None:
    """Authors of files control this content."""

    def edit(name: str, content: bytes) -> bytes:
        if name != "extra/ekd_metadata.json":
            return content
        metadata = json.loads(content)
        metadata["provenance"][0]["reference_warnings"] = warnings
        return json.dumps(metadata).encode()

    path = rewritten(student, tmp_path / "odd.pt", edit)
    shown = CliRunner().invoke(app, ["inspect", str(path)])
    assert shown.exit_code == 0, shown.output
