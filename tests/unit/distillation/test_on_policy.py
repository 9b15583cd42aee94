"""On-policy rounds: truncated dynamics, selection of frames, and training on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ekd.config import OnPolicyConfig, SpreadConfig, TrainingConfig, UncertaintyConfig
from ekd.data import Dataset
from ekd.distillation import (
    ASETeacher,
    Labels,
    distill,
    distill_committee,
    distill_on_policy,
    label,
    load_students,
    perturb,
    policy,
    rounds,
    student_frames,
)
from ekd.distillation.labelling import records_of
from ekd.distillation.langevin import End, snapshots_of
from ekd.distillation.policy import Policy
from ekd.distillation.student_frames import choose, most_frames
from ekd.distillation.student_task import StudentTask
from ekd.distillation.teachers import as_teachers
from ekd.errors import ConfigError, DataError
from ekd.training import Ensemble, TrainedModel
from ekd.training.predictions import Predictions
from streaming import streamed
from structures import single_atoms
from untrained import MODEL, ensemble, teacher

TRAINING = TrainingConfig(epochs=3, batch_size=8, force_weight=3.0)
HEAD = UncertaintyConfig(n_steps=20)
ROUNDS = OnPolicyConfig(
    n_rounds=2,
    n_trajectories=6,
    n_snapshots=3,
    interval=5e-3,
    timestep=1e-3,
    max_spread=50.0,
    ratio=0.25,
    epochs=2,
)


def fake(monkeypatch: pytest.MonkeyPatch, border: float, torn: float = np.inf) -> None:
    """Students that pull every atom to the origin, and two teachers that agree up to a limit."""

    def evaluate(models: list[object], data: Dataset) -> list[Predictions]:
        energies, forces = np.zeros(len(data)), -2.0 * data.positions
        if len(models) == 1:
            return [Predictions(energies, forces)]
        forces = np.where(np.abs(data.positions) > torn, 200.0, forces)
        far = np.linalg.norm(data.positions, axis=1, keepdims=True) > border
        return [Predictions(energies, forces + sign * 3.0 * far) for sign in (-1, 1)]

    monkeypatch.setattr(policy, "evaluate_models", evaluate)


def walk(folder: Path, n_configs: int, max_spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of frames, and ends of trajectories, at 400 K."""
    plan = {
        "n_snapshots": 8,
        "interval": 0.01,
        "temperature": 400.0,
        "timestep": 1e-3,
        "friction": 10.0,
        "chunk_size": n_configs,
        "seed": 3,
    }
    driver = Policy(ensemble(1), ensemble(2), max_spread)
    found = snapshots_of(driver, single_atoms(n_configs), plan, folder, False, 1, False)
    assert found.frames is not None
    return found.frames.positions, found.ends


