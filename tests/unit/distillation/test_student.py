"""The student: trained on true energies and mean forces, resumable, with its teachers on record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ekd.config import (
    HIPNNConfig,
    SpreadConfig,
    StudentConfig,
    TrainingConfig,
    UncertaintyConfig,
)
from ekd.data import Dataset
from ekd.distillation import Labels, distill, distill_committee, label, load_students, perturb
from ekd.distillation.label_file import TeacherRecord
from ekd.errors import CheckpointError, ConfigError, DataError, TrainingError
from ekd.inference import ExportedModel, read_metadata
from ekd.training import Ensemble, TrainedModel
from streaming import streamed
from untrained import ensemble

MODEL = HIPNNConfig(n_features=6, n_sensitivities=5, n_atom_layers=1, cutoff=4.0, soft_max=3.0)
TRAINING = TrainingConfig(epochs=2, batch_size=8)


@pytest.fixture(scope="module")
def labels(small_dataset: Dataset) -> Labels:
    """Labels in the form of those of two teachers."""
    rng = np.random.default_rng(0)
    return Labels(
        energies=small_dataset.energies,
        energies_std=np.zeros(len(small_dataset)),
        member_energies=np.tile(small_dataset.energies[:, None], 2),
        forces=rng.normal(size=small_dataset.positions.shape),
        forces_std=np.zeros(small_dataset.n_atoms),
        data_fingerprint=small_dataset.fingerprint,
        teachers=tuple(TeacherRecord(name, name * 64, True) for name in "ab"),
    )


def test_student_knows_its_teachers(small_dataset: Dataset, labels: Labels, tmp_path: Path) -> None:
    student = distill(small_dataset, labels, MODEL, TRAINING, directory=tmp_path, progress=False)
    assert student.provenance["teachers"] == ["a" * 64, "b" * 64]
    assert student.provenance["n_validation"] == 4
    assert student.history[-1]["validation_force_rmse"] > 0
    again = distill(
        small_dataset, labels, MODEL, TRAINING, directory=tmp_path, resume=True, progress=False
    )
    assert again.sha256 == student.sha256


def test_student_that_diverged(small_dataset: Dataset, labels: Labels) -> None:
    away = TRAINING.model_copy(update={"learning_rate": 1e3, "optimizer": "adam"})
    with pytest.raises(TrainingError, match=r"student: the (training diverged|loss is)"):
        distill(small_dataset, labels, MODEL, away, progress=False)
    with pytest.raises(TrainingError, match=r"student 0: the (training diverged|loss is)"):
        distill_committee(small_dataset, labels, 1, MODEL, away, progress=False)


def test_resume_with_labels_of_other_teachers(
    small_dataset: Dataset, labels: Labels, tmp_path: Path
) -> None:
    distill(small_dataset, labels, MODEL, TRAINING, directory=tmp_path, progress=False)
    other = dataclasses.replace(labels, forces=labels.forces + 1, teachers=labels.teachers[:1])
    with pytest.raises(CheckpointError, match=r"(?s)labels_sha256.*provenance\.teachers"):
        distill(
            small_dataset, other, MODEL, TRAINING, directory=tmp_path, resume=True, progress=False
        )


def test_defaults_are_those_of_the_configuration(
    small_dataset: Dataset, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    monkeypatch.setattr(
        "ekd.distillation.student.train", lambda data, **settings: seen.update(settings)
    )
    distill(small_dataset, labels, progress=False)
    assert seen["training"] == StudentConfig().training
    assert seen["model"] == HIPNNConfig()
    assert seen["labels"] is labels.forces
    assert seen["weights"] is None


def extended(labels: Labels, extra: Dataset, energies: np.ndarray | None) -> Labels:
    """Labels that include extra configurations."""
    rng = np.random.default_rng(1)
    assert labels.energies is not None
    return dataclasses.replace(
        labels,
        energies=None if energies is None else np.concatenate([labels.energies, energies]),
        forces=np.concatenate([labels.forces, rng.normal(size=extra.positions.shape)]),
        forces_std=np.concatenate([labels.forces_std, np.ones(extra.n_atoms)]),
        extra=extra,
    )


def test_extra_configurations_teach_and_are_not_validated_on(
    small_dataset: Dataset, labels: Labels
) -> None:
    extra = perturb(small_dataset.subset([0, 5, 9]), 0.1)

    def student(energies: np.ndarray | None, **settings: object) -> TrainedModel:
        many = extended(labels, extra, energies)
        return distill(small_dataset, many, MODEL, TRAINING, progress=False, **settings)  # type: ignore[arg-type]

    told = small_dataset.energies[[0, 5, 9]]
    first = student(told)
    assert first.provenance["n_extra"] == 3
    assert first.provenance["n_training"] == 39 + 3
    assert first.provenance["n_validation"] == 4
    plain = distill(small_dataset, labels, MODEL, TRAINING, progress=False)
    energies = [model.model.reference_energies.tolist() for model in (first, plain)]
    assert energies[0] == energies[1]  # from true energies alone
    assert np.isfinite([record["energy_rmse"] for record in first.history]).all()
    # Without energies at the level of the data, or without their weight, only forces are learned.
    alone = student(None)
    assert alone.sha256 == student(told, extra_energy_weight=0.0).sha256
    assert len({alone.sha256, first.sha256, student(told + 1.0).sha256, plain.sha256}) == 4


def test_streamed_student_is_that_in_memory(small_dataset: Dataset, tmp_path: Path) -> None:
    """Bitwise equal with extra configurations; worker processes map streamed data again."""
    teachers, extra = ensemble(2), perturb(small_dataset.subset([0, 5, 9]), 0.1)
    spread = SpreadConfig(limit=0.5, above_limit="down-weight", scale=0.1)

    def labelled(data: Dataset, name: str) -> Labels:
        path = tmp_path / f"{name}.h5"
        return label(teachers, data, path, extra, chunk_size=20, n_workers=1, progress=False)

    in_memory = labelled(small_dataset, "memory")
    expected = distill(small_dataset, in_memory, MODEL, TRAINING, spread=spread, progress=False)
    data = streamed(small_dataset, tmp_path / "data.h5")
    labels = labelled(data, "streamed")
    assert isinstance(labels.forces, np.memmap)
    assert (tmp_path / "memory.h5").read_bytes() == (tmp_path / "streamed.h5").read_bytes()
    committee = distill_committee(
        data, labels, 2, MODEL, TRAINING, spread=spread, n_workers=2, progress=False
    )
    assert committee.members[0].sha256 == expected.sha256


def test_spread_decides_what_is_learned(
    small_dataset: Dataset, labels: Labels, tmp_path: Path
) -> None:
    spread = np.where(small_dataset.config_index < 10, 2.0, 0.1)
    uneven = dataclasses.replace(labels, forces_std=spread)

    def student(config: SpreadConfig | None, **settings: object) -> TrainedModel:
        return distill(  # type: ignore[misc]
            small_dataset, uneven, MODEL, TRAINING, spread=config, progress=False, **settings
        )

    dropped = student(SpreadConfig(limit=1.0, above_limit="drop"))
    assert dropped.provenance["n_above_limit"] == 10
    assert dropped.provenance["n_training"] < 39 - 5
    assert dropped.provenance["n_validation"] == 4
    configs = [
        None,
        SpreadConfig(limit=1.0),
        SpreadConfig(limit=1.0, above_limit="drop-forces"),
        SpreadConfig(scale=0.3),
    ]
    others = [student(config).sha256 for config in configs]
    assert len({dropped.sha256, *others}) == 5
    student(configs[1], directory=tmp_path)
    with pytest.raises(CheckpointError, match=r"provenance\.weights_sha256"):
        student(configs[3], directory=tmp_path, resume=True)


def test_committee_learns_the_same_as_a_student(small_dataset: Dataset, labels: Labels) -> None:
    """Extra configurations and weights reach the processes that train members."""
    extra = perturb(small_dataset.subset([0, 5, 9]), 0.1)
    many = extended(labels, extra, small_dataset.energies[[0, 5, 9]])
    settings = {
        "spread": SpreadConfig(limit=0.5, above_limit="down-weight", scale=0.3),
        "extra_energy_weight": 0.5,
        "extra_force_weight": 0.25,
    }
    committee = distill_committee(
        small_dataset, many, 2, MODEL, TRAINING, seed=5, progress=False, **settings
    )
    for seed, member in zip((5, 6), committee.members, strict=True):
        alone = distill(small_dataset, many, MODEL, TRAINING, seed=seed, progress=False, **settings)
        assert member.sha256 == alone.sha256
        assert member.provenance == alone.provenance
        assert member.provenance["n_extra"] == 3
        assert member.provenance["n_above_limit"] == 3
        assert "weights_sha256" in member.provenance


def test_forces_of_weight_zero_do_not_matter(small_dataset: Dataset, labels: Labels) -> None:
    above = small_dataset.config_index < 10
    uneven = dataclasses.replace(labels, forces_std=np.where(above, 2.0, 0.1))
    other = dataclasses.replace(uneven, forces=np.where(above[:, None], 1e3, labels.forces))
    config = SpreadConfig(limit=1.0, above_limit="drop-forces")
    students = [
        distill(small_dataset, each, MODEL, TRAINING, spread=config, progress=False)
        for each in (uneven, other)
    ]
    assert students[0].sha256 == students[1].sha256


@pytest.fixture(scope="module")
def run(small_dataset: Dataset, labels: Labels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder with two students in ``student/member-k``."""
    folder = tmp_path_factory.mktemp("run")
    distill_committee(
        small_dataset,
        labels,
        2,
        MODEL,
        TRAINING,
        seed=5,
        directory=folder / "student",
        progress=False,
    )
    return folder


