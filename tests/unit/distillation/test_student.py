"""The student: trained on true energies and mean forces, resumable, with its teachers on record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ekd.config import HIPNNConfig, StudentConfig, TrainingConfig
from ekd.data import Dataset
from ekd.distillation import Labels, distill, distill_committee, load_students
from ekd.errors import CheckpointError, ConfigError
from ekd.inference import ExportedModel, read_metadata
from ekd.training import Ensemble

MODEL = HIPNNConfig(n_features=6, n_sensitivities=5, n_atom_layers=1, cutoff=4.0, soft_max=3.0)
TRAINING = TrainingConfig(epochs=2, batch_size=8)


@pytest.fixture
def labels(small_dataset: Dataset) -> Labels:
    """As if from two teachers."""
    rng = np.random.default_rng(0)
    return Labels(
        energies=small_dataset.energies,
        energies_std=np.zeros(len(small_dataset)),
        forces=rng.normal(size=small_dataset.positions.shape),
        forces_std=np.zeros(small_dataset.n_atoms),
        data_fingerprint=small_dataset.fingerprint,
        teacher_sha256=("a" * 64, "b" * 64),
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


def test_resume_with_labels_of_other_teachers(
    small_dataset: Dataset, labels: Labels, tmp_path: Path
) -> None:
    distill(small_dataset, labels, MODEL, TRAINING, directory=tmp_path, progress=False)
    other = dataclasses.replace(labels, forces=labels.forces + 1, teacher_sha256=("c" * 64,))
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


@pytest.fixture
def committee(small_dataset: Dataset, labels: Labels, tmp_path: Path) -> Ensemble:
    """Two students, in ``run/student/member-k``."""
    return distill_committee(
        small_dataset,
        labels,
        2,
        MODEL,
        TRAINING,
        seed=5,
        directory=tmp_path / "run" / "student",
        progress=False,
    )


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
    small_dataset: Dataset, labels: Labels, committee: Ensemble, tmp_path: Path
) -> None:
    folder = tmp_path / "single" / "student"
    single = distill(small_dataset, labels, MODEL, TRAINING, directory=folder, progress=False)

    def found(*parts: str) -> list[str]:
        return [member.sha256 for member in load_students(tmp_path.joinpath(*parts)).members]

    both = [member.sha256 for member in committee.members]
    assert found("run") == found("run", "student") == both
    assert found("run", "student", "member-1") == both[1:]
    assert found("single") == found("single", "student", "checkpoint.pt") == [single.sha256]
    with pytest.raises(CheckpointError, match=r"no student in .*name the output folder of"):
        load_students(tmp_path)
    single.export(tmp_path / "student.pt")
    with pytest.raises(CheckpointError, match=r"student\.pt' is an exported model, which cannot"):
        load_students(tmp_path / "student.pt")
