"""Finite differences and energy conservation, computed only with LAMMPS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import systems
from lammps_runs import BAR_PER_EV_A3, RunLammps, write_data
from tolerances import tolerance


@pytest.mark.parametrize("n_interactions", [1, 3])
@pytest.mark.parametrize("name", ["triclinic_crystal", "tiny_cell"])
def test_forces_and_pressure_are_derivatives_of_the_energy(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path, name: str, n_interactions: int
) -> None:
    """LAMMPS itself differentiates the energy, by displacements and by box deformations."""
    atoms = getattr(systems, name)()
    write_data(tmp_path / "box.data", atoms)
    run = run_lammps(
        f"""
units metal
atom_style atomic
atom_modify map yes
read_data box.data
pair_style ekd
pair_coeff * * {model_folder / f"{n_interactions}-float64.pt"} O H N C
compute virial all pressure NULL virial
fix forces all numdiff 1 1.0e-4
fix virial all numdiff/virial 1 1.0e-5
variable dx atom abs(f_forces[1]-fx)
variable dy atom abs(f_forces[2]-fy)
variable dz atom abs(f_forces[3]-fz)
compute worst all reduce max v_dx v_dy v_dz
thermo_style custom step pe c_worst[*] c_virial[*] f_virial[*]
run 0 post no
print "worst $(c_worst[1]) $(c_worst[2]) $(c_worst[3])"
print "analytic $(c_virial[1]:%20.12g) $(c_virial[2]:%20.12g) $(c_virial[3]:%20.12g) &
$(c_virial[6]:%20.12g) $(c_virial[5]:%20.12g) $(c_virial[4]:%20.12g)"
print "numerical $(f_virial[1]:%20.12g) $(f_virial[2]:%20.12g) $(f_virial[3]:%20.12g) &
$(f_virial[4]:%20.12g) $(f_virial[5]:%20.12g) $(f_virial[6]:%20.12g)"
"""
    )
    assert run.returncode == 0, run.screen[-3000:]
    limit = tolerance("finite_difference").atol
    assert max(run.printed("worst")) < limit
    analytic = np.array(run.printed("analytic")) / BAR_PER_EV_A3
    numerical = np.array(run.printed("numerical")) / BAR_PER_EV_A3
    np.testing.assert_allclose(analytic, numerical, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_energy_is_conserved(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path, dtype: str
) -> None:
    """Halving the timestep divides the fluctuation of the total energy by four."""
    write_data(tmp_path / "box.data", systems.tiny_cell())
    fluctuations = []
    for timestep in (2e-4, 1e-4):
        run = run_lammps(
            f"""
units metal
atom_style atomic
read_data box.data
pair_style ekd
pair_coeff * * {model_folder / f"2-{dtype}.pt"} O H N C
velocity all create 300 4711
fix nve all nve
timestep {timestep}
variable e equal etotal/atoms
fix record all ave/time 1 1 1 v_e file energy.{timestep} format %22.16g
run {int(0.04 / timestep)}
"""
        )
        assert run.returncode == 0, run.screen[-3000:]
        energy = np.loadtxt(tmp_path / f"energy.{timestep}", comments="#")[:, 1]
        fluctuations.append(np.ptp(energy))
    if dtype == "float64":
        assert fluctuations[0] / fluctuations[1] == pytest.approx(4, rel=0.25)
    assert fluctuations[1] < 1e-3
