"""Errors a user can cause. Each message says what was found, what was expected and what to do.

The command line prints the message alone and exits with status 1; a traceback means a bug in ekd.
"""

from __future__ import annotations

_OPTIONS = {"resume=True": "--resume", "resume=False": "--overwrite"}


class EKDError(Exception):
    """Base of every error that ekd raises on purpose."""

    @property
    def for_command_line(self) -> str:
        """The message with options in the place of the arguments that Python knows them by."""
        message = str(self)
        for argument, option in _OPTIONS.items():
            message = message.replace(argument, option)
        return message


class BuildError(EKDError, ImportError):
    """The native libraries are missing, or were built for another torch or LAMMPS."""


class MissingPackageError(EKDError, ImportError):
    """A Python package is not installed that training needs, and running a student does not."""


class ConfigError(EKDError):
    """A configuration file has an unknown key, a wrong type or an impossible value."""


class DataError(EKDError):
    """A dataset or label file is missing, damaged, or lacks what was asked of it."""


class StructureError(EKDError):
    """A structure cannot be evaluated: no atoms, atoms on top of each other, unknown element."""


class CheckpointError(EKDError):
    """A checkpoint is missing, damaged, or belongs to another configuration."""


class ModelFileError(EKDError):
    """A file is not an exported model, is damaged, or comes from a newer format."""


class LammpsError(EKDError):
    """LAMMPS is not installed, or a LAMMPS run that ekd started has failed."""


class DynamicsError(LammpsError):
    """A LAMMPS run began, and broke off before its end: its forces do not hold the system together.

    Args:
        reason: what LAMMPS says, on one line.
        where: log and screen of the run.
    """

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(f"{reason}\n{where}" if where else reason)
        self.reason = reason


class TrainingError(EKDError):
    """A training diverged, or the process of a teacher was lost."""


class HippynnError(EKDError):
    """hippynn is not installed, or one of its models cannot be read or represented."""


class TeacherError(EKDError):
    """A teacher cannot be loaded, or fails on a structure, or its process was lost."""


class ExtrapolationWarning(RuntimeWarning):
    """Atoms are closer to each other than in the training data of the model."""
