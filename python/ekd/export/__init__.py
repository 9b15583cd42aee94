"""Writing a trained network to the file that ASE and LAMMPS run."""

from ekd.export.torchscript import export_model

__all__ = ["export_model"]
