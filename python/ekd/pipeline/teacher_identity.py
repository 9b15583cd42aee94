"""Identification of the teachers and structures in a configuration."""

from __future__ import annotations

import os
from typing import Any

from ekd.config import LabelsConfig, TeacherConfig
from ekd.errors import TeacherError
from ekd.files import sha256


def identify(labels: LabelsConfig) -> dict[str, Any]:
    """Return settings with checksums of files instead of their paths.

    Raises:
        TeacherError: a file is missing.
    """

    def contents(path: str | os.PathLike[str]) -> str:
        try:
            return sha256(path)
        except OSError as error:
            raise TeacherError(
                f"'{path}', given in [labels], cannot be read: {error.strerror}; check the path",
                code="EKD-TEACHER-006",
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
