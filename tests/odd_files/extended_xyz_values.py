"""Unusual files in extended XYZ: energies, levels of theory, forces, cells, frames."""

from __future__ import annotations

import numpy as np

from ekd.units import BOHR, HARTREE
from odd_files import ENERGY, WATER, OddFile, Read, Refused, waters
from odd_files.extended_xyz import BOX, F0, FORCES, PLAIN, TWO, E, frame, frames, numbered, text

LISTED = (
    # ------------------------------------------------------------------------------ energies
    (
        "frames without an energy",
        "SCF that did not converge",
        frames([*TWO, PLAIN]),
        Read([-2078.5, -2078.25], n_dropped=1),
    ),
    (
        "NaN energies",
        "pandas, SCF that did not converge",
        frames([*TWO, f"{PLAIN} energy=nan", f"{PLAIN} energy=NaN"]),
        Read([-2078.5, -2078.25], n_dropped=2),
    ),
    ("energy None", "Python", frames([*TWO, f"{PLAIN} energy=None"]), Refused("'None'")),
    (
        "whole numbers",
        "energies that were rounded by hand",
        frame(f"{PLAIN} energy=-2078"),
        Read([-2078.0]),
    ),
    (
        "energy with its unit",
        "scripts of people",
        frame(f'{PLAIN} energy="-76.38 Hartree"'),
        Refused("'-76.38 Hartree'.*energy_unit"),
    ),
    (
        "unit in the comment",
        "scripts of people, converters of QCArchive",
        frame(f"{PLAIN} energy=-76.3833 energy_unit=Hartree"),
        Read([-76.3833 * HARTREE]),
    ),
    (
        "unit in the comment that contradicts",
        "scripts of people",
        frame(f"{PLAIN} energy=-76.3833 energy_unit=Hartree"),
        Refused("Hartree according to the file, but energy_unit is 'kcal/mol'"),
        {"energy_unit": "kcal/mol"},
    ),
    (
        "Hartree that nobody mentions",
        "every quantum chemistry program",
        frames(["energy=-76.3833", "energy=-76.3811"]),
        Read([-76.3833, -76.3811], warnings=["as if they were in Hartree"]),
    ),
    (
        "two energies",
        "files with several methods",
        frames([f"{line} dft_energy=-2080.1" for line in TWO]),
        Read([-2078.5, -2078.25], warnings=["'energy' is read.*'dft_energy' in 2"]),
    ),
    (
        "two energies, one is named",
        "files with several methods",
        frames([f"{line} dft_energy=-2080.{k}" for k, line in enumerate(TWO)]),
        Read([-2080.0, -2080.1]),
        {"energy": "dft_energy"},
    ),
    (
        "keys that change between frames",
        "files joined with cat",
        frames([TWO[0], f"{PLAIN} REF_energy=-2078.2"]),
        Read([-2078.5], n_dropped=1, warnings=["'energy' is read.*'REF_energy' in 1"]),
    ),
    (
        "free energy beside the energy",
        "smearing: VASP, ASE",
        frames([f"{line} free_energy=-2079.0" for line in TWO]),
        Read([-2078.5, -2078.25], warnings=["'free_energy'.* differs .*750 meV"]),
    ),
    (
        "free energy that is the energy",
        "ASE",
        frames(["energy=-2078.5 free_energy=-2078.5"]),
        Read([-2078.5]),
    ),
    (
        "energy per atom",
        "Materials Project, scripts of people",
        frame(f"{PLAIN} energy_per_atom=-692.8"),
        Refused("'energy_per_atom'.*per atom.*total.*EKD-DATA-077"),
        {"energy": "energy_per_atom"},
    ),
    (
        "zero for what was not computed",
        "arrays that were filled with zeros",
        frames([*TWO, f"{PLAIN} energy=0.0"]),
        Read([-2078.5, -2078.25, 0.0], warnings=["1 of 3 energies .* exactly zero"]),
    ),
    (
        "few digits",
        "energies printed with %.1f",
        frames(numbered(12, "energy={:.1f}")),
        Read(
            [float(c.split("=")[-1]) for c in numbered(12, "energy={:.1f}")],
            warnings=["steps of 100 meV"],
        ),
    ),
    (
        "several numbers",
        "excited states",
        frame(f'{PLAIN} energy="-2078.5 -2070.1"'),
        Refused("expected a number"),
    ),
    (
        "one geometry with two energies",
        "two methods, or two SCF solutions, in one file",
        frame(TWO[0]) + frame(TWO[1]),
        Read([-2078.5, -2078.25], warnings=["1 configurations .*repeat .* 250 meV"]),
    ),
    # -------------------------------------------------------------- levels, charges and spins
    (
        "two methods",
        "files joined with cat",
        frames([f"{TWO[0]} method=PBE", f"{TWO[1]} method=B3LYP"]),
        Refused("'method'.*'B3LYP' \\(1\\), 'PBE' \\(1\\).*where.*EKD-DATA-083"),
    ),
    (
        "two methods, one is chosen",
        "files joined with cat",
        frames([f"{TWO[0]} method=PBE", f"{TWO[1]} method=B3LYP"]),
        Read([-2078.25], n_dropped=1),
        {"where": {"method": "B3LYP"}},
    ),
    (
        "two methods, both are chosen",
        "one method by two names",
        frames([f"{TWO[0]} method=PBE", f"{TWO[1]} method=pbe"]),
        Read([-2078.5, -2078.25]),
        {"where": {"method": ["PBE", "pbe"]}},
    ),
    (
        "several configuration types",
        "GAP: config_type",
        frames([f"{TWO[0]} config_type=liquid", f"{TWO[1]} config_type=dimer"]),
        Read([-2078.5, -2078.25]),
    ),
    (
        "one configuration type is chosen",
        "GAP: config_type",
        frames([f"{TWO[0]} config_type=liquid", f"{TWO[1]} config_type=dimer"]),
        Read([-2078.5], n_dropped=1),
        {"where": {"config_type": "liquid"}},
    ),
    (
        "ions among neutral molecules",
        "SPICE, OMol25, proton transfer",
        frames([f"{TWO[0]} charge=0", f"{TWO[1]} charge=1"]),
        Refused("1 of 2 configurations .* charge.*states='neutral'.*EKD-DATA-080"),
    ),
    (
        "ions are left out",
        "SPICE, OMol25, proton transfer",
        frames([f"{TWO[0]} charge=0", f"{TWO[1]} charge=1"]),
        Read([-2078.5], n_dropped=1),
        {"states": "neutral"},
    ),
    (
        "ions are kept",
        "SPICE, OMol25, proton transfer",
        frames([f"{TWO[0]} charge=0", f"{TWO[1]} charge=1"]),
        Read([-2078.5, -2078.25]),
        {"states": "all"},
    ),
    (
        "nothing but cations",
        "data of one ion",
        frames([f"{line} total_charge=1" for line in TWO]),
        Read([-2078.5, -2078.25], warnings=["all 2 configurations .* have charge \\+1"]),
    ),
    (
        "neutral singlets",
        "every data set that is careful",
        frames([f"{line} charge=0 multiplicity=1 spin=0 nelec=10" for line in TWO]),
        Read([-2078.5, -2078.25]),
    ),
    (
        "neutral singlets of OMol25, whose spin is the multiplicity",
        "OMol25",
        frames([f"{line} charge=0 spin=1" for line in TWO]),
        Read([-2078.5, -2078.25]),
    ),
    (
        "triplets among singlets",
        "carbenes, oxygen",
        frames([f"{TWO[0]} multiplicity=1", f"{TWO[1]} multiplicity=3"]),
        Refused("1 of 2 configurations .* multiplicity.*EKD-DATA-080"),
    ),
    (
        "spins of 0 and 1",
        "files that were put together",
        frames([f"{TWO[0]} charge=0 spin=0", f"{TWO[1]} charge=0 spin=1"]),
        Refused("'spin'.*triplets, or singlets.*EKD-DATA-084"),
    ),
    (
        "electrons are counted",
        "PySCF scripts",
        frames([f"{TWO[0]} nelec=10", f"{TWO[1]} nelec=9"]),
        Refused("1 of 2 configurations .* charge"),
    ),
    (
        "isolated atoms have spins",
        "GAP, MACE",
        frames([f"{line} spin=0" for line in TWO])
        + frame(f"{PLAIN} energy=-13.6 config_type=IsolatedAtom spin=1", [[0, 0, 0]], "H")
        + frame(f"{PLAIN} energy=-2041 config_type=IsolatedAtom spin=2", [[0, 0, 0]], "O"),
        Read([-2078.5, -2078.25]),
    ),
    # ------------------------------------------------------------------------- forces, stress
    (
        "gradient in a column",
        "Psi4, PySCF, Turbomole",
        frame(f"{PLAIN}:gradient:R:3 {E}", columns=-F0),
        Refused("'gradient'.*gradients=True.*EKD-DATA-078"),
        {"forces": "gradient"},
    ),
    (
        "gradient in a column, sign turned",
        "Psi4, PySCF, Turbomole",
        frame(f"{PLAIN}:gradient:R:3 {E}", columns=-F0),
        Read([ENERGY], forces=F0),
        {"forces": "gradient", "gradients": True},
    ),
    (
        "forces of zero where none were computed",
        "writers that want a column",
        frame(f"{FORCES} {E}", columns=0 * F0),
        Read([ENERGY], forces=0 * F0, warnings=["1 of 1 configurations .* forces .* zero"]),
        {"forces": "forces"},
    ),
    (
        "stress and virial",
        "GAP, VASP",
        frame(f'{PLAIN} {E} {BOX} stress="1 0 0 0 1 0 0 0 1" virial="1 0 0 0 1 0 0 0 1"'),
        Read([ENERGY], pbc=[True, True, True]),
    ),
    # ---------------------------------------------------------------------- cells and geometry
    (
        "periodic in two directions",
        "slabs",
        frame(f'{PLAIN} {E} {BOX} pbc="T F T"'),
        Read([ENERGY], pbc=[True, False, True], cell=np.diag([9.0, 8.0, 7.0])),
    ),
    (
        "pbc as 0 and 1",
        "scripts of people",
        frame(f'{PLAIN} {E} {BOX} pbc="1 0 1"'),
        Read([ENERGY], pbc=[True, False, True]),
    ),
    (
        "pbc in words",
        "Python: str(atoms.pbc)",
        frame(f'{PLAIN} {E} {BOX} pbc="True True False"'),
        Read([ENERGY], pbc=[True, True, False]),
    ),
    (
        "pbc as one letter",
        "scripts of people",
        frame(f"{PLAIN} {E} {BOX} pbc=F"),
        Read([ENERGY]),
    ),
    (
        "box around a molecule",
        "OVITO, VMD",
        frame(f'{PLAIN} {E} {BOX} pbc="F F F"'),
        Read([ENERGY]),
    ),
    (
        "lattice of zeros",
        "ASE, molecules that went through a periodic program",
        frame(f'{PLAIN} {E} Lattice="0 0 0 0 0 0 0 0 0" pbc="F F F"'),
        Read([ENERGY]),
    ),
    (
        "slab without a third vector",
        "ASE: surfaces",
        frame(f'{PLAIN} {E} Lattice="9 0 0 0 8 0 0 0 0" pbc="T T F"'),
        Read([ENERGY], pbc=[True, True, False]),
    ),
    (
        "periodic along a vector of zero",
        "scripts of people",
        frame(f'{PLAIN} {E} Lattice="9 0 0 0 8 0 0 0 0" pbc="T T T"'),
        Refused("lattice vectors are missing or lie in one plane"),
    ),
    (
        "periodic without a lattice",
        "scripts of people",
        frame(f'{PLAIN} {E} pbc="T T T"'),
        Refused("lattice vectors are missing"),
    ),
    (
        "lattice as lengths and angles",
        "CIF, scripts of people",
        frame(f'{PLAIN} {E} Lattice="9 8 7 90 90 90"'),
        Refused("cannot be read as extended XYZ|Lattice"),
    ),
    (
        "left-handed lattice",
        "cells with swapped axes",
        frame(f'{PLAIN} {E} Lattice="0 9 0 8 0 0 0 0 7"'),
        Read([ENERGY], pbc=[True] * 3, cell=[[0, 9, 0], [8, 0, 0], [0, 0, 7]]),
    ),
    (
        "atoms outside of the cell",
        "unwrapped trajectories",
        frame(f"{PLAIN} {E} {BOX}", WATER + 20),
        Read([ENERGY], pbc=[True] * 3, positions=WATER + 20),
    ),
    (
        "Bohr that nobody mentions",
        "Turbomole, Psi4, PySCF",
        frame(f"{PLAIN} {E}", WATER / BOHR),
        Read([ENERGY], warnings=["1.9 times.*Bohr"]),
    ),
    (
        "positions that are not finite",
        "geometries that exploded",
        frame(f"{PLAIN} {E}").replace("0.117000", "nan"),
        Refused("positions that are not finite"),
    ),
    # --------------------------------------------------------------------- frames and counting
    ("empty file", "jobs that were killed", "", Refused("has no configurations")),
    ("nothing but blank lines", "jobs that were killed", "\n\n", Refused("has no configurations")),
    (
        "frame of no atoms",
        "filters that took all atoms away",
        f"0\n{PLAIN} {E}\n" + frame(f"{PLAIN} {E}"),
        Refused("without atoms"),
    ),
    (
        "single atoms",
        "reference energies",
        frame(f"{PLAIN} energy=-13.6", [[0, 0, 0]], "H"),
        Read([-13.6], ["H"]),
    ),
    (
        "atoms in another order in each frame",
        "databases that sort",
        frame(TWO[0]) + frame(TWO[1], waters(1)[0][[1, 0, 2]], "H O H"),
        Read([-2078.5, -2078.25]),
    ),
    (
        "last frame is cut off between two lines",
        "jobs that were killed, disks that were full",
        "".join(frames(TWO).splitlines(keepends=True)[:-1]),
        Refused("frame 2 .*2 of 3 atoms.*cut off.*EKD-DATA-072"),
    ),
    (
        "last frame is cut off in a line",
        "jobs that were killed, disks that were full",
        frames(TWO)[:-15],
        Refused("frame 2 .*has 3 columns; expected 4.*cut off.*EKD-DATA-072"),
    ),
    (
        "a column more in one line",
        "files edited by hand",
        frame(f"{PLAIN} {E}").replace("H 0", "H 0 0", 1),
        Refused("frame 1 .*has 5 columns; expected 4, as the first atom has.*EKD-DATA-072"),
    ),
    (
        "further columns without Properties",
        "XYZ with charges or forces",
        frame(E, columns=[[0.1], [0.2], [0.3]]),
        Read([ENERGY]),
    ),
    (
        "numbers with underscores",
        "Python's notation of literals",
        frame(f"{PLAIN} {E}").replace("0.0", "0_0.0", 1),
        Refused("'0_0.0.*' is in a column of numbers.*EKD-DATA-075"),
    ),
    (
        "quotation mark that is not closed",
        "files edited by hand",
        frame(f'{PLAIN} pbc="F F F {E}'),
        Refused("quotation mark that is not closed.*EKD-DATA-089"),
    ),
    (
        "quotation mark within a text",
        "names of molecules",
        frame(f'{PLAIN} name="a \\" b" note=\'5" tube\' {E}'),
        Read([ENERGY]),
    ),
    (
        "last frame is cut off after the number",
        "jobs that were killed",
        frames(TWO) + "3\n",
        Refused("frame 3 .*0 of 3 atoms.*cut off"),
    ),
    (
        "fewer atoms than said",
        "files edited by hand",
        frames(TWO).replace("3\n", "4\n", 1),
        Refused("line 7 .*expected the number of atoms|frame 1"),
    ),
    (
        "more atoms than said",
        "files edited by hand",
        frames(TWO).replace("3\n", "2\n", 1),
        Refused("line 5 .*expected the number of atoms.*EKD-DATA-071"),
    ),
)

ODD_FILES = tuple(
    OddFile(name, found, text(content), outcome, *request)
    for name, found, content, outcome, *request in LISTED
)
