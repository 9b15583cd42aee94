"""Readers: one small module per format, each yields :class:`~.source.Block` after block.

A block is already in eV and Å, and knows how many configurations of the file it stands for, so
that a file of any size can be read in bounded memory and from any configuration on.
"""

from ekd.data.readers.open import open_source
from ekd.data.readers.source import Block, Request, Source, join

__all__ = ["Block", "Request", "Source", "join", "open_source"]
