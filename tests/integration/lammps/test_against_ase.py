"""pair_style ekd equals the ASE calculator for all ranks, boxes and units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import chemical_symbols

import systems
from ekd.calculator import EKDCalculator
from lammps_runs import (
    ATM_PER_KCAL_MOL_A3,
    BAR_PER_EV_A3,
    KCAL_MOL_PER_EV,
    ORDER,
    RunLammps,
    write_data,
)
from tolerances import tolerance

VOIGT = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))

PERIODIC = ["water_box", "triclinic_crystal", "tiny_cell"]
STRUCTURES = [*PERIODIC, "methanol", "slab", "lone_atom"]


def structure(name: str) -> Atoms:
    """A test structure in the lower-triangular cell that LAMMPS requires."""
    if name == "slab":
        atoms = systems.water_box()
        atoms.pbc = [True, True, False]
        return atoms
    if name == "lone_atom":
        return Atoms("O", [[1.0, 2.0, 3.0]])
    return getattr(systems, name)()  # type: ignore[no-any-return]


def single_points(folder: Path, model: Path, units: str) -> str:
    """One script that evaluates every structure, with `clear` in between."""
    blocks = []
    for name in STRUCTURES:
        boundary = write_data(folder / f"{name}.data", structure(name))
        blocks.append(f"""
clear
units {units}
atom_style atomic
boundary {boundary}
read_data {name}.data
pair_style ekd energy total
pair_coeff * * {model} {" ".join(chemical_symbols[z] for z in ORDER)}
neighbor 1.0 bin
compute ea all pe/atom
compute sa all stress/atom NULL
compute ea_sum all reduce sum c_ea
compute sa_sum all reduce sum c_sa[1] c_sa[2] c_sa[3] c_sa[4] c_sa[5] c_sa[6]
dump forces all custom 1 {name}.forces id fx fy fz c_ea
dump_modify forces sort id format float %22.16g
thermo_style custom pe pxx pyy pzz pxy pxz pyz c_ea_sum c_sa_sum[*]
thermo_modify norm no
run 0 post no
variable v equal vol
print "{name} $(pe:%22.16g) $(pxx:%22.16g) $(pyy:%22.16g) $(pzz:%22.16g) $(pxy:%22.16g) &
$(pxz:%22.16g) $(pyz:%22.16g) $(c_ea_sum:%22.16g) $(c_sa_sum[1]/v_v:%22.16g) &
$(c_sa_sum[2]/v_v:%22.16g) $(c_sa_sum[3]/v_v:%22.16g) $(c_sa_sum[4]/v_v:%22.16g) &
$(c_sa_sum[5]/v_v:%22.16g) $(c_sa_sum[6]/v_v:%22.16g)"
""")
    return "".join(blocks)


KINDS = [
    ("1-float64", "metal"),
    ("2-float64", "metal"),
    ("3-float64", "metal"),
    ("2-float32", "metal"),
    ("2-float64", "real"),
]
# On two cores, four ranks take twenty times as long as two, because they wait for each other.
RUNS = [pytest.param(*kind, 4, marks=pytest.mark.slow) for kind in KINDS if kind != KINDS[2]]


@pytest.mark.on_devices
@pytest.mark.parametrize(
    ("model", "units", "n_ranks"),
    [*((*kind, n) for kind in KINDS for n in (1, 2)), (*KINDS[2], 4), *RUNS],
)
def test_equals_ase(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path, model: str, units: str, n_ranks: int
) -> None:
    path = model_folder / f"{model}.pt"
    dtype = model.split("-")[1]
    limit = tolerance("lammps", dtype)
    run = run_lammps(single_points(tmp_path, path, units), n_ranks)
    assert run.returncode == 0, run.screen[-3000:]
    energy_unit = KCAL_MOL_PER_EV if units == "real" else 1.0
    pressure_unit = KCAL_MOL_PER_EV * ATM_PER_KCAL_MOL_A3 if units == "real" else BAR_PER_EV_A3
    for name in STRUCTURES:
        atoms = structure(name)
        atoms.calc = EKDCalculator(path)
        energy, *rest = run.printed(name)
        pressure, sum_of_energies = np.array(rest[:6]), rest[6]
        dump = np.loadtxt(tmp_path / f"{name}.forces", skiprows=9, ndmin=2)
        expected = atoms.get_potential_energy()
        assert abs(energy / energy_unit - expected) / len(atoms) < limit.atol, name
        assert sum_of_energies == pytest.approx(energy, rel=1e-13), name
        forces, energies = dump[:, 1:4] / energy_unit, dump[:, 4] / energy_unit
        np.testing.assert_allclose(forces, atoms.get_forces(), **limit.bounds, err_msg=name)
        np.testing.assert_allclose(
            energies, atoms.get_potential_energies(), rtol=0, atol=limit.atol, err_msg=name
        )
        if name in PERIODIC:
            stress = atoms.get_stress(voigt=False)
            expected_pressure = -np.array([stress[index] for index in VOIGT]) * pressure_unit
            scale = np.abs(expected_pressure).max()
            assert np.abs(pressure - expected_pressure).max() < limit.rtol * scale, name
            # Atomic virials (in LAMMPS: stress times volume) sum to the pressure.
            np.testing.assert_allclose(-np.array(rest[7:]), pressure, rtol=0, atol=1e-9 * scale)


def test_ranks_agree_along_a_trajectory(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path
) -> None:
    """Atoms change owners and lists are rebuilt; 1, 2 and 4 ranks give the same results."""
    # With 2 x 2 x 2 boxes, the domains of four ranks differ.
    boundary = write_data(tmp_path / "box.data", systems.water_box().repeat(2))
    script = f"""
units metal
atom_style atomic
boundary {boundary}
read_data box.data
pair_style ekd energy total
pair_coeff * * {model_folder / "2-float64.pt"} O H N C
neighbor 0.3 bin
neigh_modify every 1 delay 0 check yes
velocity all create 2000 4711 loop geom
fix nve all nve
timestep 0.0005
run 40 post no
print "end $(pe:%22.16g) $(pxx:%22.16g) $(pxy:%22.16g) $(ke:%22.16g)"
"""
    results = []
    for n_ranks in (1, 2, 4):
        run = run_lammps(script, n_ranks)
        assert run.returncode == 0, run.screen[-3000:]
        results.append(run.printed("end"))
    # Rounding differences of 1e-16 grow over 40 steps.
    np.testing.assert_allclose(results[1], results[0], rtol=1e-9)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-9)
