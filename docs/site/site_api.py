"""The Python reference of the site: pages of directives that mkdocstrings turns into text.

Docstrings are read, not imported, so that neither torch nor a compiled ekd is needed.
"""

from __future__ import annotations

import ekd

PAGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "data": (
        "Data",
        "Reading energies and forces, preparing files, and pools of cheap calculations. The manual "
        "is in [data](../data.md) and [pools](../pool.md).",
        ("load_dataset", "Dataset", "prepare_dataset", "read_structures", "build_pool", "Pool"),
    ),
    "training": (
        "Training",
        "Bases, teachers, and networks of other packages. The manual is in "
        "[training](../training.md), [pretraining](../pretraining.md) and "
        "[models of hippynn](../hippynn.md).",
        (
            "train_ensemble", "pretrain", "Ensemble", "load_ensemble", "TrainedModel",
            "from_hippynn",
        ),
    ),
    "distillation": (
        "Labels and distillation",
        "What teachers say about structures, and students that learn from it. The manual is in "
        "[labels](../labels.md).",
        (
            "label", "Labels", "ASETeacher", "MemberTeacher", "perturb", "sample_md", "distill",
            "distill_committee", "distill_on_policy", "load_students",
        ),
    ),
    "evaluation": (
        "Evaluation",
        "Errors of models of any kind, and how long they survive in molecular dynamics. The manual "
        "is in [evaluation](../evaluation.md).",
        (
            "evaluate", "write_evaluation", "SetConfig", "CurveConfig", "as_calculator",
            "stability", "write_stability", "StabilityConfig",
        ),
    ),
    "models": (
        "Exported models",
        "Energies and forces of a `student.pt`, in ASE and without it. The manual is in "
        "[ekd in ASE](../ase.md) and [the exported model](../exported_model.md).",
        (
            "EKDCalculator", "ExportedModel", "VerletList", "export.export_model",
            "lammps.register",
        ),
    ),
    "settings": (
        "Settings",
        "Sections of a configuration as Python objects. Their fields are those of the "
        "[configuration reference](configuration.md).",
        (
            "Config", "load_config", "HIPNNConfig", "TrainingConfig", "StudentTrainingConfig",
            "BaseTrainingConfig", "SecondStepConfig", "PretrainingConfig", "PoolConfig",
            "CalculatorConfig", "SpreadConfig", "UncertaintyConfig", "WallConfig", "OnPolicyConfig",
        ),
    ),
    "exceptions": (
        "Exceptions",
        "Every error that ekd raises on purpose is an `EKDError`, with a `code` that "
        "[errors](../errors.md) explains.",
        ("EKDError", "errors"),
    ),
}  # fmt: skip
"""Name of a page: its title, a sentence, and what is on it, as attributes of ``ekd``."""

_NOT_SHOWN = {"__version__"}

_TO_MODULES = """\
    options:
      filters: ['!^_', '!^EKDError$']
      show_root_heading: false
"""
_TO_SETTINGS = "    options:\n      members: false\n"


def names() -> set[str]:
    """All names that have an entry."""
    return {name for _, _, shown in PAGES.values() for name in shown}


def missing() -> set[str]:
    """Public names of ekd that have none."""
    return set(ekd.__all__) - names() - _NOT_SHOWN


def page(name: str) -> str:
    """A page in Markdown."""
    title, text, shown = PAGES[name]
    if missing():
        raise LookupError(f"{', '.join(sorted(missing()))}: give these a page in {__file__}")
    return f"# {title}\n\n{text}\n\n" + "\n".join(map(_directive, shown))


def _directive(name: str) -> str:
    if name == "errors":
        return f"::: ekd.{name}\n{_TO_MODULES}"
    return f"::: ekd.{name}\n" + (_TO_SETTINGS if name.endswith("Config") else "")