def test_trajectories_are_cut_where_teachers_disagree(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Trajectories end at the first snapshot beyond the limit, and do not change before it."""
    fake(monkeypatch, border=0.25)
    n = 50
    whole, ends = walk(tmp_path / "whole", n, max_spread=100.0)
    assert not ends.any()
    whole = whole.reshape(8, n, 3)
    inside = np.linalg.norm(whole, axis=2) <= 0.25
    kept = np.logical_and.accumulate(inside, axis=0)
    assert n < kept.sum() < inside.sum()  # some trajectories return, but too late
    cut, ends = walk(tmp_path / "cut", n, max_spread=1.0)
    np.testing.assert_array_equal(cut, whole[kept])
    np.testing.assert_array_equal(ends == End.SPREAD, ~kept[-1])


def test_trajectories_are_cut_where_teachers_are_torn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake(monkeypatch, border=10.0, torn=0.2)
    found, ends = walk(tmp_path, 50, max_spread=1.0)
    assert np.abs(found).max() <= 0.2
    assert 0 < (ends == End.LARGE_FORCES).sum() < 50
    assert not (ends == End.SPREAD).any()


def test_choice_of_frames() -> None:
    errors = np.array([1.0, 3.0, 2.0, 3.0, 0.5])
    assert choose(errors, 1).tolist() == [1]
    assert choose(errors, 3).tolist() == [1, 2, 3]
    assert choose(errors, 9).tolist() == [0, 1, 2, 3, 4]
    assert choose(errors, 0).tolist() == []


@pytest.mark.parametrize(("n_others", "ratio"), [(40, 0.2), (39, 0.25), (100, 0.5), (7, 0.9)])
def test_ratio(n_others: int, ratio: float) -> None:
    n = most_frames(n_others, ratio)
    assert n / (n + n_others) <= ratio + 1e-12
    assert (n + 1) / (n + 1 + n_others) > ratio


@pytest.fixture(scope="module")
def teachers() -> Ensemble:
    return ensemble(2)


@pytest.fixture(scope="module")
def data(small_dataset: Dataset, teachers: Ensemble) -> Dataset:
    """Energies of the teachers, so that energies and forces are consistent."""
    return dataclasses.replace(small_dataset, energies=teachers.predict(small_dataset).energies)


@pytest.fixture(scope="module")
def labels(data: Dataset, teachers: Ensemble) -> Labels:
    return label(teachers, data, n_workers=1, progress=False)


@pytest.fixture(scope="module")
def student(data: Dataset, labels: Labels) -> TrainedModel:
    return distill(data, labels, MODEL, TRAINING, seed=7, uncertainty=HEAD, progress=False)


def improved(student: Any, teachers: Any, data: Dataset, labels: Labels, **changes: Any) -> Any:
    settings = {
        "on_policy": ROUNDS,
        "seed": 7,
        "n_workers": 1,
        "progress": False,
        "uncertainty": HEAD,
    }
    return distill_on_policy(student, teachers, data, labels, **(settings | changes))


@pytest.fixture(scope="module")
def whole(
    student: TrainedModel,
    teachers: Ensemble,
    data: Dataset,
    labels: Labels,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[TrainedModel, Path]:
    """Two rounds without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    return improved(student, teachers, data, labels, directory=folder), folder


def test_two_rounds(
    whole: tuple[TrainedModel, Path], student: TrainedModel, data: Dataset, teachers: Ensemble
) -> None:
    final, folder = whole
    assert load_students(folder).members[0].sha256 == final.sha256
    first = TrainedModel.load(folder / "rounds" / "1" / "checkpoint.pt")
    assert first.provenance["start"] == student.sha256
    assert final.provenance["start"] == first.sha256
    assert len(final.history) == 2
    np.testing.assert_array_equal(final.model.reference_energies, student.model.reference_energies)
    records = final.provenance["on_policy"]
    assert records[:1] == first.provenance["on_policy"]
    assert [record["n_trajectories"] for record in records] == [6, 6]
    assert records[0]["n_frames"] == records[1]["n_frames"] == 18
    assert [record["n_trained_on"] for record in records] == [13, 13]  # a quarter of 39 + 13
    assert final.provenance["n_training"] == 52
    assert final.provenance["n_validation"] == 4
    for number in (1, 2):
        made = Labels.load(folder / "rounds" / str(number) / "labels.h5")
        assert made.extra is not None
        expected = teachers.predict(made.extra)
        np.testing.assert_allclose(made.forces, expected.forces, atol=1e-10)
        record = records[number - 1]
        model = (first, final)[number - 1]
        error = np.linalg.norm(model.predict(made.extra).forces - made.forces, axis=1).mean()
        assert record["error_after"] == pytest.approx(error)


def test_frames_with_large_errors_are_preferred(
    whole: tuple[TrainedModel, Path],
    student: TrainedModel,
    data: Dataset,
    labels: Labels,
    teachers: Ensemble,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Labels.load(whole[1] / "rounds" / "1" / "labels.h5")
    assert made.extra is not None
    errors = student_frames.force_errors(student, made.extra, made.forces)
    seen: dict[str, Any] = {}

    def train(task: StudentTask, **settings: Any) -> TrainedModel:
        seen.update(vars(task), **settings)
        return student

    monkeypatch.setattr(rounds, "train_student", train)
    one = ROUNDS.model_copy(update={"n_rounds": 1})
    improved(student, teachers, data, labels, on_policy=one)
    rows = seen["train_indices"]
    chosen = rows[rows >= len(data)] - len(data)
    left = np.setdiff1d(np.arange(len(errors)), chosen)
    assert len(chosen) == 13
    assert errors[chosen].min() >= errors[left].max()
    assert (seen["training"].epochs, seen["training"].learning_rate) == (2, 1e-3)
    assert seen["training"].force_weight == 3.0
    assert seen["start"] is student


def test_student_is_better_where_it_goes(
    student: TrainedModel, teachers: Ensemble, data: Dataset, labels: Labels
) -> None:
    """The student is tested on new frames of its dynamics that it was not trained on."""
    one = ROUNDS.model_copy(update={"n_rounds": 1, "epochs": 15, "learning_rate": 5e-3})
    better = improved(student, teachers, data, labels, on_policy=one)
    record = better.provenance["on_policy"][0]
    assert record["error_after"] < 0.7 * record["error_before"]


class KilledError(Exception):
    """Raised in place of a kill."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("moment", range(1, 24, 3))
def test_resume(
    moment: int,
    after: bool,
    whole: tuple[TrainedModel, Path],
    student: TrainedModel,
    teachers: Ensemble,
    data: Dataset,
    labels: Labels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interruptions before or after a file is renamed do not change the result bitwise."""
    replace, count = Path.replace, iter(range(1000))

    def stopping(path: Path, target: Path) -> Path:
        is_now = next(count) == moment
        if is_now and not after:
            raise KilledError
        result = replace(path, target)
        if is_now:
            raise KilledError
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stopping)
        with pytest.raises(KilledError):
            improved(student, teachers, data, labels, directory=tmp_path, resume=True)
    for _ in range(2):  # the second time, everything is complete
        again = improved(student, teachers, data, labels, directory=tmp_path, resume=True)
        assert again.sha256 == whole[0].sha256
        assert again.provenance == whole[0].provenance
        assert load_students(tmp_path).members[0].provenance == again.provenance
    names = [path.relative_to(whole[1]) for path in whole[1].rglob("*.h5")]
    assert len(names) == 2
    for name in names:
        assert (tmp_path / name).read_bytes() == (whole[1] / name).read_bytes()


def test_resume_of_something_else(
    whole: tuple[TrainedModel, Path],
    student: TrainedModel,
    teachers: Ensemble,
    data: Dataset,
    labels: Labels,
) -> None:
    other = ROUNDS.model_copy(update={"temperature": 700.0})
    with pytest.raises(DataError, match=r"temperature: 600\.0 there, 700\.0 now"):
        improved(student, teachers, data, labels, on_policy=other, directory=whole[1], resume=True)


def test_committee(teachers: Ensemble, data: Dataset, labels: Labels, tmp_path: Path) -> None:
    """Members continue from their own weights; labels may have extra configurations."""
    extra = perturb(data.subset(range(5)), 0.05)
    many = labels.with_extra(label(teachers, None, extra=extra, n_workers=1, progress=False))
    students = distill_committee(
        data, many, 2, MODEL, TRAINING, seed=7, n_workers=1, uncertainty=HEAD, progress=False
    )
    one = ROUNDS.model_copy(update={"n_rounds": 1})
    better = improved(students, teachers, data, many, on_policy=one, directory=tmp_path)
    assert [m.sha256 for m in load_students(tmp_path).members] == [m.sha256 for m in better.members]
    for before, after in zip(students.members, better.members, strict=True):
        assert after.provenance["start"] == before.sha256
        assert after.provenance["seed"] == before.provenance["seed"]
        assert after.provenance["n_extra"] == 5
        assert after.provenance["n_on_policy"] == 14  # a quarter of 39 + 5 + 14
    assert better.members[0].provenance["on_policy"] == better.members[1].provenance["on_policy"]


def test_streamed_rounds_are_those_in_memory(
    small_dataset: Dataset, teachers: Ensemble, tmp_path: Path
) -> None:
    """Results are bitwise equal; per-atom labels stay on disk, in several files."""
    trust = SpreadConfig(limit=0.5, above_limit="down-weight", scale=0.1)

    def rounds(data: Dataset, name: str) -> TrainedModel:
        made = label(teachers, data, tmp_path / f"{name}.h5", n_workers=1, progress=False)
        first = distill(data, made, MODEL, TRAINING, spread=trust, uncertainty=HEAD, progress=False)
        found: TrainedModel = improved(first, teachers, data, made, spread=trust)
        return found

    expected = rounds(small_dataset, "memory")
    found = rounds(streamed(small_dataset, tmp_path / "data.h5"), "streamed")
    assert found.sha256 == expected.sha256
    assert found.provenance["on_policy"] == expected.provenance["on_policy"]


@pytest.mark.parametrize("reason", ["dynamics", "spread"])
def test_round_without_frames(
    reason: str,
    student: TrainedModel,
    teachers: Ensemble,
    data: Dataset,
    labels: Labels,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The student does not change, and is stored in the usual place."""
    changes: dict[str, Any] = {}
    if reason == "dynamics":
        changes["on_policy"] = ROUNDS.model_copy(update={"max_spread": 1e-9})
    else:
        labels = dataclasses.replace(labels, forces_std=np.zeros(data.n_atoms))
        changes["spread"] = SpreadConfig(limit=1e-9, above_limit="drop")
    found = improved(student, teachers, data, labels, directory=tmp_path, progress=True, **changes)
    assert found.sha256 == student.sha256
    left = load_students(tmp_path).members[0]
    assert left.provenance == found.provenance
    assert (tmp_path / "history.csv").exists()
    record = found.provenance["on_policy"][-1]
    said = capsys.readouterr().err
    assert record["n_trained_on"] == 0
    assert "the student is unchanged" in said
    if reason == "dynamics":
        assert record["n_cut_by_spread"] == 6
        assert "cut where teachers disagree 6" in said
    else:
        assert record["n_frames"] == 18
        assert "all above student.spread.limit" in said


def test_what_a_round_came_to_is_shown(
    student: TrainedModel,
    teachers: Ensemble,
    data: Dataset,
    labels: Labels,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = ROUNDS.model_copy(update={"n_rounds": 1})
    improved(student, teachers, data, labels, on_policy=one, progress=True)
    said = capsys.readouterr().err
    assert "round 1, trajectories: 6/6" in said
    assert "round 1: 6 trajectories, cut where teachers disagree 0, atoms are too close 0" in said
    assert "18 frames, 13 trained on; |F student - F teachers| on the new ones" in said


def test_too_few_networks(student: TrainedModel, data: Dataset, labels: Labels) -> None:
    foreign = [ASETeacher("ase.calculators.emt:EMT"), teacher(0)]
    labels = dataclasses.replace(labels, teachers=records_of(as_teachers(foreign)))
    with pytest.raises(ConfigError, match=r"1 of 2 teachers are networks of ekd.*need two"):
        improved(student, foreign, data, labels)


def test_other_mistakes(
    student: TrainedModel, teachers: Ensemble, data: Dataset, labels: Labels, small_dataset: Dataset
) -> None:
    with pytest.raises(ConfigError, match="n_rounds is 0; at least 1 round"):
        improved(student, teachers, data, labels, on_policy=OnPolicyConfig())
    few = ROUNDS.model_copy(update={"ratio": 0.01})
    with pytest.raises(ConfigError, match=r"ratio = 0\.01 with 39 configurations is less than"):
        improved(student, teachers, data, labels, on_policy=few)
    with pytest.raises(DataError, match="the labels were made for other data"):
        improved(student, teachers, small_dataset, labels)
    with pytest.raises(DataError, match=r"made by teacher 0 .*, and not by teacher 0"):
        improved(student, Ensemble([teacher(5), teacher(6)]), data, labels)
