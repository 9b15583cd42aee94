"""Teachers that a configuration names beside those that are trained."""

from __future__ import annotations

import os
from typing import Any

from ekd.config import LabelsConfig, TeacherConfig
from ekd.distillation import ASETeacher, MemberTeacher
from ekd.errors import TeacherError
from ekd.files import sha256
from ekd.training import TrainedModel


def build(section: TeacherConfig) -> MemberTeacher | ASETeacher:
    """Make the teacher that a section describes; its calculator is not made yet.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or unfinished.
    """
    if section.checkpoint is not None:
        return MemberTeacher(
            TrainedModel.load(section.checkpoint),
            use_energies=section.use_energies is not False,
            name=section.name or section.checkpoint.name,
        )
    assert section.calculator is not None  # the section has seen to it
    return ASETeacher(
        section.calculator,
        section.arguments,
        section.files,
        elements=section.elements,
        use_energies=section.use_energies is True,
        folder=section.folder,
        label=section.name or "",
    )


def identify(labels: LabelsConfig) -> dict[str, Any]:
    """Settings with the contents of files in the place of their paths.

    Raises:
        TeacherError: a file is missing.
    """

    def contents(path: str | os.PathLike[str]) -> str:
        try:
            return sha256(path)
        except OSError as error:
            raise TeacherError(
                f"'{path}', which [labels] names, cannot be read: {error.strerror}; check the path"
            ) from None

    def teacher(section: TeacherConfig) -> dict[str, Any]:
        values = section.model_dump(mode="json", exclude={"folder"}, exclude_none=True)
        values["files"] = {key: contents(path) for key, path in section.files.items()}
        if section.checkpoint is not None:
            values["checkpoint"] = contents(section.checkpoint)
        return values

    return {
        "teachers": [teacher(section) for section in labels.teachers],
        "structures": [contents(path) for path in labels.structures],
    }
