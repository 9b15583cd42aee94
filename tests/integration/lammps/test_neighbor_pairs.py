"""Pairs that LAMMPS omits from its lists: bonded atoms, and exclusions of neigh_modify."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import systems
from lammps_runs import ORDER, RunLammps

HEAD = """
units metal
atom_style full
bond_style zero
angle_style zero
read_data box.data
{special}
"""
EKD = "pair_style ekd {keywords}\npair_coeff * * {model} O H N C\n"
COULOMB = "pair_style lj/cut/coul/{kind} 4.0\npair_coeff * * 0.01 2.0\n"
BOTH = (
    "pair_style hybrid/overlay ekd lj/cut/coul/{kind} 4.0\npair_coeff * * ekd {model} O H N C\n"
    "pair_coeff * * lj/cut/coul/{kind} 0.01 2.0\n"
)
RUN = """
bond_coeff *
angle_coeff *
{more}
thermo_style custom step pe
run 0 post no
print "energy $(pe:%22.16g)"
"""


def write_molecules(path: Path, atoms: Atoms, bonded: bool = True) -> None:
    """Water with bonds and angles; oxygen before its two hydrogen atoms."""
    n = len(atoms) // 3
    assert list(atoms.symbols[:3]) == ["O", "H", "H"]
    lines = ["made for a test", "", f"{3 * n} atoms", f"{len(ORDER)} atom types"]
    lines += [f"{2 * n * bonded} bonds", f"{n * bonded} angles", "1 bond types", "1 angle types"]
    lines += ["2 extra bond per atom", "6 extra special per atom"]
    lines += [
        f"0 {float(edge)!r} {axis}lo {axis}hi"
        for edge, axis in zip(atoms.cell.lengths(), "xyz", strict=True)
    ]
    lines += [
        "",
        "Masses",
        "",
        *(f"{t + 1} 1.0" for t in range(len(ORDER))),
        "",
        "Atoms # full",
        "",
    ]
    for k, (z, r) in enumerate(zip(atoms.numbers, atoms.positions.tolist(), strict=True)):
        charge = -0.8 if z == 8 else 0.4
        type_ = ORDER.index(z) + 1
        lines.append(f"{k + 1} {k // 3 + 1} {type_} {charge} {r[0]!r} {r[1]!r} {r[2]!r}")
    if bonded:
        firsts = [3 * m + 1 for m in range(n)]
        bonds = [(o, o + h) for o in firsts for h in (1, 2)]
        lines += ["", "Bonds", "", *(f"{k + 1} 1 {i} {j}" for k, (i, j) in enumerate(bonds))]
        lines += ["", "Angles", ""]
        lines += [f"{k + 1} 1 {o + 1} {o} {o + 2}" for k, o in enumerate(firsts)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def molecules(tmp_path: Path) -> Atoms:
    atoms = systems.water_box().repeat(2)
    write_molecules(tmp_path / "box.data", atoms)
    return atoms


def energy(run_lammps: RunLammps, style: str, *, n_ranks: int = 1, **parts: str) -> float:
    parts = {"special": "", "more": "", "keywords": "", "kind": "cut", **parts}
    run = run_lammps((HEAD + style + RUN).format(**parts), n_ranks)
    assert run.returncode == 0, run.screen[-3000:]
    return run.printed("energy")[0]


@pytest.mark.usefixtures("molecules")
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_removed_pairs_are_refused_and_the_advice_keeps_other_energies(
    run_lammps: RunLammps, model_folder: Path, n_ranks: int
) -> None:
    """Both styles together give the results of each alone with its intended factors."""
    model = str(model_folder / "2-float64.pt")
    parts = {"special": "special_bonds lj/coul 0 0 0.5", "more": "", "kind": "cut", "model": model}
    refused = run_lammps((HEAD + BOTH + RUN).format(**parts), n_ranks)
    assert refused.returncode != 0
    advice = "special_bonds lj/coul 1e-30 1e-30 0.5"
    assert "removes pairs of bonded atoms, such as 1 and " in refused.error
    assert f"use '{advice}'" in refused.error
    found = energy(run_lammps, BOTH, special=advice, model=model, n_ranks=n_ranks)
    alone = energy(run_lammps, EKD, special="special_bonds lj/coul 1 1 1", model=model)
    other = energy(run_lammps, COULOMB, special="special_bonds lj/coul 0 0 0.5")
    assert found == pytest.approx(alone + other, rel=1e-10)
    # With factors of 1, the other style would include pairs of bonded atoms too.
    wrong = energy(run_lammps, BOTH, special="special_bonds lj/coul 1 1 1", model=model)
    assert abs(wrong - found) > 1.0


@pytest.mark.usefixtures("molecules")
def test_a_kspace_style_keeps_all_pairs(run_lammps: RunLammps, model_folder: Path) -> None:
    """With a kspace style, factors of zero are correct, and there is no error."""
    model = str(model_folder / "2-float64.pt")
    parts = {"kind": "long", "special": "special_bonds lj/coul 0 0 0"}
    ewald = {**parts, "more": "kspace_style ewald 1e-6"}
    found = energy(run_lammps, BOTH, model=model, **ewald)
    alone = energy(run_lammps, EKD, special="special_bonds lj/coul 1 1 1", model=model)
    assert found == pytest.approx(alone + energy(run_lammps, COULOMB, **ewald), rel=1e-10)


@pytest.mark.parametrize("special", ["", "special_bonds lj/coul 1 1 1"])
def test_molecular_styles_without_bonds_need_no_factors(
    run_lammps: RunLammps, model_folder: Path, tmp_path: Path, special: str
) -> None:
    write_molecules(tmp_path / "box.data", systems.water_box(), bonded=False)
    model = str(model_folder / "2-float64.pt")
    found = energy(run_lammps, EKD, special=special, model=model)
    wide = energy(run_lammps, EKD, keywords="ghosts wide", model=model)
    assert found == pytest.approx(wide, rel=1e-9)


@pytest.mark.usefixtures("molecules")
def test_bonds_among_types_of_another_style_do_not_matter(
    run_lammps: RunLammps, model_folder: Path
) -> None:
    style = (
        "pair_style hybrid ekd zero 4.0\npair_coeff * * ekd {model} O NULL NULL NULL\n"
        "pair_coeff 1 2*4 zero\npair_coeff 2*4 2*4 zero\n"
    )
    model = str(model_folder / "1-float64.pt")
    found = energy(run_lammps, style, special="special_bonds lj/coul 0 0 0", model=model)
    assert found == energy(run_lammps, style, special="special_bonds lj/coul 1 1 1", model=model)


@pytest.mark.usefixtures("molecules")
@pytest.mark.parametrize("n_ranks", [1, 2])
@pytest.mark.parametrize(
    "more",
    [
        "neigh_modify exclude molecule/intra all",
        "neigh_modify exclude type 1 2",
        "atom_modify first o\ngroup o type 1\nneigh_modify include o",
    ],
    ids=["molecule", "type", "include"],
)
def test_wide_ghosts_refuse_what_they_cannot_heed(
    run_lammps: RunLammps, model_folder: Path, more: str, n_ranks: int
) -> None:
    parts = {"special": "special_bonds lj/coul 1 1 1", "model": str(model_folder / "2-float64.pt")}
    # atom_modify first must be near the start of an input script.
    _, _, rest = more.rpartition("atom_modify first o\n")
    head = HEAD.replace("read_data", "atom_modify first o\nread_data") if rest != more else HEAD
    parts["more"] = rest
    text = head + EKD + RUN
    run = run_lammps(text.format(keywords="ghosts wide", **parts), n_ranks)
    assert run.returncode != 0
    assert "ghosts wide finds its own neighbors and cannot apply neigh_modify" in run.error


@pytest.mark.usefixtures("molecules")
def test_staged_ghosts_heed_exclusions(run_lammps: RunLammps, model_folder: Path) -> None:
    model = str(model_folder / "2-float64.pt")
    all_pairs = energy(run_lammps, EKD, special="special_bonds lj/coul 1 1 1", model=model)
    parts = {"special": "special_bonds lj/coul 1 1 1", "model": model}
    none = energy(run_lammps, EKD, more="neigh_modify exclude group all all", **parts)
    some = energy(run_lammps, EKD, more="neigh_modify exclude molecule/intra all", **parts)
    assert none == 0.0
    assert not np.isclose(some, all_pairs)
