"""Readers: one small module per format, each yielding a sequence of :class:`~.source.Block`.

A block is in eV and Å, and records how many configurations of the file it covers, so a file of any
size can be read in bounded memory, starting at any configuration.
"""

from ekd.data.readers.open import open_source
from ekd.data.readers.source import Block, Request, Source, join

__all__ = ["Block", "Request", "Source", "join", "open_source"]
