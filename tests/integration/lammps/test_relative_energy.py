"""Energies relative to free atoms, and their use by fixes with a reservoir and by minimizers.

The energy of an atom without neighbors is zero. Some fixes try the deletion of atoms by excluding
them from the neighbor lists, which then gives the same energy as without these atoms.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.units import kB

import systems
from ekd.calculator import EKDCalculator
from ekd.export import export_model
from lammps_runs import KCAL_MOL_PER_EV, ORDER, LammpsRun, RunLammps, write_data
from models import random_committee, random_network, with_other_class
from tolerances import tolerance

POINT = """
units {units}
atom_style atomic
boundary {boundary}
read_data box.data
pair_style ekd {keywords}
pair_coeff * * {model} O H N C
compute ea all pe/atom
compute sum all reduce sum c_ea
dump atoms all custom 1 atoms.txt id c_ea
dump_modify atoms sort id format float %22.16g
thermo_style custom step pe c_sum
thermo_modify norm no
run 0 post no
print "energy $(pe:%22.16g) $(c_sum:%22.16g)"
"""


def finished(run: LammpsRun) -> LammpsRun:
    assert run.returncode == 0, run.screen[-3000:]
    return run


def free_atoms(model: Path, atoms: Atoms) -> np.ndarray:
    """Energy of every atom as a free atom, from the ASE calculator."""
    energies = {}
    for symbol in set(atoms.symbols):
        alone = Atoms(symbol)
        alone.calc = EKDCalculator(model)
        energies[symbol] = alone.get_potential_energy()
    return np.array([energies[symbol] for symbol in atoms.symbols])


def point(run_lammps: RunLammps, model: Path, atoms: Atoms, n_ranks: int = 1, **changes: str):
    """The finished run, its total energy and its atomic energies."""
    parts = {"units": "metal", "keywords": "", "model": str(model), **changes}
    folder = run_lammps("quit").folder
    parts["boundary"] = write_data(folder / "box.data", atoms)
    run = finished(run_lammps(POINT.format(**parts), n_ranks))
    by_atom = np.loadtxt(folder / "atoms.txt", skiprows=9, ndmin=2)[:, 1]
    return run, run.printed("energy"), by_atom


@pytest.fixture(scope="module")
def models(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models for all ways of evaluation: kernels, TorchScript, single precision, a committee."""
    folder = tmp_path_factory.mktemp("relative")
    random_committee(folder / "committee.pt", 3, n_interactions=2, l_max=1)
    return {
        "one": model_folder / "1-float64.pt",
        "three": model_folder / "3-float64.pt",
        "single": model_folder / "2-float32.pt",
        "script": with_other_class(model_folder / "2-float64.pt", folder / "script.pt"),
        "committee": folder / "committee.pt",
    }


@pytest.mark.parametrize("units", ["metal", "real"])
@pytest.mark.parametrize("name", ["one", "three", "single", "script", "committee"])
def test_equals_ase_less_the_free_atoms(
    run_lammps: RunLammps, models: dict[str, Path], name: str, units: str
) -> None:
    """Total and atomic energies agree; the log states the sum of free atoms; totals on request."""
    atoms, model = systems.water_box(), models[name]
    unit = KCAL_MOL_PER_EV if units == "real" else 1.0
    atoms.calc = EKDCalculator(model)
    free = free_atoms(model, atoms)
    limit = tolerance("lammps", "float32" if name == "single" else "float64").atol
    expected = atoms.get_potential_energies() - free
    run, energy, by_atom = point(run_lammps, model, atoms, n_ranks=2, units=units)
    np.testing.assert_allclose(by_atom / unit, expected, rtol=0, atol=limit)
    np.testing.assert_allclose(energy, by_atom.sum(), rtol=1e-12)
    (line,) = [line for line in run.screen.splitlines() if "relative to free atoms" in line]
    told = float(line.split("their sum is ")[1].split()[0])
    assert told == pytest.approx(unit * free.sum(), rel=1e-6 if name == "single" else 1e-8)
    run, energy, _ = point(run_lammps, model, atoms, keywords="energy total", units=units)
    assert "relative to free atoms" not in run.screen
    np.testing.assert_allclose(
        np.array(energy) / unit / len(atoms), atoms.get_potential_energy() / len(atoms), atol=limit
    )


@pytest.mark.parametrize("keywords", ["", "ghosts wide", "block 3", "precision single"])
@pytest.mark.parametrize("name", ["one", "three", "script", "committee"])
def test_free_atoms_are_zero(
    run_lammps: RunLammps, models: dict[str, Path], name: str, keywords: str
) -> None:
    """Without neighbors, the energy is exactly zero, whatever other atoms there are."""
    water = systems.water_box()
    far = Atoms("OHNC", positions=15.0 * np.eye(4, 3) + [30, 30, 30])
    atoms = Atoms(water + far, cell=[60, 60, 60], pbc=True)
    _, energy, by_atom = point(run_lammps, models[name], atoms, keywords=keywords)
    assert not by_atom[-4:].any()
    assert by_atom[:-4].all()
    _, alone, by_atom = point(run_lammps, models[name], Atoms(far, cell=[60] * 3, pbc=True))
    assert alone == [0.0, 0.0]
    assert energy[0] != 0.0


