"""Neighbour lists of periodic water: ekd, vesin, matscipy and ASE on the same boxes.

python benchmarks/bench_neighbor_list.py [--cutoff 5.5] [--repeats 1 2 3 4]

Centres, neighbours, shifts and vectors of the full list. All must find the same number of pairs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

# Before anything that reads it is loaded: one thread, unless the suite has said otherwise.
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")

import ase.neighborlist
from ase import Atoms

from ekd.neighbor_list import neighbor_list
from suite.machine import describe, summary
from suite.plan import Plan
from suite.records import DisagreementError, Message, Skipped, Status, compare
from suite.tables import print_messages
from suite.timing import shortest
from suite.water import water

CUTOFFS = (5.5, 6.5)  # Å, of the standard networks

CountPairs = Callable[[Atoms, float], int]
"""Builds the list; returns the number of pairs."""

SLOW = {"ASE": 15_000}
"""Largest numbers of atoms for peers that would hold up all others."""


def with_ekd(atoms: Atoms, cutoff: float) -> int:
    found = neighbor_list(atoms.positions, cutoff, atoms.cell.array, atoms.pbc, n_threads=1)
    return int(found.pairs.shape[1])


def with_ase() -> CountPairs:
    def count(atoms: Atoms, cutoff: float) -> int:
        i, *_ = ase.neighborlist.primitive_neighbor_list(
            "ijSD", atoms.pbc, atoms.cell.array, atoms.positions, cutoff
        )
        return len(i)

    return count


def with_matscipy() -> CountPairs:
    from matscipy.neighbours import neighbour_list

    def count(atoms: Atoms, cutoff: float) -> int:
        i, *_ = neighbour_list("ijSD", atoms, cutoff=cutoff)
        return len(i)

    return count


def with_vesin(n_threads: int) -> CountPairs:
    """The same output: sorted by centre, arrays of one's own."""
    builder = _vesin(in_order=True, n_threads=n_threads)

    def count(atoms: Atoms, cutoff: float) -> int:
        i, *_ = builder(cutoff).compute(atoms.positions, atoms.cell.array, True, "ijSD")
        return len(i)

    return count


def with_vesin_at_its_fastest(n_threads: int) -> CountPairs:
    """In any order, and views of its own memory, which the next list overwrites."""
    builder = _vesin(in_order=False, n_threads=n_threads)

    def count(atoms: Atoms, cutoff: float) -> int:
        pairs, *_ = builder(cutoff).compute(
            atoms.positions, atoms.cell.array, True, "PSD", copy=False
        )
        return len(pairs)

    return count


def _vesin(in_order: bool, n_threads: int) -> Callable[[float], object]:
    import vesin  # type: ignore[import-untyped]

    builders: dict[float, object] = {}

    def builder(cutoff: float) -> object:
        # Kept, as in a program that builds lists again and again: so is the memory inside.
        if cutoff not in builders:
            builders[cutoff] = vesin.NeighborList(
                cutoff=cutoff, full_list=True, sorted=in_order, n_threads=n_threads
            )
        return builders[cutoff]

    return builder


def peers(n_threads: int) -> dict[str, Callable[[], CountPairs]]:
    """What ekd is compared with; each raises ImportError where it is not installed."""
    found: dict[str, Callable[[], CountPairs]] = {
        "vesin": partial(with_vesin, n_threads),
        "vesin, fastest (any order, views)": partial(with_vesin_at_its_fastest, n_threads),
        "matscipy": with_matscipy,
        "ASE": with_ase,
    }
    if n_threads > 1:
        found["vesin, 1 thread"] = partial(with_vesin, 1)
    return found


def measure(plan: Plan, cutoffs: tuple[float, ...] = CUTOFFS) -> Iterator[Message]:
    available: dict[str, CountPairs] = {}
    for name, make in peers(plan.threads).items():
        if name.split(",")[0].lower() in plan.without:
            continue
        try:
            available[name] = make()
        except ImportError as error:
            yield Skipped("neighbour list", None, plan.threads, name, str(error))
    for target in plan.choose((3_000, 12_288), (3_000, 12_288, 98_304)):
        atoms = water(target)
        for cutoff in cutoffs:
            name = f"neighbour list, {cutoff} Å"
            yield Status(f"{name}, {len(atoms):,} atoms")
            expected = with_ekd(atoms, cutoff)
            calls = {"ekd": partial(with_ekd, atoms, cutoff)}
            for peer, count in available.items():
                if len(atoms) > SLOW.get(peer, len(atoms)):
                    reason = f"measured on up to {SLOW[peer]:,} atoms"
                    yield Skipped(name, len(atoms), plan.threads, peer, reason)
                    continue
                found = count(atoms, cutoff)
                if found != expected:
                    raise DisagreementError(f"{peer} finds {found} pairs, ekd {expected}")
                calls[peer] = partial(count, atoms, cutoff)
            times = shortest(calls, plan.seconds)
            rates = {peer: expected / seconds / 1e6 for peer, seconds in times.items()}
            ekd = rates.pop("ekd")
            note = f"{expected / len(atoms):.1f} pairs/atom"
            yield from compare(name, len(atoms), plan.threads, "Mpairs/s", ekd, rates, note)


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
    where = summary(describe())
    sizes = tuple(192 * repeats**3 for repeats in options.repeats)
    plan = Plan(Path(), int(os.environ["OMP_NUM_THREADS"]), sizes=sizes, seconds=0.5)
    found = list(measure(plan, (options.cutoff,)))
    print_messages("Full neighbour lists of water", found, where)


if __name__ == "__main__":
    main()
