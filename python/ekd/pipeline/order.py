"""The stages in their order: what each needs, leaves and depends on."""

from __future__ import annotations

STAGES = ("train", "label", "distill", "evaluate", "export", "lammps", "report")

NEEDS: dict[str, tuple[str, ...]] = {
    "train": (),
    "label": ("train",),
    "distill": ("train", "label"),
    "evaluate": ("train", "label", "distill"),
    "export": ("train", "label", "distill"),
    "lammps": ("train", "label", "distill", "export"),
    "report": ("train", "label", "distill", "evaluate"),
}
"""Stages that must be complete before; the report shows LAMMPS runs too if there are any."""

LEAVES: dict[str, tuple[str, ...]] = {
    "train": ("teachers",),
    "label": ("labels.h5",),
    "distill": ("student",),
    "evaluate": ("evaluation",),
    "export": ("student.pt",),
    "lammps": ("lammps",),
    "report": (),  # made anew from the others whenever asked for
}
"""What a stage writes into the output folder, and what is removed when it is done again."""

UNFINISHED: dict[str, tuple[str, ...]] = {
    "label": ("labels.h5.parts", "snapshots.parts"),
}
"""What a stage leaves beside that when it is interrupted, and continues from."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "train": ("seed", "data", "model", "teachers"),
    "label": ("labels",),
    "distill": ("student",),
    "evaluate": ("test", "far"),
    "export": ("export",),
    "lammps": ("lammps",),
    "report": (),
}
"""Sections of the configuration that a stage reads. Its result depends on these and on those of the
stages it needs."""
