"""LAMMPS scripts that end in the same state: energy and pressure of the style and of the atoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lammps_runs import RunLammps

HEAD = """
units metal
atom_style atomic
atom_modify map yes
newton {newton}
boundary p p p
{before}
read_data box.data
pair_style {style}
pair_coeff {coefficients}
neighbor 0.5 bin
neigh_modify every 1 delay 0 check yes
compute stress all stress/atom NULL virial
compute total all reduce sum c_stress[1] c_stress[2] c_stress[3] c_stress[4] c_stress[5] c_stress[6]
compute pressure all pressure NULL virial
thermo_style custom step pe pxx c_total[*] c_pressure[*]
thermo_modify norm no
"""
PRINT = """
variable v equal vol
print "state $(pe:%22.16g) $(c_pressure[1]:%22.16g) $(c_pressure[2]:%22.16g) &
$(c_pressure[3]:%22.16g) $(c_pressure[4]:%22.16g) $(c_pressure[5]:%22.16g) &
$(c_pressure[6]:%22.16g)"
print "atoms $(-c_total[1]/v_v:%22.16g) $(-c_total[2]/v_v:%22.16g) $(-c_total[3]/v_v:%22.16g) &
$(-c_total[4]/v_v:%22.16g) $(-c_total[5]/v_v:%22.16g) $(-c_total[6]/v_v:%22.16g)"
"""
MOVE = """
velocity all create 1500 4711 loop geom
fix integrate all nve
timestep 0.0005
run 25 post no
"""


def script(
    model: Path,
    body: str = MOVE,
    *,
    style: str = "ekd",
    coefficients: str | None = None,
    newton: str = "on",
    before: str = "",
) -> str:
    head = HEAD.format(
        newton=newton,
        before=before,
        style=style,
        coefficients=coefficients or f"* * {model} O H N C",
    )
    return head + body + PRINT


def state(run_lammps: RunLammps, text: str, n_ranks: int = 1) -> np.ndarray:
    """Energy and pressure at the end; the virials of the atoms must sum to the pressure."""
    run = run_lammps(text, n_ranks)
    assert run.returncode == 0, run.screen[-3000:]
    result = np.array(run.printed("state"))
    np.testing.assert_allclose(
        run.printed("atoms"), result[1:], rtol=0, atol=1e-9 * np.abs(result[1:]).max()
    )
    return result


_REFERENCES: dict[str, np.ndarray] = {}


def reference(run_lammps: RunLammps, text: str) -> np.ndarray:
    """The state on one rank, run once for all tests that compare with it."""
    if text not in _REFERENCES:
        _REFERENCES[text] = state(run_lammps, text)
    return _REFERENCES[text]


def assert_same(found: np.ndarray, expected: np.ndarray, rtol: float = 1e-9) -> None:
    """Energy and pressure agree; the pressure relative to its largest component."""
    np.testing.assert_allclose(found[0], expected[0], rtol=rtol)
    scale = np.abs(expected[1:]).max()
    np.testing.assert_allclose(found[1:], expected[1:], rtol=0, atol=rtol * scale)
