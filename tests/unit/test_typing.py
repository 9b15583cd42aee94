"""Type checkers find the annotations of ekd, and a correct stub of its compiled module."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType

import numpy as np

import ekd
from ekd import _native

PACKAGE = Path(ekd.__file__).parent  # the installed package
STUB = PACKAGE / "_core.pyi"


def test_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def signatures_of_the_stub(body: list[ast.stmt], prefix: str = "") -> dict[str, list[str]]:
    """Names of arguments by name of function; properties and classes have none."""
    found: dict[str, list[str]] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found[prefix + node.name] = [argument.arg for argument in node.args.args]
        elif isinstance(node, ast.ClassDef):
            found[prefix + node.name] = []
            found |= signatures_of_the_stub(node.body, f"{prefix}{node.name}.")
    return found


def signatures_of(owner: ModuleType | type, prefix: str = "") -> dict[str, list[str]]:
    """The same for the compiled module, from the signatures written by pybind11."""
    found: dict[str, list[str]] = {}
    for name, value in vars(owner).items():
        if name.startswith("_") and name != "__init__":
            continue
        found[prefix + name] = []
        if isinstance(value, type):
            found |= signatures_of(value, f"{prefix}{name}.")
        elif callable(value):
            arguments = re.search(r"\((.*)\) ->", inspect.getdoc(value) or "")
            assert arguments is not None, name
            parsed = ast.parse(f"def f({re.sub(r': [^,]*?(?=,|$)', '', flat(arguments[1]))}): ...")
            function = parsed.body[0]
            assert isinstance(function, ast.FunctionDef)
            found[prefix + name] = [argument.arg for argument in function.args.args]
        else:
            assert isinstance(value, property), name
            found[prefix + name] = ["self"]
    return found


def flat(signature: str) -> str:
    """A signature without text in brackets."""
    while (shorter := re.sub(r"\[[^\[\]]*\]", "", signature)) != signature:
        signature = shorter
    return signature


def test_stub_has_the_names_and_arguments_of_the_module() -> None:
    expected = signatures_of(_native.core())
    assert len(expected) >= 7
    assert signatures_of_the_stub(ast.parse(STUB.read_text()).body) == expected


def test_stub_has_the_types_of_the_results() -> None:
    positions, offsets = np.zeros((1, 3)), np.array([0, 1])
    found = _native.core().neighbor_list(positions, offsets, 1.0, None, None, 1)
    assert isinstance(found, tuple)
    named = re.search(r"_Arrays: TypeAlias = tuple\[(.*?)\n\]", STUB.read_text(), re.DOTALL)
    assert named is not None
    types = re.findall(r"NDArray\[np\.(\w+)\]", named[1])
    assert [str(array.dtype) for array in found] == types
