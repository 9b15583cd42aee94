"""Labeling with teachers, and training of students on the labels."""

from ekd.distillation.extra import perturb, read_structures, sample_md
from ekd.distillation.labelling import label
from ekd.distillation.labels import Labels
from ekd.distillation.on_policy import distill_on_policy
from ekd.distillation.student import distill, distill_committee, load_students
from ekd.distillation.teachers import ASETeacher, MemberTeacher

__all__ = [
    "ASETeacher",
    "Labels",
    "MemberTeacher",
    "distill",
    "distill_committee",
    "distill_on_policy",
    "label",
    "load_students",
    "perturb",
    "read_structures",
    "sample_md",
]
