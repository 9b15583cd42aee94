"""Checks before the first stage for problems that would otherwise stop a run hours later."""

from __future__ import annotations

from ekd.distillation import read_structures
from ekd.elements import symbol
from ekd.errors import DataError
from ekd.lammps.run import installed_program
from ekd.lammps.structures import molecule
from ekd.pipeline import bases
from ekd.pipeline.workspace import Workspace
from ekd.training.tensorboard import require_tensorboard


def check_test_sets(work: Workspace) -> None:
    """Refuse test sets with elements that the training set lacks.

    Raises:
        DataError: there are such elements.
    """
    for name, data in work.test_sets().items():
        unknown = set(data.elements) - set(work.data.elements)
        if unknown:
            raise DataError(
                f"the {name} set has {', '.join(map(symbol, sorted(unknown)))}, which the "
                "training set lacks; the teachers cannot learn them",
                code="EKD-DATA-062",
            )


def check_bases(work: Workspace) -> None:
    """Check that bases can be trained and used as starting points.

    Raises:
        EKDError: as :func:`ekd.pipeline.bases.check`.
    """
    bases.check(work.config, work.data, work.base_data)


def check_tensorboard(work: Workspace) -> None:
    """Check that TensorBoard is installed if it is requested.

    Raises:
        EKDError: it is not.
    """
    if work.config.tensorboard:
        require_tensorboard()


def check_teachers(work: Workspace) -> None:
    """Check that all teachers and structures of [labels] exist and support the elements.

    Raises:
        DataError: a structure has an element that the training set lacks.
        TeacherError: a teacher cannot be used.
    """
    elements = set(work.data.elements)
    for path in work.config.labels.structures:
        unknown = set(read_structures(path).elements) - elements
        if unknown:
            raise DataError(
                f"'{path}' has {', '.join(map(symbol, sorted(unknown)))}, which the training "
                "set lacks; the student could not learn them",
                code="EKD-DATA-062",
            )
    for teacher in work.other_teachers:
        teacher.check(sorted(elements))


def check_lammps(work: Workspace) -> None:
    """Check that LAMMPS starts, and that the molecule exists in ASE.

    Raises:
        EKDError: either check fails.
    """
    installed_program().command(work.config.lammps.mpi_ranks)
    molecule(work.config.lammps.nve.molecule)
