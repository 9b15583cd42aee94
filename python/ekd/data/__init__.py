"""Datasets: reading, splitting, reference energies."""

from ekd.data.dataset import Dataset, Provenance
from ekd.data.loading import load_dataset
from ekd.data.reference_energies import fit_reference_energies
from ekd.data.splits import folds, split

__all__ = ["Dataset", "Provenance", "fit_reference_energies", "folds", "load_dataset", "split"]