@pytest.fixture
def committee(run: Path) -> Ensemble:
    """Two students."""
    return load_students(run)


def test_committee_is_several_students(
    small_dataset: Dataset, labels: Labels, committee: Ensemble, tmp_path: Path
) -> None:
    for seed, member in zip((5, 6), committee.members, strict=True):
        alone = distill(small_dataset, labels, MODEL, TRAINING, seed=seed, progress=False)
        assert member.sha256 == alone.sha256
        assert member.provenance == alone.provenance
    committee.export(tmp_path / "committee.pt")
    metadata = read_metadata(tmp_path / "committee.pt")
    assert [origin["seed"] for origin in metadata.provenance] == [5, 6]
    predicted = committee.predict(small_dataset)
    first = small_dataset.offsets[1]
    found = ExportedModel(tmp_path / "committee.pt").evaluate(
        small_dataset.atomic_numbers[:first], small_dataset.positions[:first]
    )
    np.testing.assert_allclose(found.forces, predicted.forces[:first], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.forces_std, predicted.forces_std[:first], rtol=0, atol=1e-9)


def test_errors_of_a_committee(small_dataset: Dataset, labels: Labels) -> None:
    with pytest.raises(ConfigError, match="n_members is 0; an ensemble needs at least 1"):
        distill_committee(small_dataset, labels, 0, MODEL, TRAINING, progress=False)


