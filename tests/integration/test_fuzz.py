"""A few damaged files of every kind; `make fuzz` tests 10,000 of each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ekd import _native

FUZZ = Path(__file__).parents[1] / "fuzz"
sys.path.append(str(FUZZ))
import kinds  # noqa: E402
import native  # noqa: E402

MUTATIONS = "200"


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, FUZZ / "run.py", "--failures", folder, *arguments]
    return subprocess.run(
        command, env=os.environ, capture_output=True, text=True, check=False, timeout=600
    )


def test_readers(tmp_path: Path) -> None:
    found = run(tmp_path / "failures", "--mutations", MUTATIONS, "--no-native")
    assert found.returncode == 0, found.stdout + found.stderr
    for name in kinds.KINDS:
        assert f"│ {name} " in found.stdout
    assert not (tmp_path / "failures").exists()


def test_readers_in_cpp(tmp_path: Path) -> None:
    """The readers are built with sanitizers; the C interface uses the installed library."""
    library = _native.LIBRARY_DIRECTORY / "libekd.so"
    only = [word for name in native.TARGETS for word in ("--only", name)]
    found = run(tmp_path / "failures", "--mutations", MUTATIONS, "--native-library", library, *only)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("read", ["return 'same'", "raise KeyError('x')", "import os; os.abort()"])
def test_findings_are_told_and_kept(tmp_path: Path, read: str) -> None:
    """A reader that accepts everything, one that fails and one that ends the process."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(FUZZ)!r})\n"
        "import kinds, mutations\n"
        "sound = kinds.TOML.read\n"
        "def read(self, path):\n"
        "    try:\n"
        "        return sound(self, path)\n"
        "    except BaseException:\n"
        f"        {read}\n"
        "kinds.TOML.read = read\n"
        "mutate = kinds.TOML.mutate\n"
        "def unforged(self, content, rng):\n"
        "    return mutations.Mutation(mutate(self, content, rng).content, 'any')\n"
        "kinds.TOML.mutate = unforged\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    found = subprocess.run(
        [
            sys.executable,
            FUZZ / "run.py",
            "--only",
            "toml",
            "--mutations",
            "4",
            "--failures",
            tmp_path / "failures",
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert found.returncode == 1, found.stdout + found.stderr
    kept = sorted(path.name for path in (tmp_path / "failures").iterdir())
    assert kept
    assert kept[0].startswith("toml-")
    assert "toml, seed" in found.stdout
