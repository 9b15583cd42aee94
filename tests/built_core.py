"""The static library from the build of the package, for tests that link to it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]

FOLDERS = ("core", "device", "kernels", "runtime")
"""Folders of the sources in libekd_core.a."""


def built_core() -> Path | None:
    """``libekd_core.a`` if it is newer than its sources; an environment variable can name it.

    Without it, tests compile the sources that they need, which takes minutes for the kernels.
    """
    folders = [ROOT / "cpp" / "include", *(ROOT / "cpp" / "src" / name for name in FOLDERS)]
    newest = max(file.stat().st_mtime for folder in folders for file in folder.rglob("*.*"))
    named = os.environ.get("EKD_TEST_CORE")
    found = [Path(named)] if named else sorted((ROOT / "build").glob("*/cpp/libekd_core.a"))
    return next((file for file in found if file.stat().st_mtime > newest), None)
