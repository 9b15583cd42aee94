"""Compare ways to tell the error of a student's forces, with one finished run of ``ekd``.

python uncertainty_methods.py RUN_FOLDER --far FILE --near FILE --tuning FILE

The run has teachers, labels with extra geometries (a pool) and a student. Whatever has to be chosen
is chosen with held-out energies, held-out distances to the teachers, and the tuning file; the two
other files are for the numbers alone. No true force is used to fit or to scale anything.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

import ekd
from ekd.config import UncertaintyConfig
from ekd.data import Dataset, split
from ekd.data.combine import concatenate
from ekd.data.dataset import Provenance
from ekd.files import atomic_write
from ekd.models import HIPNN
from ekd.training.batches import Batch, BatchSource
from ekd.training.predictions import forces_from_gradient, large_batches
from ekd.training.uncertainty import SpreadLesson, expected_error, fit_uncertainty
from study import HERE

Array = NDArray[np.float64]

RIDGES = (1e-6, 1e-4, 1e-2, 1.0)
"""Of the matrices of the last layer, times their mean diagonal element."""
N_SAMPLED = 16
"""Last layers that LLPR is estimated with where its cost is measured."""
_BOOTSTRAP = 500


@dataclass(frozen=True)
class Method:
    """A way to tell the error.

    Attributes:
        name: for people.
        tells: uncertainty of each atom of a dataset, one array per seed, eV/Å.
        scale: factor from held-out energies, or None.
        chosen: settings that were chosen.
        cost: evaluations of energy and forces of the student, with it over without it.
    """

    name: str
    tells: Callable[[str], list[Array]]
    scale: float | None = None
    chosen: str = ""
    cost: float | None = None


class LastLayer:
    """Energies and forces of a student as linear functions of its last layer.

    The features after all interactions side by side, summed over the atoms of a configuration, are
    the derivatives of its energy; their own derivatives with respect to positions are those of the
    forces. Counts of the elements are features too, of energies alone: they stand for biases and
    reference energies.
    """

    def __init__(self, student: ekd.TrainedModel):
        self.network = copy.deepcopy(student.model).float()
        self.n_elements = len(self.network.elements)
        self.n_features = sum(self.network.feature_widths[1:])

    def source(self, data: Dataset) -> BatchSource:
        """Batches of a dataset."""
        return BatchSource(data, self.network.elements, self.network.cutoff, torch.float32)

    def parts(
        self, data: Dataset, configs: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Batch by batch: of energies [n, k], of forces [n_atoms, 3, k], of atoms [n_atoms, k]."""
        for batch in large_batches(self.network, self.source(data), configs):
            yield self._of(batch)

    def _of(self, batch: Batch) -> tuple[Array, Array, Array]:
        vectors = batch.pair_vectors.detach().requires_grad_()
        _, levels = self.network.forward_levels(batch.species, batch.pairs, vectors, batch.n_atoms)
        features = torch.cat(levels, dim=1)
        forces = np.zeros((batch.n_atoms, 3, self.n_features + self.n_elements))
        for k in range(self.n_features):
            (gradient,) = torch.autograd.grad(features[:, k].sum(), vectors, retain_graph=True)
            forces[:, :, k] = forces_from_gradient(gradient.double(), batch.pairs, batch.n_atoms)
        counts = torch.nn.functional.one_hot(batch.species, self.n_elements)
        atoms = torch.cat([features.detach().double(), counts.double()], dim=1)
        zeros = torch.zeros(batch.n_configs, atoms.shape[1], dtype=torch.float64)
        return zeros.index_add(0, batch.config_index, atoms).numpy(), forces, atoms.numpy()


