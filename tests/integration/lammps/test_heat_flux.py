"""The heat current of a strictly local model, compared with two definitions without pairs.

In LAMMPS, `compute heat/flux` sums energies and centroid virials of atoms. Here, the same current
is computed from the eager network alone.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.io import read

import systems
from ekd.models import HIPNN
from lammps_runs import RunLammps, write_data
from models import random_model, random_network
from structures import pair_vectors
from tolerances import tolerance

EV_PER_AMU_A2_PS2 = 1.0364269e-4  # as in LAMMPS, units metal

SETTINGS = {"n_interactions": 1, "l_max": 2, "zbl": True}

SCRIPT = """
units metal
atom_style atomic
atom_modify map yes
newton {newton}
boundary {boundary}
box tilt large
read_data frame.data
{style}
neighbor 0.5 bin
{velocities}
compute ke all ke/atom
compute pe all pe/atom
compute centroid all centroid/stress/atom NULL virial
compute flux all heat/flux ke pe centroid
thermo_style custom step pe c_flux[*]
run 0 post no
print "total $(c_flux[1]:%22.16g) $(c_flux[2]:%22.16g) $(c_flux[3]:%22.16g)"
print "convective $(c_flux[4]:%22.16g) $(c_flux[5]:%22.16g) $(c_flux[6]:%22.16g)"
"""


ALONE = "pair_style ekd energy total\npair_coeff * * model.pt O H N C"

OVERLAY = """pair_style hybrid/overlay ekd energy total zero 2.0
pair_coeff * * ekd model.pt O H N C
pair_coeff * * zero"""


@pytest.fixture(scope="module")
def network() -> HIPNN:
    return random_network(**SETTINGS)[0]


def frame(name: str) -> tuple[Atoms, np.ndarray]:
    """A structure with a velocity (Å/ps) for each atom."""
    atoms = getattr(systems, name)()
    return atoms, np.random.default_rng(7).normal(scale=5.0, size=(len(atoms), 3))


def species(network: HIPNN, numbers: np.ndarray) -> torch.Tensor:
    return torch.tensor([network.elements.index(z) for z in numbers])


def virial_current(network: HIPNN, atoms: Atoms, velocities: np.ndarray) -> np.ndarray:
    """``sum_i sum_j (r_i - r_j) dU_i/dr_j . v_j``, eV Å/ps.

    Fan et al., Phys. Rev. B 92, 094301 (2015). Every periodic image is a separate atom,
    and energies are differentiated by the positions of atoms, not by pair vectors.
    """
    n = len(atoms)
    images = cluster(atoms, network.cutoff)
    positions = torch.tensor(images.positions, requires_grad=True)
    pairs, vectors = pair_vectors(positions, network.cutoff)
    energies = network(species(network, images.numbers), pairs, vectors, len(images))[:n]
    moving = np.tile(velocities, (len(images) // n, 1))
    current = np.zeros(3)
    for i in range(n):
        (gradient,) = torch.autograd.grad(energies[i], positions, retain_graph=True)
        power = (gradient.numpy() * moving).sum(1)
        current += power @ (images.positions[i] - images.positions)
    return current


def barycentre_current(network: HIPNN, atoms: Atoms, velocities: np.ndarray) -> np.ndarray:
    """``d/dt sum_i r_i E_i`` of an isolated molecule without its convective part, eV Å/ps.

    With E_i = m_i v_i²/2 + U_i, dE_i/dt = F_i . v_i + dU_i/dt. The time derivatives of all U_i
    come from one derivative along the velocities.
    """
    kinds = species(network, atoms.numbers)

    def energies(positions: torch.Tensor) -> torch.Tensor:
        pairs, vectors = pair_vectors(positions, network.cutoff)
        return network(kinds, pairs, vectors, len(atoms))

    start = torch.tensor(atoms.positions, requires_grad=True)
    (gradient,) = torch.autograd.grad(energies(start).sum(), start)
    _, rates = torch.autograd.functional.jvp(energies, start, torch.tensor(velocities))
    work = -(gradient.numpy() * velocities).sum(1)
    return (work + rates.numpy()) @ atoms.positions


def convective_current(network: HIPNN, atoms: Atoms, velocities: np.ndarray) -> np.ndarray:
    """``sum_i v_i E_i``, eV Å/ps; reference energies are part of E_i."""
    images = cluster(atoms, network.cutoff)
    pairs, vectors = pair_vectors(torch.tensor(images.positions), network.cutoff)
    potential = network(species(network, images.numbers), pairs, vectors, len(images))
    kinetic = 0.5 * atoms.get_masses() * (velocities**2).sum(1) * EV_PER_AMU_A2_PS2
    return (potential[: len(atoms)].detach().numpy() + kinetic) @ velocities


def cluster(atoms: Atoms, cutoff: float) -> Atoms:
    """The atoms of the cell, then all images that may be within the cutoff of one of them."""
    reach = np.ceil(cutoff * np.linalg.norm(atoms.cell.reciprocal().array, axis=1)).astype(int) + 1
    shifts = np.array(list(np.ndindex(*(2 * reach + 1)))) - reach
    shifts = shifts[np.argsort(np.abs(shifts).sum(1), kind="stable")]  # the cell itself first
    copies = [atoms.positions + shift @ atoms.cell.array for shift in shifts]
    numbers = np.tile(atoms.numbers, len(shifts))
    return Atoms(numbers, np.concatenate(copies))


def currents(
    run_lammps: RunLammps, folder: Path, name: str, n_ranks: int, newton: str, style: str = ALONE
) -> tuple[np.ndarray, np.ndarray]:
    """Virial part and convective part from LAMMPS, eV Å/ps."""
    atoms, velocities = frame(name)
    random_model(folder / "model.pt", **SETTINGS)
    boundary = write_data(folder / "frame.data", atoms)
    lines = [
        f"set atom {i + 1} vx {x!r} vy {y!r} vz {z!r}"
        for i, (x, y, z) in enumerate(velocities.tolist())
    ]
    run = run_lammps(
        SCRIPT.format(newton=newton, boundary=boundary, style=style, velocities="\n".join(lines)),
        n_ranks,
    )
    assert run.returncode == 0, run.screen[-3000:]
    convective = np.array(run.printed("convective"))
    return np.array(run.printed("total")) - convective, convective


def assert_equal(found: np.ndarray, expected: np.ndarray, scale: float) -> None:
    limit = tolerance("lammps").rtol
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit * scale)


@pytest.mark.on_devices
@pytest.mark.parametrize("newton", ["on", "off"])
@pytest.mark.parametrize("n_ranks", [1, 2])
@pytest.mark.parametrize("name", ["water_box", "triclinic_crystal"])
def test_current_in_a_periodic_box(
    run_lammps: RunLammps, tmp_path: Path, network: HIPNN, name: str, n_ranks: int, newton: str
) -> None:
    found, convective = currents(run_lammps, tmp_path, name, n_ranks, newton)
    atoms, velocities = frame(name)
    expected = virial_current(network, atoms, velocities)
    assert_equal(found, expected, np.abs(expected).max())
    assert_equal(
        convective, convective_current(network, atoms, velocities), np.abs(convective).max()
    )


@pytest.mark.parametrize("newton", ["on", "off"])
def test_current_under_hybrid(
    run_lammps: RunLammps, tmp_path: Path, network: HIPNN, newton: str
) -> None:
    """A second style without forces changes nothing."""
    found, _ = currents(run_lammps, tmp_path, "triclinic_crystal", 2, newton, OVERLAY)
    expected = virial_current(network, *frame("triclinic_crystal"))
    assert_equal(found, expected, np.abs(expected).max())


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_current_is_the_motion_of_the_energy(
    run_lammps: RunLammps, tmp_path: Path, network: HIPNN, n_ranks: int
) -> None:
    """Compare with the time derivative of the energy's first moment, without a pair formula."""
    found, _ = currents(run_lammps, tmp_path, "methanol", n_ranks, "on")
    expected = barycentre_current(network, *frame("methanol"))
    assert_equal(found, expected, np.abs(expected).max())


