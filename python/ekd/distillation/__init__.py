"""Labels of teachers, and the student that learns from them."""

from ekd.distillation.extra import perturb, read_structures, sample_md
from ekd.distillation.labelling import label
from ekd.distillation.labels import Labels
from ekd.distillation.student import distill
from ekd.distillation.teachers import ASETeacher, MemberTeacher

__all__ = [
    "ASETeacher",
    "Labels",
    "MemberTeacher",
    "distill",
    "label",
    "perturb",
    "read_structures",
    "sample_md",
]
