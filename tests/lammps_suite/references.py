"""References for pair_style ekd in the format of LAMMPS's tests of force styles.

A reference is a YAML file with the keys of ``unittest/force-styles/tests`` of LAMMPS: the commands
of a run, and its expected results. It is read by LAMMPS's own program ``test_pair_style`` and by
:mod:`driver`. This reader supports only the subset of YAML in these files: scalars and blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

Rows = list[list[float]]

_BLOCKS = [
    "skip_tests",
    "prerequisites",
    "pre_commands",
    "post_commands",
    "pair_coeff",
    "extract",
    "init_stress",
    "init_forces",
    "run_stress",
    "run_forces",
]


@dataclass
class Reference:
    """The commands of a run, and its expected results.

    Attributes:
        path: path of the file.
        epsilon: largest allowed relative difference.
        pre_commands: commands before the input file.
        post_commands: commands after *pair_coeff*.
        input_file: input file that sets up the box.
        pair_style: the style and its keywords.
        pair_coeff: arguments of each *pair_coeff* command.
        extract: names that the style's extract() knows, and their numbers of dimensions.
        n_atoms: number of atoms.
        init_energy: eng_vdwl and eng_coul at step 0, in units of the run.
        init_stress: virial at step 0: xx, yy, zz, xy, xz, yz.
        init_forces: forces at step 0, [n_atoms, 3], ordered by atom ID.
        run_energy: eng_vdwl and eng_coul after four steps.
        run_stress: virial after four steps.
        run_forces: forces after four steps.
    """

    path: Path
    epsilon: float
    pre_commands: list[str]
    post_commands: list[str]
    input_file: str
    pair_style: str
    pair_coeff: list[str]
    extract: dict[str, int]
    n_atoms: int
    init_energy: list[float]
    init_stress: list[float]
    init_forces: Rows
    run_energy: list[float]
    run_stress: list[float]
    run_forces: Rows
    tags: list[str] = field(default_factory=list)


def read(path: Path) -> Reference:
    """Read a reference.

    Raises:
        ValueError: a key is missing, or the size of a block does not match ``natoms``.
    """
    entries: dict[str, list[str]] = {}
    key = ""
    for line in path.read_text().splitlines():
        if line.startswith((" ", "\t")):
            entries[key].append(line.strip())
        elif line.strip() and line not in ("---", "..."):
            key, _, value = line.partition(":")
            value = value.strip()
            is_block = value.startswith(("!", "|")) and key in _BLOCKS
            entries[key] = [] if is_block or not value else [value.strip("'\"")]
    missing = {"epsilon", "pair_style", "pair_coeff", "natoms", "init_forces"} - entries.keys()
    if missing:
        raise ValueError(f"'{path}' lacks {', '.join(sorted(missing))}")

    def numbers(name: str) -> list[float]:
        return [float(word) for line in entries[name] for word in line.split()]

    def forces(name: str) -> Rows:
        rows = {int(line.split()[0]): line.split()[1:] for line in entries[name]}
        n_atoms = int(entries["natoms"][0])
        if sorted(rows) != list(range(1, n_atoms + 1)):
            raise ValueError(f"'{path}': {name} does not have one row for each of {n_atoms} atoms")
        return [[float(word) for word in rows[k]] for k in sorted(rows)]

    return Reference(
        path=path,
        epsilon=numbers("epsilon")[0],
        pre_commands=entries.get("pre_commands", []),
        post_commands=entries.get("post_commands", []),
        input_file=entries["input_file"][0],
        pair_style=entries["pair_style"][0],
        pair_coeff=entries["pair_coeff"],
        extract={line.split()[0]: int(line.split()[1]) for line in entries.get("extract", [])},
        n_atoms=int(entries["natoms"][0]),
        init_energy=numbers("init_vdwl") + numbers("init_coul"),
        init_stress=numbers("init_stress"),
        init_forces=forces("init_forces"),
        run_energy=numbers("run_vdwl") + numbers("run_coul"),
        run_stress=numbers("run_stress"),
        run_forces=forces("run_forces"),
    )


def write(reference: Reference) -> None:
    """Write a reference to its path."""

    def block(lines: Sequence[str]) -> str:
        # The number is the indentation of the block, because its first line may begin with spaces.
        return "! |2\n" + "".join(f"  {line}\n" for line in lines) if lines else '! ""\n'

    def row(values: Sequence[float]) -> str:
        return " ".join(f"{value:23.16e}" for value in values)

    def forces(rows: Rows) -> str:
        return block([f"{k + 1:3} {row(values)}" for k, values in enumerate(rows)])

    r = reference
    r.path.write_text(
        "---\n"
        "lammps_version: any\n"
        "date_generated: by make_references.py, without LAMMPS\n"
        f"epsilon: {r.epsilon:g}\n"
        "skip_tests:\n"
        "prerequisites: " + block(["pair ekd"]) + "pre_commands: " + block(r.pre_commands)
        + "post_commands: " + block(r.post_commands)
        + f"input_file: {r.input_file}\n"
        + f"pair_style: {r.pair_style}\n"
        + "pair_coeff: " + block(r.pair_coeff)
        + "extract: " + block([f"{name} {n}" for name, n in r.extract.items()])
        + f"natoms: {r.n_atoms}\n"
        + f"init_vdwl: {r.init_energy[0]!r}\ninit_coul: {r.init_energy[1]!r}\n"
        + "init_stress: " + block([row(r.init_stress)])
        + "init_forces: " + forces(r.init_forces)
        + f"run_vdwl: {r.run_energy[0]!r}\nrun_coul: {r.run_energy[1]!r}\n"
        + "run_stress: " + block([row(r.run_stress)])
        + "run_forces: " + forces(r.run_forces)
        + "...\n"
    )  # fmt: skip