def test_example_integrates_to_a_conductivity(
    run_lammps: RunLammps, data_directory: Path, tmp_path: Path
) -> None:
    """The output of examples/in.heat_flux is the integral of the correlations in its file."""
    examples = data_directory.parent
    shutil.copy(examples / "water.data", tmp_path)
    random_model(tmp_path / "trial.pt", **SETTINGS)
    every, length = 2, 10
    variables = {
        "model": "trial.pt",
        "equilibration": 20,
        "production": 3 * every * length,
        "every": every,
        "length": length,
    }
    arguments = [word for item in variables.items() for word in ("-var", *map(str, item))]
    run = run_lammps((examples / "in.heat_flux").read_text(), 2, arguments=arguments)
    assert run.returncode == 0, run.screen[-3000:]
    printed = re.search(r"conductivity: (\S+) W/\(m K\) at (\S+) K", run.screen)
    assert printed
    found, temperature = map(float, printed.groups())
    volume = read(examples / "water.data", format="lammps-data", units="metal").get_volume()
    correlations = np.loadtxt(tmp_path / "J0Jt.dat", skiprows=4)[:, 3:].sum(1)
    assert len(correlations) == length
    factor = every * 0.0005 / (3 * volume * units.kB * temperature**2)  # eV/(Å ps K)
    factor *= units._e * 1e22  # W/(m K)
    expected = factor * (correlations.sum() - 0.5 * (correlations[0] + correlations[-1]))
    scale = factor * np.abs(correlations).sum()  # the file has six digits
    assert found == pytest.approx(expected, abs=1e-5 * scale)
