"""Every setting of the pipeline: names, defaults, bounds and meaning.

A TOML file is read into :class:`Config`. Unknown keys are refused, and the most similar known key
is suggested. Paths in a file are relative to that file. Lengths are in Å, energies in eV, times
in ps.
"""

from ekd.config.config_files import (
    RESOLVED,
    config_of_run,
    load_config,
    located,
    read_toml,
    validate_config,
    write_config,
)
from ekd.config.configuration import Config
from ekd.config.data_sections import DataConfig, LabelledDataConfig, TestConfig, Where
from ekd.config.deployment_sections import ExportConfig, LammpsConfig, NVEConfig, WaterConfig
from ekd.config.label_sections import (
    LabelsConfig,
    MDConfig,
    PerturbedConfig,
    TeacherConfig,
    WallConfig,
)
from ekd.config.pretraining_sections import (
    TBLITE,
    BaseTrainingConfig,
    CalculatorConfig,
    PoolConfig,
    PretrainingConfig,
    SecondStepConfig,
)
from ekd.config.section import FilePath, Range, Section, VectorPlots, Workers
from ekd.config.student_sections import (
    OnPolicyConfig,
    SpreadConfig,
    StudentConfig,
    StudentTrainingConfig,
    UncertaintyConfig,
)
from ekd.config.training_sections import (
    LEAST_SQUARES,
    HIPNNConfig,
    MemberConfig,
    TeachersConfig,
    TrainingConfig,
)

__all__ = [
    "LEAST_SQUARES",
    "RESOLVED",
    "TBLITE",
    "BaseTrainingConfig",
    "CalculatorConfig",
    "Config",
    "DataConfig",
    "ExportConfig",
    "FilePath",
    "HIPNNConfig",
    "LabelledDataConfig",
    "LabelsConfig",
    "LammpsConfig",
    "MDConfig",
    "MemberConfig",
    "NVEConfig",
    "OnPolicyConfig",
    "PerturbedConfig",
    "PoolConfig",
    "PretrainingConfig",
    "Range",
    "SecondStepConfig",
    "Section",
    "SpreadConfig",
    "StudentConfig",
    "StudentTrainingConfig",
    "TeacherConfig",
    "TeachersConfig",
    "TestConfig",
    "TrainingConfig",
    "UncertaintyConfig",
    "VectorPlots",
    "WallConfig",
    "WaterConfig",
    "Where",
    "Workers",
    "config_of_run",
    "load_config",
    "located",
    "read_toml",
    "validate_config",
    "write_config",
]