WATER = molecule("H2O")
CUTOFF = 1.7


def exported(folder: Path, scale: float, **settings: object) -> Path:
    """A random model with free-atom energies of thousands of eV and scaled interactions."""
    network, config = random_network(n_interactions=2, l_max=1, **settings)
    with torch.no_grad():
        for block in network.blocks:
            block.energy.weight.mul_(scale)
    export_model(network, folder / "model.pt", config=config, dtype="float64")
    return folder / "model.pt"


def intramolecular(model: Path) -> float:
    """Energy of a water molecule relative to its free atoms, eV."""
    water = WATER.copy()
    water.calc = EKDCalculator(model)
    return float(water.get_potential_energy() - free_atoms(model, water).sum())


@pytest.fixture(scope="module")
def ideal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with very weak interactions."""
    return exported(tmp_path_factory.mktemp("ideal"), 1e-6)


@pytest.fixture(scope="module")
def molecular(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in which molecules have 1 eV of intramolecular energy.

    The cutoff exceeds the distances in a molecule. Molecules that are further apart do not
    interact, and fix gcmc inserts none closer than that.
    """
    folder, short = tmp_path_factory.mktemp("molecular"), {"cutoff": CUTOFF, "soft_max": 1.6}
    scale = 1.0 / abs(intramolecular(exported(folder, 1.0, **short)))
    return exported(folder, scale, **short)


MOLECULE = "water\n\n3 atoms\n\nCoords\n\n{}\n\nTypes\n\n1 1\n2 2\n3 2\n".format(
    "\n".join(f"{k + 1} {x} {y} {z}" for k, (x, y, z) in enumerate(WATER.positions))
)
GCMC = """
units metal
atom_style full
region b block 0 40 0 40 0 40
create_box 4 b
mass 1 16
mass 2 1
mass 3 14
mass 4 12
{atoms}
pair_style ekd {keywords}
pair_coeff * * {model} O H N C
neighbor 1.0 bin
neigh_modify every 1 delay 0 check yes
molecule h2o water.mol
{fix}
variable n equal atoms/{size}
fix mean all ave/time 1 400 400 v_n file mean.txt
thermo_style custom step atoms pe
thermo 10
run {steps}
"""
N_IDEAL = 8


def mean_number(run: LammpsRun) -> float:
    finished(run)
    return float(np.loadtxt(run.folder / "mean.txt")[-1])


@pytest.mark.parametrize("n_ranks", [1, 2])
@pytest.mark.parametrize("start", ["empty", "full"])
@pytest.mark.parametrize("name", ["ideal", "molecular"])
def test_gcmc_holds_the_waters_of_an_ideal_gas(
    request: pytest.FixtureRequest,
    run_lammps: RunLammps,
    tmp_path: Path,
    n_ranks: int,
    start: str,
    name: str,
) -> None:
    """P V = N k T, starting from an empty or a full box, also with an intramolecular energy."""
    model: Path = request.getfixturevalue(name)
    (tmp_path / "water.mol").write_text(MOLECULE)
    intra = intramolecular(model)
    assert abs(intra) == pytest.approx(1.0 if name == "molecular" else 0.0, abs=1e-4)
    pressure = N_IDEAL * 1.380649e-23 * 300 / 40.0e-10**3 / 1e5
    atoms = ""
    if start == "full":
        atoms = "molecule w water.mol\ncreate_atoms 0 random 16 4711 b mol w 17 overlap 6.0\n"
    fix = (
        f"fix g all gcmc 1 20 0 0 12345 300.0 0.0 0.0 mol h2o pressure {pressure!r} "
        f"intra_energy {intra!r} full_energy overlap_cutoff {CUTOFF + 0.05}"
    )
    text = GCMC.format(atoms=atoms, keywords="", model=model, fix=fix, size=3, steps=400)
    assert abs(mean_number(run_lammps(text, n_ranks)) - N_IDEAL) < 0.5


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_gcmc_holds_the_atoms_of_an_ideal_gas(
    run_lammps: RunLammps, ideal: Path, tmp_path: Path, n_ranks: int
) -> None:
    """The chemical potential is that of an ideal gas; like the energy, relative to free atoms."""
    (tmp_path / "water.mol").write_text(MOLECULE)
    thermal = 6.62607015e-34 / np.sqrt(
        2 * np.pi * 1.0 * 1.66053906660e-27 * 1.380649e-23 * 300
    )  # wavelength, m
    mu = kB * 300 * np.log(N_IDEAL * (thermal * 1e10 / 40.0) ** 3)
    fix = f"group h type 2\nfix g h gcmc 1 20 0 2 12345 300.0 {float(mu)!r} 0.0 full_energy"
    text = GCMC.format(atoms="", keywords="", model=ideal, fix=fix, size=1, steps=400)
    assert abs(mean_number(run_lammps(text, n_ranks)) - N_IDEAL) < 0.5


