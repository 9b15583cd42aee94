"""The command line: a thin layer over the Python interface.

Modules that need torch are imported inside the commands, so that ``ekd --help`` starts quickly.
"""

from ekd.cli.app import app

__all__ = ["app"]
