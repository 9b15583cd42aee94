"""Import of models from other packages."""

from ekd.interop.hippynn import from_hippynn

__all__ = ["from_hippynn"]
