"""Unusual boxes against the ASE calculator: two dimensions, moving boundaries, empty ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import systems
from ekd.inference import ExportedModel
from ekd.lammps.logs import read_dump_frame
from lammps_runs import ORDER, RunLammps, write_data
from tolerances import tolerance

SCRIPT = """
units metal
dimension {dimension}
atom_style atomic
atom_modify map yes
boundary {boundary}
processors {processors}
read_data frame.data
pair_style {style} energy total
pair_coeff * * {model} O H N C
neighbor 0.5 bin
neigh_modify every 1 delay 0 check yes
{body}
dump last all custom 1 last.dump id type xu yu zu fx fy fz
dump_modify last sort id format float %.17g
compute energies all pe/atom
compute sum all reduce sum c_energies
thermo_style custom step pe c_sum
thermo_modify norm no
run 0 post no
print "energy $(pe:%22.16g) $(c_sum:%22.16g)"
"""

MOVE = """
velocity all create 1000 4711 loop geom
fix move all nve
timestep 0.0005
run 20 post no
"""


def assert_equals_ase(
    run_lammps: RunLammps,
    folder: Path,
    atoms: Atoms,
    model: Path,
    n_ranks: int,
    *,
    body: str = MOVE,
    style: str = "ekd",
    boundary: str = "",
    dimension: int = 3,
    processors: str = "* * *",
) -> np.ndarray:
    """Run, and compare the last frame with Python; returns its positions [n_atoms, 3]."""
    data = folder / "frame.data"
    if dimension == 2:  # LAMMPS requires a periodic direction, and the plane inside the box
        fixed = write_data(data, Atoms(atoms, pbc=True))
        data.write_text(data.read_text().replace("0.0 1.0 zlo zhi", "-0.5 0.5 zlo zhi"))
    else:
        fixed = write_data(data, atoms)
    run = run_lammps(
        SCRIPT.format(
            dimension=dimension,
            boundary=boundary or fixed,
            processors=processors,
            style=style,
            model=model,
            body=body,
        ),
        n_ranks,
    )
    assert run.returncode == 0, run.screen[-3000:]
    frame = read_dump_frame(folder / "last.dump")
    positions = np.column_stack([frame[axis] for axis in ("xu", "yu", "zu")])
    forces = np.column_stack([frame[axis] for axis in ("fx", "fy", "fz")])
    numbers = np.array(ORDER)[frame["type"].astype(int) - 1]
    expected = ExportedModel(model).evaluate(numbers, positions, atoms.cell.array, atoms.pbc)
    limit = tolerance("lammps")
    energy, sum_of_energies = run.printed("energy")
    assert abs(energy - expected.energy) / len(atoms) < limit.atol
    assert sum_of_energies == pytest.approx(energy, rel=1e-13)
    np.testing.assert_allclose(forces, expected.forces, **limit.bounds)
    return positions


def sheet() -> Atoms:
    """36 atoms in the plane z = 0, periodic in x and y."""
    grid = np.array(list(np.ndindex(6, 6))) * 2.0
    atoms = Atoms("ONHC" * 9, cell=[12.0, 12.0, 1.0], pbc=[True, True, False])
    atoms.positions[:, :2] = grid + np.random.default_rng(3).normal(scale=0.2, size=grid.shape)
    return atoms


@pytest.mark.parametrize("style", ["ekd", "ekd ghosts wide"])
@pytest.mark.parametrize("n_ranks", [1, 4])
def test_two_dimensions(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path, n_ranks: int, style: str
) -> None:
    """A flat system has no images above or below, and remains flat."""
    positions = assert_equals_ase(
        run_lammps,
        tmp_path,
        sheet(),
        model_folder / "3-float64.pt",
        n_ranks,
        style=style,
        dimension=2,
        body="fix flat all enforce2d\n" + MOVE,
    )
    assert np.all(positions[:, 2] == 0.0)
    assert np.abs(positions - sheet().positions).max() > 0.01


@pytest.mark.parametrize("n_ranks", [1, 4])
def test_boundaries_that_follow_the_atoms(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path, n_ranks: int
) -> None:
    """A drop in a shrink-wrapped box, whose walls and domains move with it."""
    drop = systems.water_box()
    drop.pbc = False
    assert_equals_ase(
        run_lammps,
        tmp_path,
        drop,
        model_folder / "2-float64.pt",
        n_ranks,
        boundary="s s m",
    )


@pytest.mark.parametrize("n_interactions", [1, 2, 3])
def test_ranks_whose_atoms_have_no_neighbors(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path, n_interactions: int
) -> None:
    """Four ranks in a row: a molecule, a lone atom, nothing, two lone atoms."""
    molecule = systems.methanol()
    molecule.positions += [3.0, 5.0, 5.0] - molecule.positions.min(0)
    lone = Atoms("OHC", [[15.0, 5.0, 5.0], [32.0, 2.0, 5.0], [37.0, 7.0, 5.0]])
    scattered = molecule + lone
    scattered.set_cell([40.0, 10.0, 10.0])
    scattered.pbc = True
    assert_equals_ase(
        run_lammps,
        tmp_path,
        scattered,
        model_folder / f"{n_interactions}-float64.pt",
        4,
        processors="4 1 1",
    )
