"""LAMMPS's checks of pair styles on some references; see tests/lammps_suite."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "lammps_suite"
sys.path.append(str(FOLDER))

import pair_style_suite as suite  # noqa: E402
import references  # noqa: E402


@pytest.mark.parametrize("case", ["one", "three", "emulated-one"])
def test_reference(case: str) -> None:
    results = suite.drive([FOLDER / f"{case}.yaml"])
    assert all(result["passed"] for result in results), suite.table(results)
    checks = dict.fromkeys(result["check"] for result in results)
    assert list(checks) == [
        "newton_on",
        "newton_off",
        "restart",
        "restart_newton_off",
        "no_fdotr",
        "data_file",
        "extract",
        "respa_pair",
        "refused",
    ]


def test_other_forces_fail(tmp_path: Path) -> None:
    """The driver finds a force with a relative deviation of 1e-8, and reports it."""
    changed = references.read(FOLDER / "one.yaml")
    changed.run_forces[7][1] *= 1 + 1e-8
    changed.path = tmp_path / "changed.yaml"
    for name in ("in.molecules", "data.molecules", "one.pt"):
        (tmp_path / name).symlink_to(FOLDER / name)
    references.write(changed)
    results = suite.drive([changed.path], checks=["newton_on"])
    failed = [result["quantity"] for result in results if not result["passed"]]
    assert failed == ["forces"]
    assert "newton_on" in suite.table(results)
    assert "FAILED" in suite.table(results)


def test_every_reference_has_its_files() -> None:
    found = sorted(FOLDER.glob("*.yaml"))
    assert len(found) >= 12
    for path in found:
        reference = references.read(path)
        assert reference.n_atoms == len(reference.run_forces)
        (model,) = {word for line in reference.pair_coeff for word in line.split() if ".pt" in word}
        assert (FOLDER / model.removeprefix("${input_dir}/")).exists()
