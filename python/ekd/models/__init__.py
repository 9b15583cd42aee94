"""Network architectures."""

from ekd.models.hipnn import HIPNN

__all__ = ["HIPNN"]
