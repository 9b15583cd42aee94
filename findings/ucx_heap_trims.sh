#!/usr/bin/env bash
# Memory of an MPI program that often returns memory to the system, with the UCX in PyPI's MPICH.
#
# Packages: mpich 5.0.2 of PyPI (device ch4:ucx), with gcc and glibc.
# Guess: a program that allocates and frees the same blocks in every step, and sends nothing, has a
#   constant resident memory after the first steps, with MPI as without it.
# Seen: it grows by 110 to 150 bytes whenever the C library shrinks the heap, here 0.4 MiB in 4,000
#   steps, without end. UCX notes every range of addresses that is returned to the system, for its
#   cache of registered memory, and works the notes off only when it looks into this cache, which
#   messages between processes of one node do not need. With UCX_RCACHE_ENABLE=n the memory is
#   constant. A pair style of LAMMPS that freed 160 kB per step grew from 36 to 65 MiB in 200,000
#   steps on two ranks.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "mpich==5.0.2"

cat > steps.c <<'END'
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { n_blocks = 400, block = 100000, n_steps = 4000 };

static long resident(void) {  // bytes
  long size = 0, pages = 0;
  FILE* file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%ld %ld", &size, &pages) != 2) exit(1);
  fclose(file);
  return pages * sysconf(_SC_PAGESIZE);
}

static void step(void) {
  static char* blocks[n_blocks];
  for (int k = 0; k < n_blocks; ++k) {
    blocks[k] = malloc(block);
    blocks[k][0] = 1;
  }
  for (int k = 0; k < n_blocks; ++k) free(blocks[k]);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  for (int k = 0; k < 100; ++k) step();
  const long before = resident();
  for (int k = 0; k < n_steps; ++k) step();
  printf("%.0f\n", (resident() - before) / (double)n_steps);
  MPI_Finalize();
  return 0;
}
END
venv/bin/mpicc -O1 steps.c -o steps
export LD_LIBRARY_PATH="$folder/venv/lib"
with=$(./steps)
without=$(UCX_RCACHE_ENABLE=n ./steps)
echo "growth of the resident memory per step:             $with bytes"
echo "the same without UCX's cache of registered memory:  $without bytes"
((with > 80 && with < 250 && without < 10)) || { echo "this has changed"; exit 1; }
