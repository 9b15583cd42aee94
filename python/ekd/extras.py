"""Packages needed only for training, and the error if they are not installed."""

from __future__ import annotations

from ekd.errors import MissingPackageError

_OF_TRAINING = ("torch", "scipy", "h5py", "pydantic", "matplotlib", "jinja2", "tomli_w")
"""Import names of the packages of the extra ``train`` in pyproject.toml."""


def explained(error: ModuleNotFoundError) -> MissingPackageError | None:
    """Return an error that says what to install; None if the package is not one of these."""
    name = (error.name or "").partition(".")[0]
    if name not in _OF_TRAINING:
        return None
    return MissingPackageError(
        f"this needs the Python package '{name}', which is not installed; install the packages for "
        "training, distillation and evaluation with \"pip install 'ekd[train]'\"",
        code="EKD-BUILD-019",
    )
