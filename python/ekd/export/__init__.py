"""Export of trained networks to the file that ASE and LAMMPS run."""

from ekd.export.torchscript import export_model
from ekd.export.upgrade import upgrade_model

__all__ = ["export_model", "upgrade_model"]
