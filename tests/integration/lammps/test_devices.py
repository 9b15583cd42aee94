"""Features of devices that the CPU lacks: reproducibility and device errors."""

from __future__ import annotations

from pathlib import Path

import pytest

import systems
from lammps_runs import RunLammps, write_data
from models import random_model

SCRIPT = """
units metal
atom_style atomic
boundary {boundary}
read_data box.data
pair_style ekd device {device} {keywords}
pair_coeff * * {model} O H N C
neighbor 0.5 bin
velocity all create 300 1 loop geom
fix nve all nve
timestep 0.0005
dump all all custom 10 {name}.dump id x y z fx fy fz
dump_modify all format float %23.16g sort id
run 10 post no
print "energy $(pe:%22.16g) $(pxx:%22.16g)"
"""


def script(folder: Path, **values: str) -> str:
    """An input script for a box of water."""
    boundary = write_data(folder / "box.data", systems.water_box(3))
    return SCRIPT.format(**{"boundary": boundary, "keywords": "", "name": "run", **values})


@pytest.mark.parametrize("model", ["1-float32", "2-float32"])
def test_runs_repeat_bit_by_bit(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path, model: str
) -> None:
    path = str(model_folder / f"{model}.pt")
    # With blocks, forces are added in another order.
    for name, keywords in (("one", ""), ("two", ""), ("three", "block 17")):
        text = script(tmp_path, device="emulated", model=path, name=name, keywords=keywords)
        run = run_lammps(text)
        assert run.returncode == 0, run.screen[-3000:]
    one = (tmp_path / "one.dump").read_text()
    assert (tmp_path / "two.dump").read_text() == one
    assert (tmp_path / "three.dump").read_text() == one


def test_atoms_on_top_of_each_other_are_named(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path
) -> None:
    atoms = systems.water_box()
    atoms.positions[5] = atoms.positions[3] + 1e-4
    boundary = write_data(tmp_path / "box.data", atoms)
    text = SCRIPT.format(
        boundary=boundary,
        device="emulated",
        keywords="",
        name="run",
        model=model_folder / "1-float64.pt",
    )
    run = run_lammps(text)
    assert run.returncode != 0
    assert "atoms 4 and 6 are" in run.error or "atoms 6 and 4 are" in run.error
    assert "lie on top of each other" in run.error


def test_a_force_that_is_too_large(run_lammps: RunLammps, tmp_path: Path) -> None:
    """Fixed-point numbers are limited: exceeding them is an error, not a wrong force."""
    model = random_model(tmp_path / "zbl.pt", zbl=True)
    text = script(tmp_path, device="emulated", model=str(model))
    atoms = systems.water_box()
    atoms.positions[6] = atoms.positions[3] + 0.012  # two oxygen nuclei, millions of eV/Å
    write_data(tmp_path / "box.data", atoms)
    run = run_lammps(text)
    assert run.returncode != 0
    assert "a force is larger than 131072 eV/Angstrom" in run.error


def test_no_gpu_is_an_error(run_lammps: RunLammps, model_folder: Path, tmp_path: Path) -> None:
    from ekd import _native
    from ekd.errors import EKDError

    try:
        number = _native.core().count_cuda_devices()
    except EKDError:
        number = 0
    text = script(tmp_path, device=f"cuda:{number}", model=str(model_folder / "1-float64.pt"))
    run = run_lammps(text)
    assert run.returncode != 0
    assert f"cuda:{number}" in run.error or "no NVIDIA driver" in run.error
