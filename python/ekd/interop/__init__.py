"""Models of other packages as ekd's own."""

from ekd.interop.hippynn import from_hippynn

__all__ = ["from_hippynn"]
