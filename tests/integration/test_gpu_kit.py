"""`make gpu` with host emulation: all parts that need no GPU, with a few atoms."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from built_core import built_core

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "gpu"
CPP = ROOT / "cpp"

LEFT_OUT = {"sanitizer", "torchscript", "profile", "tests of the style"}
"""Parts that need a GPU."""


def run(
    script: str, *options: object, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / script), *map(str, options)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def quick_build() -> list[str]:
    """Options for a fast build that uses the existing library of the core."""
    core = built_core()
    return ["--level=-O0", *(["--core", str(core)] if core else [])]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("gpu")
    places = {"EKD_GPU_KIT": str(folder / "kit"), "EKD_GPU_BUILD": str(folder / "build")}
    kit = run("kit.py", "--only", "models", environment=places)
    assert kit.returncode == 0, kit.stdout + kit.stderr
    options = ["--device", "emulated", "--tiny", "--installed", "--jobs", 1, *quick_build()]
    done = run("run.py", *options, environment=places)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (folder / "build" / "results").glob("*.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def part(results: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [part for part in results["parts"] if part["name"] == name]
    return found


def test_every_part_says_how_it_ended(results: dict[str, Any]) -> None:
    for found in results["parts"]:
        expected = "left out" if found["name"] in LEFT_OUT else "done"
        assert found["status"] == expected, found
        assert found["status"] == "done" or "GPU" in found["reason"]


def test_every_model_is_checked_on_every_structure(results: dict[str, Any]) -> None:
    checks = part(results, "check")["records"]
    models = {record["model"] for record in checks}
    structures = {record["structure"] for record in checks}
    assert {"one-l2", "three-l2", "zbl", "uncertainty", "committee", "slices"} <= models
    assert {"molecule", "crystal", "images-of-itself"} <= structures
    assert len(checks) == 4 * len(models) * len(structures)  # precisions, ways
    for record in checks:
        assert record["passed"], record
        assert record["way"] == "pairs" or record["same_bits"]


def test_rates_are_measured(results: dict[str, Any]) -> None:
    for name, model in (("water", "student"), ("wide", "wide"), ("silver", "silver")):
        rates = [r for r in part(results, name)["records"] if r["kind"] == "rate"]
        assert rates
        for record in rates:
            assert record["model"] == model
            assert record["passed"]
            assert record["atom_steps_per_s"] > 0
    tiles = [record["tile"] for record in part(results, "tiles")["records"]]
    assert tiles == ["default", "8x16", "4x12"]


def test_lammps_hippynn_and_python_agree(results: dict[str, Any]) -> None:
    compared = [r for r in part(results, "lammps")["records"] if r["kind"] == "lammps check"]
    assert compared
    assert all(record["passed"] for record in compared)
    assert all("error" not in record for record in part(results, "hippynn")["records"])
    calls = {record["call"] for record in part(results, "python")["records"]}
    assert calls == {"ExportedModel.evaluate", "ExportedModel.evaluate_batch", "EKDCalculator"}


def page_of(results: list[dict[str, Any]]) -> str:
    code = "import json, sys; from page import page; print(page(json.load(sys.stdin)), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=FOLDER,
        input=json.dumps(results),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_page_shows_what_was_found(results: dict[str, Any]) -> None:
    text = page_of([results])
    assert "## the host (emulated)" in text
    assert "cases agree; float64 to" in text
    assert "Not done: " in text


def test_page_is_that_of_the_results() -> None:
    files = sorted((FOLDER / "results").glob("*.json"))
    text = page_of([json.loads(file.read_text()) for file in files])
    assert (ROOT / "docs" / "performance_gpu.md").read_text() == text
    if not files:
        rows = [line.split(" | ")[-1] for line in text.splitlines() if line.startswith("| ")]
        assert rows[1:] == ["not measured |"] * 8


def test_build_compiles_what_cmake_compiles() -> None:
    listed = (CPP / "CMakeLists.txt").read_text()
    core = re.search(r"add_library\(ekd_core STATIC(.*?)\)", listed, re.DOTALL)
    texts = re.search(r"set\(EKD_DEVICE_HEADERS(.*?)\)", listed, re.DOTALL)
    assert core is not None
    assert texts is not None
    code = (
        "import json, compiling\n"
        "compiling.write_kernel_texts()\n"
        "names = [str(u.source.relative_to(compiling.CPP)) for u in compiling.core_units()]\n"
        "text = (compiling.BUILD / 'generated' / 'sources.hpp').read_text()\n"
        "print(json.dumps([names, text]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, check=True
    )
    names, text = json.loads(done.stdout)
    kernels = "src/kernels/hipnn_kernels.cpp"  # compiled once for each instruction set
    assert set(names) - {kernels} == set(core[1].split())
    assert kernels in names
    headers = set(re.findall(r'^(?:inline.*)?\{"(\w+\.hpp)", R"', text, re.MULTILINE))
    assert headers == set(texts[1].split())


def test_kit_is_asked_for(tmp_path: Path) -> None:
    places = {"EKD_GPU_KIT": str(tmp_path / "kit"), "EKD_GPU_BUILD": str(tmp_path / "build")}
    done = run("run.py", "--device", "emulated", environment=places)
    assert done.returncode != 0
    assert "fill the kit with 'make gpu-kit'" in done.stderr
