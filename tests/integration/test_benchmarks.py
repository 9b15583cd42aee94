"""The benchmarks run to their tables; their times are nobody's business here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SMALL = ["--n-features", "4", "--n-sensitivities", "4", "--cutoff", "3", "--steps", "2"]


@pytest.mark.parametrize(
    ("script", "options", "rows"),
    [
        ("bench_neighbor_list.py", ["--cutoff", "3"], ["ekd", "vesin, sorted", "ASE"]),
        ("bench_md.py", ["--ranks", "1", *SMALL], ["pair_style ekd, 1 rank", "hippynn"]),
        # Kernels that hippynn need not compile first.
        (
            "bench_training.py",
            ["--threads", "1", "--n-features", "4", "--kernels", "_pytorch_raw"],
            ["energies and forces", "its kernels: _pytorch_raw"],
        ),
    ],
)
def test_runs(script: str, options: list[str], rows: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), "--repeats", "1", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert all(row in done.stdout for row in rows), done.stdout
    assert "skipped" not in done.stdout


def test_accuracy_of_the_pair_style(tmp_path: Path) -> None:
    """One case of the table in the docs: far below what the tests allow."""
    table = tmp_path / "table.md"
    command = [sys.executable, str(FOLDER / "pair_style_accuracy.py"), "--models", "1"]
    done = subprocess.run(
        [*command, "--cases", "molecule", "--write", str(table)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    row = table.read_text().splitlines()[-1]
    assert row.startswith("| molecule, open boundaries |")
    assert all(float(number) < 1e-9 for number in row.split("|")[2].split("/"))
