"""No file, class or function is too long, and no module imports the package as a whole.

Import cycles are refused by import-linter (``make lint``), except for the package itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "python" / "ekd"
MODULES = sorted(PYTHON.rglob("*.py"))

LIMITED = [
    *MODULES,
    *(path for folder in ("cpp", "lammps_plugin") for path in (ROOT / folder).rglob("*.[ch]*")),
    *(path for name in ("tests", "benchmarks", "examples") for path in (ROOT / name).rglob("*.py")),
]
"""Files of limited length."""

MOST_LINES = 500
MOST_CLASS_LINES = 300
MOST_FUNCTION_LINES = 100


def definitions(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Name, lines and whether it is a class, of every class and function in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            n_lines = node.end_lineno - node.lineno + 1
            yield node.name, n_lines, isinstance(node, ast.ClassDef)


def n_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def imported_outside_type_checking(tree: ast.AST) -> Iterator[str]:
    """Modules that a file imports, also inside functions, but not only for types."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imported_outside_type_checking(node)


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): n_lines(path) for path in LIMITED}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


def test_classes_and_functions_are_short() -> None:
    lengths = {
        f"{path.relative_to(PYTHON)}: {name}": n
        for path in MODULES
        for name, n, is_class in definitions(path)
        if n > (MOST_CLASS_LINES if is_class else MOST_FUNCTION_LINES)
    }
    assert lengths == {}


def test_no_module_imports_the_whole_package() -> None:
    """No module uses ``import ekd`` for a name that is defined in another module."""
    submodules = {path.stem for path in PYTHON.glob("*.py")}
    submodules |= {path.parent.name for path in PYTHON.glob("*/__init__.py")}
    wrong = {
        f"{path.relative_to(PYTHON)}: {name}"
        for path in MODULES
        for name in imported_outside_type_checking(ast.parse(path.read_text(encoding="utf-8")))
        if name == "ekd" or (name.count(".") == 1 and name.startswith("ekd."))
        if name.partition(".")[2] not in submodules
    }
    assert not wrong, wrong
