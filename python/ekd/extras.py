"""Packages that only training needs, and what is said where they are not installed."""

from __future__ import annotations

from ekd.errors import MissingPackageError

_OF_TRAINING = ("torch", "scipy", "h5py", "pydantic", "matplotlib", "jinja2", "tomli_w")
"""Those of the extra ``train`` in pyproject.toml, as they are imported."""


def explained(error: ModuleNotFoundError) -> MissingPackageError | None:
    """Return an error that says what to install; None: the package is none of those."""
    name = (error.name or "").partition(".")[0]
    if name not in _OF_TRAINING:
        return None
    return MissingPackageError(
        f"this needs the Python package '{name}', which is not installed; install what training, "
        "distillation and evaluation need with \"pip install 'ekd[train]'\"",
        code="EKD-BUILD-019",
    )
