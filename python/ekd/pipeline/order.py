"""The stages in their order: what each needs, leaves and depends on."""

from __future__ import annotations

STAGES = ("pool", "pretrain", "train", "label", "distill", "evaluate", "export", "lammps", "report")

_MODELS = ("pool", "pretrain", "train", "label", "distill")

NEEDS: dict[str, tuple[str, ...]] = {
    "pool": (),
    "pretrain": ("pool",),
    "train": ("pool", "pretrain"),
    "label": ("pool", "pretrain", "train"),
    "distill": ("pool", "pretrain", "train", "label"),
    "evaluate": _MODELS,
    "export": _MODELS,
    "lammps": (*_MODELS, "export"),
    "report": (*_MODELS, "evaluate"),
}
"""Stages that must be complete before; the report shows LAMMPS runs too if there are any. Bases and
teachers need the pool only where the bases learn from it."""

OPTIONAL: dict[str, str] = {"pool": "pool", "pretrain": "pretraining"}
"""Stages that are done only where the configuration has a section, and that section."""

LEAVES: dict[str, tuple[str, ...]] = {
    "pool": ("pool.h5",),
    "pretrain": ("bases",),
    "train": ("teachers",),
    "label": ("labels.h5",),
    "distill": ("student",),
    "evaluate": ("evaluation",),
    "export": ("student.pt",),
    "lammps": ("lammps",),
    "report": (),  # made anew from the others whenever asked for
}
"""What a stage writes into the output folder, and what is removed when it is done again."""

SHOWS: dict[str, tuple[str, ...]] = {
    "pool": ("pool.json", "pool.png"),
    "report": ("report.html", "summary.json", "plots"),
}
"""What a stage writes beside that for people, and replaces without being asked."""

UNFINISHED: dict[str, tuple[str, ...]] = {
    "pool": ("pool.h5.parts", "pool.png", "pool.json"),
    "label": ("labels.h5.parts", "snapshots.parts"),
}
"""What a stage leaves beside that when it is interrupted, and continues from."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "pool": ("seed", "data", "pool"),
    "pretrain": ("seed", "data", "model", "pretraining"),
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


def needed_sections(stage: str) -> set[str]:
    """Sections of the configuration that the result of a stage depends on."""
    return {name for one in (*NEEDS[stage], stage) for name in SECTIONS[one]}


def verb(stage: str) -> str:
    """The verb of ``ekd`` for a stage: ``ekd lammps`` is about the pair style itself."""
    return "md" if stage == "lammps" else stage
