"""The stages of a run in order, one file each."""

from ekd.pipeline.stage import Stage
from ekd.pipeline.stages.distill_student import DISTILL
from ekd.pipeline.stages.export_student import EXPORT
from ekd.pipeline.stages.label_data import LABEL
from ekd.pipeline.stages.make_pool import POOL
from ekd.pipeline.stages.measure_errors import EVALUATE
from ekd.pipeline.stages.pretrain_bases import PRETRAIN
from ekd.pipeline.stages.run_lammps import LAMMPS
from ekd.pipeline.stages.train_teachers import TRAIN
from ekd.pipeline.stages.write_report import REPORT

ALL: tuple[Stage, ...] = (
    POOL,
    PRETRAIN,
    TRAIN,
    LABEL,
    DISTILL,
    EVALUATE,
    EXPORT,
    LAMMPS,
    REPORT,
)

BY_NAME = {stage.name: stage for stage in ALL}

__all__ = ["ALL", "BY_NAME"]
