"""Ensemble knowledge distillation of interatomic potentials.

From energies of molecules to a distilled student for molecular dynamics in LAMMPS::

    import ekd

    data = ekd.load_dataset("ccsdt_chno.h5", energy="ccsd(t)_ccpvdz.energy")
    teachers = ekd.train_ensemble(data, n_members=8)
    labels = ekd.label(teachers, data)
    student = ekd.distill(data, labels)
    student.export("student.pt")
    atoms.calc = ekd.EKDCalculator("student.pt")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ekd.calculator import EKDCalculator as EKDCalculator
    from ekd.config import BaseTrainingConfig as BaseTrainingConfig
    from ekd.config import CalculatorConfig as CalculatorConfig
    from ekd.config import Config as Config
    from ekd.config import HIPNNConfig as HIPNNConfig
    from ekd.config import OnPolicyConfig as OnPolicyConfig
    from ekd.config import PoolConfig as PoolConfig
    from ekd.config import PretrainingConfig as PretrainingConfig
    from ekd.config import SecondStepConfig as SecondStepConfig
    from ekd.config import SpreadConfig as SpreadConfig
    from ekd.config import StudentTrainingConfig as StudentTrainingConfig
    from ekd.config import TrainingConfig as TrainingConfig
    from ekd.config import UncertaintyConfig as UncertaintyConfig
    from ekd.config import WallConfig as WallConfig
    from ekd.config import load_config as load_config
    from ekd.data import Dataset as Dataset
    from ekd.data import load_dataset as load_dataset
    from ekd.distillation import ASETeacher as ASETeacher
    from ekd.distillation import Labels as Labels
    from ekd.distillation import MemberTeacher as MemberTeacher
    from ekd.distillation import distill as distill
    from ekd.distillation import distill_committee as distill_committee
    from ekd.distillation import distill_on_policy as distill_on_policy
    from ekd.distillation import label as label
    from ekd.distillation import load_students as load_students
    from ekd.distillation import perturb as perturb
    from ekd.distillation import read_structures as read_structures
    from ekd.distillation import sample_md as sample_md
    from ekd.dynamics import StabilityConfig as StabilityConfig
    from ekd.dynamics import stability as stability
    from ekd.dynamics import write_stability as write_stability
    from ekd.errors import EKDError as EKDError
    from ekd.evaluation import CurveConfig as CurveConfig
    from ekd.evaluation import SetConfig as SetConfig
    from ekd.evaluation import as_calculator as as_calculator
    from ekd.evaluation import evaluate as evaluate
    from ekd.evaluation import write_evaluation as write_evaluation
    from ekd.inference import ExportedModel as ExportedModel
    from ekd.interop import from_hippynn as from_hippynn
    from ekd.neighbor_list import VerletList as VerletList
    from ekd.pool import Pool as Pool
    from ekd.pool import build_pool as build_pool
    from ekd.preparation import prepare_dataset as prepare_dataset
    from ekd.training import Ensemble as Ensemble
    from ekd.training import TrainedModel as TrainedModel
    from ekd.training import load_ensemble as load_ensemble
    from ekd.training import pretrain as pretrain
    from ekd.training import train_ensemble as train_ensemble

# Public name -> module. Imported on first use, so that `import ekd`, the command line and the
# LAMMPS entry point do not import torch.
_PUBLIC = {
    "ASETeacher": "distillation",
    "BaseTrainingConfig": "config",
    "CalculatorConfig": "config",
    "Config": "config",
    "CurveConfig": "evaluation",
    "Dataset": "data",
    "EKDCalculator": "calculator",
    "EKDError": "errors",
    "Ensemble": "training",
    "ExportedModel": "inference",
    "HIPNNConfig": "config",
    "Labels": "distillation",
    "MemberTeacher": "distillation",
    "OnPolicyConfig": "config",
    "Pool": "pool",
    "PoolConfig": "config",
    "PretrainingConfig": "config",
    "SetConfig": "evaluation",
    "SecondStepConfig": "config",
    "SpreadConfig": "config",
    "StabilityConfig": "dynamics",
    "TrainedModel": "training",
    "StudentTrainingConfig": "config",
    "TrainingConfig": "config",
    "UncertaintyConfig": "config",
    "VerletList": "neighbor_list",
    "WallConfig": "config",
    "as_calculator": "evaluation",
    "build_pool": "pool",
    "distill": "distillation",
    "distill_committee": "distillation",
    "distill_on_policy": "distillation",
    "evaluate": "evaluation",
    "from_hippynn": "interop",
    "label": "distillation",
    "load_config": "config",
    "load_dataset": "data",
    "load_ensemble": "training",
    "load_students": "distillation",
    "perturb": "distillation",
    "prepare_dataset": "preparation",
    "pretrain": "training",
    "read_structures": "distillation",
    "sample_md": "distillation",
    "stability": "dynamics",
    "train_ensemble": "training",
    "write_evaluation": "evaluation",
    "write_stability": "dynamics",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from ekd._native import build_info

        return build_info().EKD_VERSION
    if name not in _PUBLIC:
        raise AttributeError(f"module 'ekd' has no attribute '{name}'")
    try:
        return getattr(importlib.import_module(f"ekd.{_PUBLIC[name]}"), name)
    except ModuleNotFoundError as error:
        from ekd.extras import explained

        if (missing := explained(error)) is not None:
            raise missing from None
        raise


def __dir__() -> list[str]:
    return sorted(__all__)
