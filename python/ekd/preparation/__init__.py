"""``ekd prepare``: converts data files to one file that is checked, indexed and fast to read."""

from ekd.preparation.data_summary import Summary
from ekd.preparation.prepare import prepare_dataset

__all__ = ["Summary", "prepare_dataset"]