class Comparison:
    """One run, the files that are measured on, and what several methods need."""

    def __init__(self, options: argparse.Namespace):
        run = options.run
        config = self.config = ekd.load_config(run / "config.resolved.toml")
        self.data = ekd.load_dataset(
            config.data.path, config.data.energy, energy_unit=config.data.energy_unit
        )
        self.labels = ekd.Labels.load(run / "labels.h5", self.data)
        self.teachers = ekd.load_ensemble(run / "teachers")
        self.student = ekd.load_students(run).members[0]
        self.train, self.validation = split(
            self.data,
            config.data.validation_fraction,
            config.data.split_by,
            config.data.split_seed,
        )
        extra = self.labels.extra
        assert extra is not None, "the labels hold no extra configurations"
        self.extra = len(self.data) + np.arange(len(extra))
        self.all = concatenate(self.data, extra)
        assert config.test is not None
        test = config.test
        self.sets = {
            name: ekd.load_dataset(path, test.energy, test.forces, energy_unit=test.energy_unit)
            for name, path in vars(options).items()
            if name in ("near", "far", "tuning")
        }
        self.sets["validation"] = self.data.subset(self.validation)
        self.found = {name: self.student.predict(data) for name, data in self.sets.items()}
        self.ensemble = {name: self.teachers.predict(data) for name, data in self.sets.items()}
        self.in_training = self.student.predict(self.all)
        self.error = {
            name: np.sqrt(((self.found[name].forces - data.forces) ** 2).mean(1))
            for name, data in self.sets.items()
            if data.forces is not None
        }
        self.energy_error = self.found["validation"].energies - self.sets["validation"].energies
        self.steps = options.steps
        self.seeds = range(options.seeds)
        self.last = LastLayer(self.student)
        self.box = _Box(self.student)

    @property
    def distance(self) -> Array:
        """Of the student's forces from the mean teacher's, per component and atom, eV/Å."""
        found: Array = np.sqrt(((self.in_training.forces - self.labels.forces) ** 2).mean(1))
        return found

    def ensemble_spread(self) -> Method:
        """What the teachers say themselves."""
        found = self.ensemble
        scale = _rms(self.energy_error) / _rms(found["validation"].energies_std)
        return Method(
            f"spread of {len(self.teachers.members)} teachers",
            lambda name: [found[name].forces_std],
            scale,
            cost=self.box.times_of_teachers(self.teachers),
        )

    def expected_error(self) -> Method:
        """The spread of the teachers and the student's distance from their mean, both calculated.

        It is what a head on both is to tell.
        """

        def tells(name: str) -> list[Array]:
            mean = self.ensemble[name]
            distance = np.sqrt(((self.found[name].forces - mean.forces) ** 2).mean(1))
            return [expected_error(mean.forces_std, len(self.teachers.members), distance)]

        cost = self.box.times_of_teachers(self.teachers)
        return Method("spread, unbiased, and distance of the student", tells, None, "", cost)

    def head(self, name: str, target: Array, configs: NDArray[np.int64]) -> Method:
        """A head on the features, once per seed."""
        config = UncertaintyConfig(n_steps=self.steps, target="spread")  # a target as it is given
        lesson = SpreadLesson(config, target, self.labels.n_members, configs)
        networks = []
        for seed in self.seeds:
            network = copy.deepcopy(self.student.model)
            fit_uncertainty(network, self.last.source(self.all), lesson, self.validation, seed)
            networks.append(network)

        def tells(which: str) -> list[Array]:
            return [_head_on(network, self.sets[which]) for network in networks]

        spread = self.ensemble["validation"].energies_std
        return Method(name, tells, _rms(self.energy_error) / _rms(spread), "", self.box.head())

    def last_layer_methods(self, n_configs: int) -> list[Method]:
        """LLPR of atoms and of forces, and a committee of heads."""
        random = np.random.default_rng(0)
        chosen = np.sort(
            np.concatenate(
                [
                    random.permutation(self.train)[:n_configs],
                    random.permutation(self.extra)[: n_configs // 2],
                ]
            )
        )
        taught = [teacher.predict(self.all.subset(chosen)) for teacher in self.teachers.members]
        own = self.student.predict(self.all.subset(chosen))
        # Noise of what is fitted: the student's own residuals on what it was not trained on.
        mean = self.ensemble["validation"]
        noise_e = _rms(self.energy_error)
        noise_f = _rms(self.found["validation"].forces - mean.forces)
        k = self.last.n_features + self.last.n_elements
        of_energies, matrix, sides = np.zeros((k, k)), np.zeros((k, k)), np.zeros((len(taught), k))
        configs = atoms = 0
        for e, f, _ in self.last.parts(self.all, chosen):
            flat = f.reshape(-1, k)
            of_energies += e.T @ e / noise_e**2
            matrix += flat.T @ flat / noise_f**2
            here = slice(configs, configs + len(e))
            those = slice(atoms, atoms + len(f))
            for side, told in zip(sides, taught, strict=True):
                side += (told.energies[here] - own.energies[here]) @ e / noise_e**2
                side += (told.forces[those] - own.forces[those]).reshape(-1) @ flat / noise_f**2
            configs, atoms = configs + len(e), atoms + len(f)
        matrix += of_energies
        known = {name: self._joined(data) for name, data in self.sets.items()}
        return [
            self._llpr("LLPR, features of the atom", matrix, known, of_forces=False),
            self._llpr("LLPR, variance of the forces", matrix, known, of_forces=True),
            self._llpr("... learned from energies alone", of_energies, known, of_forces=True),
            self._committee(matrix, sides, known),
        ]

    def _joined(self, data: Dataset) -> tuple[Array, Array, Array]:
        energies, forces, atoms = zip(*self.last.parts(data), strict=True)
        return np.concatenate(energies), np.concatenate(forces), np.concatenate(atoms)

    def _llpr(
        self,
        name: str,
        matrix: Array,
        known: dict[str, tuple[Array, Array, Array]],
        of_forces: bool,
    ) -> Method:
        # The reference energies are no part of the last layer; the one bias is.
        n = self.last.n_features
        merged = np.eye(n + self.last.n_elements, n + 1)
        merged[n:, n] = 1
        matrix = merged.T @ matrix @ merged
        known = {
            name: (parts[0] @ merged, parts[1] @ merged, parts[2] @ merged)
            for name, parts in known.items()
        }

        def method(ridge: float) -> Method:
            inverse: Array = np.linalg.inv(_with_ridge(matrix, ridge)).astype(np.float64)
            energies = np.sqrt(_quadratic(known["validation"][0], inverse))
            alpha = np.sqrt(np.mean((self.energy_error / energies) ** 2))  # most likely one

            def tells(which: str) -> list[Array]:
                _, forces, atoms = known[which]
                variance = (
                    _quadratic(forces, inverse).mean(1) if of_forces else _quadratic(atoms, inverse)
                )
                return [alpha * np.sqrt(variance)]

            cost = self.box.sampled(N_SAMPLED) if of_forces else self.box.quadratic()
            note = f"ridge {ridge:g}, alpha {alpha:.3g}"
            return Method(name, tells, None, note, cost)

        return self._best([method(ridge) for ridge in RIDGES])

    def _committee(
        self, matrix: Array, sides: Array, known: dict[str, tuple[Array, Array, Array]]
    ) -> Method:
        def method(ridge: float) -> Method:
            weights = np.linalg.solve(_with_ridge(matrix, ridge), sides.T)

            def tells(which: str) -> list[Array]:
                return [np.sqrt((known[which][1] @ weights).var(-1).mean(1))]

            spread = (known["validation"][0] @ weights).std(1)
            return Method(
                "committee of heads, one per teacher",
                tells,
                _rms(self.energy_error) / _rms(spread),
                f"ridge {ridge:g}",
                self.box.sampled(len(sides)),
            )

        return self._best([method(ridge) for ridge in RIDGES])

    def _best(self, methods: Sequence[Method]) -> Method:
        """The one that ranks the atoms of the tuning file best."""
        return max(methods, key=lambda m: _spearman(m.tells("tuning")[0], self.error["tuning"]))

    def row(self, method: Method) -> dict[str, Any]:
        """The numbers of a method."""
        row: dict[str, Any] = {"method": method.name, "scale": method.scale}
        row |= {"chosen": method.chosen, "cost": method.cost}
        for name in ("near", "far", "tuning"):
            told, error = method.tells(name), self.error[name]
            row[f"{name}_spearman"] = float(np.mean([_spearman(t, error) for t in told]))
            row[f"{name}_spearman_sd"] = _bootstrap(told, error, self.sets[name])
            row[f"{name}_ratio"] = float(np.mean([_rms(error) / _rms(t) for t in told]))
            row[f"{name}_spearman_teachers"] = float(
                np.mean([_spearman(t, self.ensemble[name].forces_std) for t in told])
            )
        return row


class _Box:
    """The cost of a method in molecular dynamics of water, beside energy and forces."""

    def __init__(self, student: ekd.TrainedModel, n_molecules: int = 32):
        from ekd.lammps.structures import water_box

        atoms = water_box(n_molecules, 0.997, 0)
        data = Dataset(
            atomic_numbers=atoms.numbers,
            positions=atoms.positions,
            offsets=np.array([0, len(atoms)]),
            energies=np.zeros(1),
            groups=np.array(["water"]),
            provenance=Provenance("water", "", "none", 0),
            cells=atoms.cell.array[None],
            pbc=atoms.pbc[None],
        )
        self.data = data
        self.network = student.in_float64()
        self.batch = self._batch(self.network)
        self.plain = _seconds(lambda: self._forces(self.network, self.batch))

    def _batch(self, network: HIPNN) -> Batch:
        source = BatchSource(self.data, network.elements, network.cutoff, torch.float64)
        return next(source.batches(np.arange(1), 1))

    def _levels(
        self, network: HIPNN, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        vectors = batch.pair_vectors.detach().requires_grad_()
        levels, features = network.forward_levels(
            batch.species, batch.pairs, vectors, batch.n_atoms
        )
        return torch.stack(levels).sum(), torch.cat(features, dim=1), vectors

    def _forces(self, network: HIPNN, batch: Batch) -> None:
        energy, _, vectors = self._levels(network, batch)
        torch.autograd.grad(energy, vectors)

    def _with(self, more: Callable[[torch.Tensor, torch.Tensor], Any]) -> float:
        def both() -> None:
            energy, features, vectors = self._levels(self.network, self.batch)
            torch.autograd.grad(energy, vectors, retain_graph=True)
            more(features, vectors)

        return _seconds(both) / self.plain

    def head(self) -> float:
        """Of a head on the features."""
        assert self.network.uncertainty_head is not None
        head = self.network.uncertainty_head
        return self._with(lambda features, _: head([features.detach()]))

    def quadratic(self) -> float:
        """Of a quadratic form of the features."""

        def form(features: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            there = features.detach()
            return ((there @ (there.T @ there)) * there).sum(1)

        return self._with(form)

    def sampled(self, n: int) -> float:
        """Of the forces of ``n`` last layers."""

        def more(features: torch.Tensor, vectors: torch.Tensor) -> None:
            energies = features.sum(0) @ torch.randn(features.shape[1], n).double()
            for energy in energies:
                torch.autograd.grad(energy, vectors, retain_graph=True)

        return self._with(more)

    def times_of_teachers(self, teachers: ekd.Ensemble) -> float:
        """Of the student, and all teachers beside it."""
        seconds = 0.0
        for teacher in teachers.members:
            network = teacher.in_float64()
            batch = self._batch(network)
            seconds += _seconds(lambda n=network, b=batch: self._forces(n, b))  # type: ignore[misc]
        return 1 + seconds / self.plain


def _seconds(call: Callable[[], Any], n: int = 15) -> float:
    """Least of several: the machine may do other things too."""
    times = []
    for _ in range(n):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


@torch.no_grad()
def _head_on(network: HIPNN, data: Dataset) -> Array:
    source = BatchSource(data, network.elements, network.cutoff, torch.float32)
    told = []
    for batch in large_batches(network, source, None):
        _, features = network.forward_levels(
            batch.species, batch.pairs, batch.pair_vectors, batch.n_atoms
        )
        told.append(network.uncertainty(features))
    found: Array = torch.cat(told).numpy()
    return found


def _with_ridge(matrix: Array, ridge: float) -> Array:
    """Add the ridge in units in which every feature has the same weight on the diagonal."""
    return matrix + ridge * np.diag(np.diag(matrix)) + 1e-12 * np.eye(len(matrix))


def _quadratic(rows: Array, inverse: Array) -> Array:
    form: Array = np.einsum("...i,ij,...j->...", rows, inverse, rows, optimize=True)
    return np.maximum(form, 0)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _spearman(one: Array, other: Array) -> float:
    return float(stats.spearmanr(one, other).statistic)


def _bootstrap(told: Sequence[Array], error: Array, data: Dataset) -> float:
    """Standard deviation of the rank correlation over configurations that are drawn anew."""
    random = np.random.default_rng(0)
    rows = [np.arange(a, b) for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True)]
    found = []
    for _ in range(_BOOTSTRAP):
        drawn = np.concatenate([rows[i] for i in random.integers(len(rows), size=len(rows))])
        found.append(_spearman(told[0][drawn], error[drawn]))
    return float(np.std(found))


def markdown(rows: Sequence[dict[str, Any]], facts: dict[str, Any]) -> str:
    """The table."""
    heads = ["uncertainty", "rank near", "rank far", "error / it near", "far", "scaled near"]
    heads += ["far", "cost"]
    lines = [
        "# Ways to tell the error of a student's forces",
        "",
        f"| {' | '.join(heads)} |",
        f"| --- |{' ---: |' * (len(heads) - 1)}",
    ]
    for row in rows:
        cells = [row["method"]]
        cells += [
            f"{row[f'{name}_spearman']:.2f} ± {row[f'{name}_spearman_sd']:.2f}"
            for name in ("near", "far")
        ]
        cells += [f"{row[f'{name}_ratio']:.2f}" for name in ("near", "far")]
        for name in ("near", "far"):
            scale = row["scale"]
            cells.append("" if scale is None else f"{row[f'{name}_ratio'] / scale:.2f}")
        cells.append(f"{row['cost']:.2f}×")
        lines.append(f"| {' | '.join(cells)} |")
    sizes = ", ".join(
        f"{name}: {part['n_configs']} configurations, {part['n_atoms']} atoms"
        for name, part in facts.items()
    )
    lines += [
        "",
        f"{sizes}. *rank*: Spearman's correlation of the uncertainty of an atom with the error of "
        "its force, ± its standard deviation over configurations drawn anew. *error / it*: root "
        "mean square error of a force component over the root mean square uncertainty. *scaled*: "
        "the same after a factor from held-out energies, error of the student over spread of the "
        "teachers (or heads). LLPR has its scale from held-out energies already. *cost*: energy, "
        "forces and uncertainty over energy and forces alone, in PyTorch on one core; the variance "
        f"of the forces by {N_SAMPLED} sampled last layers.",
        "",
    ]
    return "\n".join(lines)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare ways to tell the error of forces.")
    parser.add_argument("run", type=Path, help="output folder of 'ekd run'")
    parser.add_argument("--far", type=Path, required=True, help="true forces far from the data")
    parser.add_argument("--near", type=Path, required=True, help="true forces near the data")
    parser.add_argument("--tuning", type=Path, help="to choose with (default: FAR_tuning.h5)")
    parser.add_argument("--seeds", type=int, default=3, help="of each head (default: 3)")
    parser.add_argument("--steps", type=int, default=2000, help="of each head (default: 2000)")
    parser.add_argument(
        "--configs", type=int, default=400, help="of the data for the last layer (default: 800)"
    )
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of tables")
    options = parser.parse_args(given)
    options.tuning = options.tuning or options.far.with_name(f"{options.far.stem}_tuning.h5")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Compare, print the table, and write it."""
    options = arguments(given)
    this = Comparison(options)
    spread, distance = this.labels.forces_std, this.distance
    expected = expected_error(spread, this.labels.n_members, distance)
    both = np.concatenate([this.train, this.extra])
    methods = [
        this.ensemble_spread(),
        this.expected_error(),
        this.head("head on the spread, data alone", spread, this.train),
        this.head("head on the spread, data and pool", spread, both),
        this.head("head on spread and distance", np.hypot(spread, distance), both),
        this.head("head on both, spread unbiased (the default)", expected, both),
        *this.last_layer_methods(options.configs),
    ]
    rows = [this.row(method) for method in methods]
    facts = {
        name: {"n_configs": len(this.sets[name]), "n_atoms": this.sets[name].n_atoms}
        for name in ("near", "far", "tuning")
    }
    text = markdown(rows, facts)
    folder = options.results / "uncertainty_methods"
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "results.json") as temporary:
        temporary.write_text(json.dumps({"sets": facts, "methods": rows}, indent=1) + "\n")
    with atomic_write(folder / "results.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