CHARGED = """
units metal
atom_style charge
region b block 0 40 0 40 0 40
create_box 4 b
mass * 1.0
pair_style {style}
pair_coeff * * {coefficients}
neighbor 1.0 bin
fix salt all charge/regulation 1 2 nevery 1 nmc 20 pH 7 pIp 0.68 pIm 0.68 lunit_nm 0.1 &
temp 300 pmcmoves 0 0 1 seed 3 onlysalt yes 1 -1
variable n equal count(all)/2
fix mean all ave/time 1 200 200 v_n file mean.txt
run 200
"""


def test_charge_regulation_holds_what_it_holds_of_an_ideal_gas(
    run_lammps: RunLammps, ideal: Path
) -> None:
    """With the same seed, there are as many ion pairs as without interactions."""
    text = CHARGED.format(style="zero 4.0", coefficients="")
    expected = mean_number(run_lammps(text))
    text = CHARGED.format(style="ekd", coefficients=f"{ideal} O H N C")
    assert mean_number(run_lammps(text)) == expected
    assert abs(expected - 0.968 * N_IDEAL) < 1.0


def test_excluded_atoms_are_as_good_as_deleted(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path
) -> None:
    """Fix gcmc, fix charge/regulation and fix widom try deletions and insertions in this way."""
    write_data(tmp_path / "box.data", systems.water_box())
    text = f"""
units metal
atom_style atomic
read_data box.data
pair_style ekd
pair_coeff * * {model_folder / "2-float64.pt"} O H N C
group one id 1:9
thermo_style custom step pe
run 0 post no
neigh_modify exclude group one all
run 0 post no
print "excluded $(pe:%22.16g)"
neigh_modify exclude none
delete_atoms group one compress no
run 0 post no
print "deleted $(pe:%22.16g)"
"""
    run = finished(run_lammps(text))
    excluded, deleted = run.printed("excluded"), run.printed("deleted")
    np.testing.assert_allclose(excluded, deleted, rtol=1e-12)


def test_widom_finds_the_excess_of_an_ideal_gas(
    run_lammps: RunLammps, ideal: Path, tmp_path: Path
) -> None:
    """Without interactions, the excess chemical potential is zero, not thousands of eV."""
    (tmp_path / "water.mol").write_text(MOLECULE)
    atoms = "lattice sc 13.3\ncreate_atoms 2 box\n"
    fix = "fix w all widom 1 20 2 29494 300.0 full_energy"
    text = GCMC.format(atoms=atoms, keywords="", model=ideal, fix=fix, size=1, steps=400)
    text = text.replace("run 400", 'run 10\nprint "excess $(f_w[1])"')
    (excess,) = finished(run_lammps(text)).printed("excess")
    assert abs(excess) < 1e-3


@pytest.mark.parametrize("n_ranks", [1, 2])
@pytest.mark.parametrize("name", ["one", "three", "script", "committee"])
@pytest.mark.parametrize("keywords", ["", "ghosts wide"])
def test_a_box_without_atoms(
    run_lammps: RunLammps, models: dict[str, Path], name: str, keywords: str, n_ranks: int
) -> None:
    """The run works, and continues after atoms have been added."""
    text = f"""
units metal
atom_style atomic
region b block 0 12 0 12 0 12
create_box {len(ORDER)} b
mass * 1.0
pair_style ekd {keywords}
pair_coeff * * {models[name]} O H N C
fix move all nve
thermo_style custom step atoms pe press
run 3 post no
print "none $(pe) $(press)"
create_atoms 1 single 1 1 1
create_atoms 2 single 1 1 2
run 3 post no
print "two $(pe) $(atoms)"
"""
    run = finished(run_lammps(text, n_ranks))
    assert run.printed("none") == [0.0, 0.0]
    energy, n_atoms = run.printed("two")
    assert n_atoms == 2
    assert energy != 0.0


def test_minimizers_end_where_forces_are_small(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path
) -> None:
    """The energy tolerance is relative to the energy, which must not include free atoms."""
    atoms = systems.water_box().repeat(2)
    write_data(tmp_path / "box.data", atoms)
    text = f"""
units metal
atom_style atomic
read_data box.data
pair_style ekd {{}}
pair_coeff * * {model_folder / "1-float64.pt"} O H N C
min_style cg
thermo_style custom step pe fmax
minimize 1e-6 0 1000 10000
print "steps $(step) $(fmax)"
"""
    relative = finished(run_lammps(text.format(""))).printed("steps")
    total = finished(run_lammps(text.format("energy total"))).printed("steps")
    assert relative[0] > total[0]
    assert relative[1] < 0.5 * total[1]
