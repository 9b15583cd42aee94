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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import ekd
from ekd.config import UncertaintyConfig
from ekd.data import Dataset, split
from ekd.data.combine import concatenate
from ekd.files import atomic_write
from ekd.training.uncertainty import SpreadLesson, expected_error, fit_uncertainty
from last_layer import Array, LastLayer, head_on, quadratic, with_ridge
from method_cost import N_SAMPLED, WaterCost
from study import HERE

RIDGES = (1e-6, 1e-4, 1e-2, 1.0)
"""Of the matrices of the last layer, times their mean diagonal element."""


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
        self.box = WaterCost(self.student)

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
            return [head_on(network, self.sets[which]) for network in networks]

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
            inverse: Array = np.linalg.inv(with_ridge(matrix, ridge)).astype(np.float64)
            energies = np.sqrt(quadratic(known["validation"][0], inverse))
            alpha = np.sqrt(np.mean((self.energy_error / energies) ** 2))  # most likely one

            def tells(which: str) -> list[Array]:
                _, forces, atoms = known[which]
                variance = (
                    quadratic(forces, inverse).mean(1) if of_forces else quadratic(atoms, inverse)
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
            weights = np.linalg.solve(with_ridge(matrix, ridge), sides.T)

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
