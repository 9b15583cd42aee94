"""Labels of an ensemble, and the student that learns from them."""

from ekd.distillation.labels import Labels, label
from ekd.distillation.student import distill

__all__ = ["Labels", "distill", "label"]
