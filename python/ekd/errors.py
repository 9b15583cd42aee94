"""Errors that a user can cause. Each message says what was found, expected, and what to do.

Every error has a code, such as ``EKD-DATA-001``, in brackets after its message. The causes and
cures are in :mod:`ekd.error_catalogue`. The command line prints the message and exits with status
1; a traceback means a bug in ekd.
"""

from __future__ import annotations

import re
from typing import Self

_OPTIONS = {
    "resume=True": "--resume",
    "resume=False": "--overwrite",
    "gradients=True": "--gradients",
    "states='neutral'": "--states neutral",
    "states='all'": "--states all",
}
_CODE = re.compile(r" \[(EKD-[A-Z]+-\d{3})\]")


def find_code(text: str) -> str | None:
    """Return the last code in a text, such as the log of a program; None if there is none."""
    found: list[str] = _CODE.findall(text)
    return found[-1] if found else None


def printable(text: str) -> str:
    """Replace control characters, which names in damaged files may contain."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


class EKDError(Exception):
    """Base class of all errors that ekd raises on purpose.

    ``str(error)`` is the message, followed by the code in brackets. The code is therefore preserved
    when errors are passed as text, from C++ and between processes.

    Args:
        message: what was found, what was expected and what to do. Codes in it, e.g. of quoted
            errors, are removed, and control characters are replaced.
        code: code in :mod:`ekd.error_catalogue`; None: the last code in the message, if any.

    Attributes:
        message: the text without the code.
        code: code in :mod:`ekd.error_catalogue`; None if the error was raised without one.
    """

    def __init__(self, message: object = "", *, code: str | None = None) -> None:
        self.code = code or find_code(str(message))
        self.message = printable(_CODE.sub("", str(message)))
        super().__init__(f"{self.message} [{self.code}]" if self.code else self.message)

    def within(self, place: str) -> Self:
        """Return the same error with the place where it happened before its message."""
        return type(self)(f"{place}: {self.message}", code=self.code)

    @property
    def for_command_line(self) -> str:
        """The text, with Python arguments replaced by the command line options."""
        text = str(self)
        for argument, option in _OPTIONS.items():
            text = text.replace(argument, option)
        return text


class BuildError(EKDError, ImportError):
    """The native libraries are missing, or were built for another torch or LAMMPS."""


class MissingPackageError(EKDError, ImportError):
    """A Python package is missing that is needed for training but not for running a student."""


class ConfigError(EKDError):
    """A configuration file has an unknown key, a wrong type or an impossible value."""


class DataError(EKDError):
    """A dataset or label file is missing, damaged, or lacks requested quantities."""


class DataWarning(UserWarning):
    """Data can be read, but may not be what was intended."""


class StructureError(EKDError):
    """A structure cannot be evaluated: no atoms, atoms on top of each other, unknown element."""


class CheckpointError(EKDError):
    """A checkpoint is missing, damaged, or belongs to another configuration."""


class ModelFileError(EKDError):
    """A file is not an exported model, is damaged, or comes from a newer format."""


class LammpsError(EKDError):
    """LAMMPS is not installed, or a LAMMPS run that ekd started has failed."""


class DynamicsError(LammpsError):
    """A LAMMPS run started but failed before its end, usually because of wrong forces.

    Args:
        reason: error message of LAMMPS, on one line.
        where: log and screen output of the run.
        code: as for :class:`EKDError`.
    """

    def __init__(self, reason: str, where: str = "", *, code: str | None = None) -> None:
        super().__init__(f"{reason}\n{where}" if where else reason, code=code)
        self.reason = reason


class TrainingError(EKDError):
    """A training diverged, or a worker process was lost."""


class HippynnError(EKDError):
    """hippynn is not installed, or one of its models cannot be read or represented."""


class TeacherError(EKDError):
    """A teacher cannot be loaded, fails on a structure, or its worker process was lost."""


class ExtrapolationWarning(RuntimeWarning):
    """Atoms are closer to each other than in the training data of the model."""
