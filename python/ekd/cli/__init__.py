"""The command line: a thin layer over the Python interface, quick to start.

Modules that need torch are imported inside the commands, so that ``ekd --help`` does not wait for
them.
"""

from ekd.cli.app import app, main

__all__ = ["app", "main"]
