"""Neighbour lists of periodic water: ekd, vesin and ASE on the same boxes, one thread each.

python benchmarks/bench_neighbor_list.py [--cutoff 5.5] [--repeats 1 2 3 4]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import ase.neighborlist
from ase import Atoms
from common import Row, best_seconds, machine, print_table, water

from ekd.neighbor_list import neighbor_list

CountPairs = Callable[[Atoms, float], int]
"""Builds centres, neighbours, shifts and vectors of the full list; returns the number of pairs."""


def with_ekd(atoms: Atoms, cutoff: float) -> int:
    found = neighbor_list(atoms.positions, cutoff, atoms.cell.array, atoms.pbc, n_threads=1)
    return int(found.pairs.shape[1])


def with_ase(atoms: Atoms, cutoff: float) -> int:
    i, *_ = ase.neighborlist.primitive_neighbor_list(
        "ijSD", atoms.pbc, atoms.cell.array, atoms.positions, cutoff
    )
    return len(i)


def with_vesin(in_order: bool) -> CountPairs:
    import vesin  # type: ignore[import-untyped]

    def count(atoms: Atoms, cutoff: float) -> int:
        builder = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=in_order, n_threads=1)
        i, *_ = builder.compute(atoms.positions, atoms.cell.array, periodic=True, quantities="ijSD")
        return len(i)

    return count


def peers() -> dict[str, CountPairs | str]:
    """What is measured; a string is the reason why something is not."""
    found: dict[str, CountPairs | str] = {"ekd": with_ekd}
    for in_order, name in ((True, "vesin, sorted"), (False, "vesin, any order")):
        try:
            found[name] = with_vesin(in_order)
        except ImportError:
            found[name] = "not installed: pip install vesin"
    return {**found, "ASE": with_ase}


def measure(atoms: Atoms, cutoff: float) -> list[Row]:
    expected = with_ekd(atoms, cutoff)
    rows = []
    for name, peer in peers().items():
        if isinstance(peer, str):
            rows.append(Row(name, None, peer))
            continue
        n_pairs = peer(atoms, cutoff)
        if n_pairs != expected:
            raise SystemExit(f"{name} finds {n_pairs} pairs, ekd {expected}: nothing to compare")
        seconds = best_seconds(partial(peer, atoms, cutoff))
        rows.append(Row(name, n_pairs / seconds / 1e6, f"{1e3 * seconds:.1f} ms"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cutoff", type=float, default=5.5, help="Å (default: %(default)s)")
    parser.add_argument(
        "--repeats",
        type=int,
        nargs="+",
        default=[1, 2, 3, 4],
        help="boxes of 192 atoms along each axis (default: 1 2 3 4, up to 12288 atoms)",
    )
    options = parser.parse_args()
    where = machine(["ekd", "vesin", "ase", "numpy"])
    cases = {}
    for repeats in options.repeats:
        atoms = water(repeats)
        cases[f"{len(atoms)} atoms"] = measure(atoms, options.cutoff)
    print_table(
        f"Full neighbour list of water, cutoff {options.cutoff} Å",
        "Mpairs/s",
        cases,
        where,
    )


if __name__ == "__main__":
    main()
