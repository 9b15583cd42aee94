"""The benchmarks run and write their tables; times are not checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SMALL = ["--n-features", "4", "--n-sensitivities", "4", "--cutoff", "3", "--steps", "2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options", "rows"),
    [
        ("bench_neighbor_list.py", ["--cutoff", "3", "--repeats", "1"], ["vesin", "ASE"]),
        (
            "bench_md.py",
            ["--ranks", "1", "--repeats", "1", "--kernels", "torch", *SMALL],
            ["pair_style ekd, 1 rank", "hippynn, forces alone"],
        ),
        # Kernels that hippynn does not have to compile.
        (
            "bench_training.py",
            ["--seconds", "0", "--n-features", "4", "--kernels", "_pytorch_raw"],
            ["energies and forces", "hippynn (_pytorch_raw kernels)"],
        ),
    ],
)
def test_runs_alone(script: str, options: list[str], rows: list[str]) -> None:
    done = _run(script, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    for row in rows:
        lines = [line for line in done.stdout.splitlines() if row in line]
        assert lines, done.stdout
        assert not any("skipped" in line for line in lines)


@pytest.mark.slow
def test_suite(tmp_path: Path) -> None:
    """Two parts of the suite, from command line to files; other parts have separate tests."""
    done = _run(
        "run.py",
        *("--only", "neighbor_list", "memory"),
        *("--threads", "1", "--sizes", "192", "--seconds", "0", "--output", str(tmp_path)),
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    records = json.loads((tmp_path / "results.json").read_text())
    fields = {"measure", "size", "threads", "ekd", "peer", "peer_value", "unit", "ratio"}
    assert all(set(record) == fields for record in records)
    measured = {(record["measure"].split(",")[0], record["peer"]) for record in records}
    assert ("neighbour list", "vesin") in measured
    assert ("peak memory of an evaluation", None) in measured
    table = (tmp_path / "table.md").read_text()
    assert all(record["measure"] in table for record in records)
    assert json.loads((tmp_path / "machine.json").read_text())["packages"]["ekd"]
    assert (tmp_path / "ratios.png").exists()


def test_suite_names_the_folder_that_is_a_file(tmp_path: Path) -> None:
    occupied = tmp_path / "bench"
    occupied.touch()
    done = _run("run.py", "--output", str(occupied))
    assert done.returncode == 2
    assert f"'{occupied}' is a file; name a folder with --output" in done.stderr


@pytest.mark.slow
def test_accuracy_of_the_pair_style(tmp_path: Path) -> None:
    """One case of the table in the docs, with differences far below the tolerances of the tests."""
    table = tmp_path / "table.md"
    done = _run(
        "pair_style_accuracy.py", "--models", "1", "--cases", "molecule", "--write", str(table)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    row = table.read_text().splitlines()[-1]
    assert row.startswith("| molecule, open boundaries |")
    assert all(float(number) < 1e-9 for number in row.split("|")[2].split("/"))


def _run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / script), *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
