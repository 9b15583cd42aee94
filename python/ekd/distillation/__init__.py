"""Labels of an ensemble, and the student, or students, that learn from them."""

from ekd.distillation.labels import Labels, label
from ekd.distillation.student import distill, distill_committee, load_students

__all__ = ["Labels", "distill", "distill_committee", "label", "load_students"]
