"""``ekd prepare``: many data files become one that is checked, indexed and quick to read."""

from ekd.preparation.prepare import prepare_dataset
from ekd.preparation.summary import Summary

__all__ = ["Summary", "prepare_dataset"]
