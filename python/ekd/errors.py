"""Errors a user can cause. Each message says what was found, what was expected and what to do.

Every error has a code, such as ``EKD-DATA-001``, which stands in brackets behind its message;
:mod:`ekd.error_catalogue` has the cause and the cure of each. The command line prints the message
and exits with status 1; a traceback means a bug in ekd.
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
    """The last code in a text, such as the log of a program; None if there is none."""
    found: list[str] = _CODE.findall(text)
    return found[-1] if found else None


def printable(text: str) -> str:
    """Text that any terminal may show: a damaged file may hold control characters as names."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


class EKDError(Exception):
    """Base of every error that ekd raises on purpose.

    The text of an error, ``str(error)``, is its message and behind it its code in brackets. So the
    code survives wherever an error travels as text: out of C++, and from process to process.

    Args:
        message: what was found, what was expected and what to do. Codes in it, of other errors that
            it quotes, are taken out. It is shown as :func:`printable` text.
        code: of :mod:`ekd.error_catalogue`; None: the last one in the message, if there is one.

    Attributes:
        message: the text without the code.
        code: of :mod:`ekd.error_catalogue`; None if the error was raised without one.
    """

    def __init__(self, message: object = "", *, code: str | None = None) -> None:
        self.code = code or find_code(str(message))
        self.message = printable(_CODE.sub("", str(message)))
        super().__init__(f"{self.message} [{self.code}]" if self.code else self.message)

    def within(self, place: str) -> Self:
        """The same error, whose message begins with the place where it happened."""
        return type(self)(f"{place}: {self.message}", code=self.code)

    @property
    def for_command_line(self) -> str:
        """The text with options in the place of the arguments that Python knows them by."""
        text = str(self)
        for argument, option in _OPTIONS.items():
            text = text.replace(argument, option)
        return text


class BuildError(EKDError, ImportError):
    """The native libraries are missing, or were built for another torch or LAMMPS."""


class MissingPackageError(EKDError, ImportError):
    """A Python package is not installed that training needs, and running a student does not."""


class ConfigError(EKDError):
    """A configuration file has an unknown key, a wrong type or an impossible value."""


class DataError(EKDError):
    """A dataset or label file is missing, damaged, or lacks what was asked of it."""


class DataWarning(UserWarning):
    """Data that can be read, and may not be what is meant."""


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
        code: as for :class:`EKDError`.
    """

    def __init__(self, reason: str, where: str = "", *, code: str | None = None) -> None:
        super().__init__(f"{reason}\n{where}" if where else reason, code=code)
        self.reason = reason


class TrainingError(EKDError):
    """A training diverged, or the process of a teacher was lost."""


class HippynnError(EKDError):
    """hippynn is not installed, or one of its models cannot be read or represented."""


class TeacherError(EKDError):
    """A teacher cannot be loaded, or fails on a structure, or its process was lost."""


class ExtrapolationWarning(RuntimeWarning):
    """Atoms are closer to each other than in the training data of the model."""
