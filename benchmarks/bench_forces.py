"""One force evaluation: ekd, hippynn with the same weights, TorchANI's ANI-1x; float32.

python benchmarks/run.py --only forces

The neighbour list is given to all. What ekd does is also compared with the machine's matrix rate,
by the operations of the order "messages first" (suite/flops.py), and with itself on more atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ekd.inference import ExportedModel
from ekd.models import HIPNN
from ekd.neighbor_list import NeighborList, neighbor_list
from suite.cases import ELEMENTS, SMALL, Case, cases, random_model
from suite.evaluation import bare_evaluation
from suite.flops import per_atom
from suite.peers import hippynn, torchani
from suite.plan import Plan
from suite.records import DisagreementError, Message, Record, Skipped, Status, compare
from suite.timing import SGEMM_SIDE, sgemm, shortest
from suite.water import water

AGREEMENT = 1e-4
"""Largest difference of a force between ekd and hippynn, as a part of the largest force: float32,
through a whole network."""

SAME_PAIRS = 1e-4
"""The same for TorchANI, with its own neighbour list and with that of ekd."""

Forces = Callable[[], NDArray[np.float64]]


class Hippynn:
    """The same weights; its kernels are chosen once, on the smallest structure."""

    largest = 15_000  # atoms: it needs gigabytes for these already

    def __init__(self, case: Case, network: HIPNN):
        self.name = "hippynn"
        self._case, self._network, self._kernels = case, network, ""

    def prepare(self, atoms: Atoms, pairs: NeighborList, expected: NDArray[np.float64]) -> Forces:
        forces = hippynn.evaluation(self._network, self._case.config, atoms, pairs)
        if not self._kernels:
            self._kernels = hippynn.use_fastest_kernels(forces)
            self.name = f"hippynn ({self._kernels} kernels)"
        hippynn.use(self._kernels)
        _require_agreement("hippynn", forces(), expected, AGREEMENT)
        return forces


class TorchANI:
    """Another potential, so another energy: what is checked is the neighbour list it is given."""

    name = "TorchANI (one network of ANI-1x)"
    largest = 15_000

    def prepare(self, atoms: Atoms, pairs: NeighborList, expected: NDArray[np.float64]) -> Forces:
        small = water(192)
        own, given = torchani.evaluation(small, own_pairs=True), torchani.evaluation(small)
        _require_agreement("TorchANI with given pairs", given(), own(), SAME_PAIRS)
        forces = torchani.evaluation(atoms)
        forces()
        return forces


def measure(plan: Plan) -> Iterator[Message]:
    yield Status("torch.mm")
    matrices = sgemm()
    for case in cases().values():
        yield from _case(plan, case, *matrices)


def _case(
    plan: Plan, case: Case, multiply: Callable[[], object], matrix_gflop: float
) -> Iterator[Message]:
    name = f"force evaluation, {case.name}"
    model, network = random_model(case.config, plan.folder / "forces.pt")
    peers: list[Hippynn | TorchANI] = []
    if "hippynn" not in plan.without:
        peers.append(Hippynn(case, network))
    if "torchani" not in plan.without and case.name == SMALL:
        peers.append(TorchANI())
    rates: dict[str, float] = {}  # atoms/s on the last size
    timed: list[int] = []  # sizes, as asked for
    quick = (3_000, 98_304) if case.name == SMALL else (3_000,)
    for target in plan.choose(quick, (3_000, 12_288, 98_304)):
        atoms = water(target)
        size = len(atoms)
        if reason := plan.too_long(size, rates.get("ekd")):
            yield Skipped(name, size, plan.threads, "ekd", reason)
            continue
        yield Status(f"{case.name}, {size:,} atoms: ekd")
        pairs = neighbor_list(atoms.positions, case.config.cutoff, atoms.cell.array, atoms.pbc)
        ekd = bare_evaluation(model, atoms, pairs)
        calls: dict[str, Callable[[], object]] = {"ekd": ekd, "torch.mm": multiply}
        expected = ekd().forces
        for peer in list(peers):
            reason = plan.too_long(size, rates.get(peer.name))
            if size > peer.largest:
                reason = f"measured on up to {peer.largest:,} atoms"
            if reason:
                yield Skipped(name, size, plan.threads, peer.name, reason)
                continue
            yield Status(f"{case.name}, {size:,} atoms: {peer.name}")
            try:
                forces = peer.prepare(atoms, pairs, expected)
                calls[peer.name] = forces
            except (ImportError, RuntimeError, MemoryError) as error:
                yield Skipped(name, size, plan.threads, peer.name, f"{error!s:.200}")
                peers.remove(peer)
        yield Status(f"{case.name}, {size:,} atoms: timing")
        times = shortest(calls, plan.seconds)
        matrix_rate = matrix_gflop / times.pop("torch.mm")
        found = {k: size / seconds for k, seconds in times.items()}
        rates |= found
        rate = found.pop("ekd")
        timed.append(target)
        peer_rates = {k: v / 1e3 for k, v in found.items()}
        yield from compare(name, size, plan.threads, "katom-step/s", rate / 1e3, peer_rates)
        flops = per_atom(case.config, pairs.pairs.shape[1] / size, len(ELEMENTS))
        yield Record(
            f"fraction of the matrix rate, {case.name}",
            size,
            plan.threads,
            rate * flops / 1e9,
            "GFLOP/s",
            f"torch.mm ({SGEMM_SIDE}², float32)",
            matrix_rate,
            f"{flops / 1e6:.3g} MFLOP/atom, messages first",
        )
    if len(timed) > 1:
        yield Status(f"{case.name}: growth")
        yield _growth(plan, case, model, timed[0], timed[-1])


def _growth(
    plan: Plan, case: Case, model: ExportedModel, few_atoms: int, many_atoms: int
) -> Record:
    """Time per atom on many atoms over that on few.

    The small structure is evaluated as often in a row as the large one has times its atoms, and
    both take turns: a virtual machine is faster at one time than at another, and for moments faster
    than it is for long.
    """
    calls, sizes = [], []
    for target in (few_atoms, many_atoms):
        atoms = water(target)
        pairs = neighbor_list(atoms.positions, case.config.cutoff, atoms.cell.array, atoms.pbc)
        calls.append(bare_evaluation(model, atoms, pairs))
        calls[-1]()
        sizes.append(len(atoms))
    times = round(sizes[1] / sizes[0])

    def few() -> None:
        for _ in range(times):
            calls[0]()

    found = shortest({"few": few, "many": calls[1]}, 2 * plan.seconds)
    few_per_atom = found["few"] / (times * sizes[0])
    return Record(
        f"growth of time per atom, {case.name}",
        sizes[1],
        plan.threads,
        found["many"] / sizes[1] / few_per_atom,
        "×",
        note=f"from {sizes[0]:,} atoms",
    )


def _require_agreement(
    name: str, found: NDArray[np.float64], expected: NDArray[np.float64], allowed: float
) -> None:
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not difference <= allowed:
        raise DisagreementError(
            f"forces of {name} differ by {difference:.1e} of the largest, allowed {allowed:.0e}"
        )
