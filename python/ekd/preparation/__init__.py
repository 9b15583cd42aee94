"""``ekd prepare``: converts data files to one file that is checked, indexed and fast to read."""

from ekd.preparation.prepare import prepare_dataset
from ekd.preparation.summary import Summary

__all__ = ["Summary", "prepare_dataset"]