def test_members_of_other_architectures(
    small_dataset: Dataset, labels: Labels, committee: Ensemble, tmp_path: Path
) -> None:
    changed = MODEL.model_copy(update={"soft_max": 3.5})
    other = distill(small_dataset, labels, changed, TRAINING, progress=False)
    message = r"member 2 has soft_max = 3\.5 and member 0 has 3\.0; train them with the same"
    with pytest.raises(ConfigError, match=message):
        Ensemble([*committee.members, other]).export(tmp_path / "committee.pt")
    with pytest.raises(ConfigError, match="there is no network to export"):
        Ensemble([]).export(tmp_path / "committee.pt")
    assert not (tmp_path / "committee.pt").exists()


def test_students_are_found_where_a_run_leaves_them(
    small_dataset: Dataset, labels: Labels, committee: Ensemble, run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "single" / "student"
    single = distill(small_dataset, labels, MODEL, TRAINING, directory=folder, progress=False)

    def found(path: Path) -> list[str]:
        return [member.sha256 for member in load_students(path).members]

    both = [member.sha256 for member in committee.members]
    assert found(run) == found(run / "student") == both
    assert found(run / "student" / "member-1") == both[1:]
    assert found(folder.parent) == found(folder / "checkpoint.pt") == [single.sha256]
    with pytest.raises(CheckpointError, match=r"no student in .*name the output folder of"):
        load_students(tmp_path)
    single.export(tmp_path / "student.pt")
    with pytest.raises(CheckpointError, match=r"student\.pt' is an exported model, not a"):
        load_students(tmp_path / "student.pt")


# ---- uncertainty --------------------------------------------------------------------------------

QUICK = UncertaintyConfig(n_steps=20)


def test_uncertainty_is_learned_where_teachers_differ(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    """By default, the uncertainty of an exported file ranks atoms as labels of real networks do."""
    labels = label(ensemble(2), small_dataset, progress=False)
    student = distill(small_dataset, labels, MODEL, TRAINING, uncertainty=QUICK, progress=False)
    assert student.uncertainty_config == QUICK
    found = student.predict(small_dataset)
    assert found.uncertainty is not None
    student.export(tmp_path / "student.pt")
    assert read_metadata(tmp_path / "student.pt").uncertainty is True
    atoms = slice(0, small_dataset.offsets[1])
    told = ExportedModel(tmp_path / "student.pt").evaluate(
        small_dataset.atomic_numbers[atoms], small_dataset.positions[atoms]
    )
    np.testing.assert_allclose(told.uncertainty, found.uncertainty[atoms], rtol=1e-9)
    off = UncertaintyConfig(enabled=False)
    plain = distill(small_dataset, labels, MODEL, TRAINING, uncertainty=off, progress=False)
    assert plain.uncertainty_config is None
    np.testing.assert_array_equal(plain.predict(small_dataset).forces, found.forces)


@pytest.mark.parametrize("n_teachers", [1, 2])
def test_no_spread_no_uncertainty(small_dataset: Dataset, labels: Labels, n_teachers: int) -> None:
    """One teacher, or two that never differ."""
    few = dataclasses.replace(
        labels,
        teachers=labels.teachers[:n_teachers],
        member_energies=labels.member_energies[:, :n_teachers],
        forces_std=labels.forces_std + (n_teachers == 1),  # impossible for one teacher, and ignored
    )
    student = distill(small_dataset, few, MODEL, TRAINING, progress=False)
    assert student.uncertainty_config is None
    with pytest.raises(
        DataError, match=rf"the labels are of {n_teachers} teacher\(s\) that never disagree"
    ):
        distill(
            small_dataset,
            few,
            MODEL,
            TRAINING,
            uncertainty=UncertaintyConfig(enabled=True),
            progress=False,
        )


def test_uncertainty_learns_from_extra_and_dropped_configurations(
    small_dataset: Dataset, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    monkeypatch.setattr(
        "ekd.distillation.student.train", lambda data, **settings: seen.update(settings)
    )
    extra = perturb(small_dataset.subset([0, 5, 9]), 0.1)
    many = extended(labels, extra, None)
    many = dataclasses.replace(many, forces_std=many.forces_std + 1e-3)
    spread = SpreadConfig(limit=0.5, above_limit="drop")
    distill(small_dataset, many, MODEL, TRAINING, spread=spread, progress=False)
    n = len(small_dataset)
    assert seen["train_indices"].max() < n  # the teachers disagree by 1 eV/Å on the others
    assert set(range(n, n + 3)) <= set(seen["spread"].configs)
    assert not set(seen["spread"].configs) & set(seen["validation_indices"])
    assert len(seen["spread"].spread) == small_dataset.n_atoms + extra.n_atoms


def test_committee_of_uncertain_students(small_dataset: Dataset, tmp_path: Path) -> None:
    """Students trained in worker processes are the same as those trained alone."""
    labels = label(ensemble(2), small_dataset, progress=False)
    settings = {"uncertainty": QUICK, "progress": False}
    students = distill_committee(small_dataset, labels, 2, MODEL, TRAINING, **settings)  # type: ignore[arg-type]
    alone = distill(small_dataset, labels, MODEL, TRAINING, seed=1, **settings)  # type: ignore[arg-type]
    assert students.members[1].sha256 == alone.sha256
    predicted = students.predict(small_dataset)
    assert predicted.uncertainty is not None
    np.testing.assert_array_equal(
        predicted.uncertainty, np.mean([m.uncertainty for m in predicted.members], axis=0)
    )
    students.export(tmp_path / "committee.pt")
    assert read_metadata(tmp_path / "committee.pt").uncertainty is True


def test_student_has_the_reference_energies_of_the_data(
    small_dataset: Dataset, labels: Labels, tmp_path: Path
) -> None:
    atoms = {1: -13.6, 6: -1029.8, 7: -1485.3, 8: -2041.8}
    data = dataclasses.replace(small_dataset, reference_energies=atoms)
    student = distill(data, labels, MODEL, TRAINING, progress=False)
    student.export(tmp_path / "student.pt")
    metadata = read_metadata(tmp_path / "student.pt")
    named = {"H": -13.6, "C": -1029.8, "N": -1485.3, "O": -2041.8}
    assert metadata.energy_reference == named
    assert metadata.provenance[0]["reference_energies"] == named
