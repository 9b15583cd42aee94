"""Write docs/errors.md from the catalogue of errors and from the code that raises them.

    python docs/errors_page.py

The example of each error is the longest message with its code in the sources; what a message fills
in stands in braces.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ekd.errors
from ekd.error_catalogue import AREAS, Entry, catalogue

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "errors.md"
CODE = re.compile(r"EKD-[A-Z]+-\d{3}")
CLASSES = {
    name
    for name, value in vars(ekd.errors).items()
    if isinstance(value, type) and issubclass(value, ekd.errors.EKDError)
}
UNKNOWN = "…"
_FEWEST_LETTERS = 10

_HEAD = """# Errors

Every error that ekd raises on purpose says what was found, what was expected and what to do, and
ends with a code: `data file 'water.xyz' not found; check the path [EKD-DATA-001]`. Codes are
stable: messages may change from release to release, but a code keeps its meaning and is never given
to another error.

`ekd explain EKD-DATA-001` prints the cause and the cure on the command line, also without a
network. `ekd explain` lists all codes. In Python, errors are subclasses of `ekd.errors.EKDError`
and have the attributes `code` and `message`; `ekd.error_catalogue.catalogue()` has the texts of
this page. In LAMMPS, the code is at the end of the line that begins with `ERROR:`. In C, it is part
of `ekd_last_error()`. An error without a code comes from another program or library, or is a bug in
ekd.

`python docs/errors_page.py` writes this page from `python/ekd/error_catalogue.toml` and from the
sources: edit those.
"""


@dataclass(frozen=True)
class Site:
    """A place in the code that raises an error.

    Attributes:
        place: file and line.
        kind: class of the error in Python; empty in C++.
        codes: codes that the error can have there.
        passes_on: whether the error takes its code from another one.
        message: as it is written there; what is filled in stands in braces.
    """

    place: str
    kind: str
    codes: tuple[str, ...]
    passes_on: bool
    message: str


def python_sites() -> Iterator[Site]:
    """Every place in the package that makes an error."""
    package = ROOT / "python" / "ekd"
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        # Copies that a build installs are not the package's own.
        if inside.parts[0] in ("source", "quickstart") or inside == Path("errors.py"):
            continue
        yield from sites_in_python(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))


def sites_in_python(source: str, file: str) -> Iterator[Site]:
    """Every place in a module that makes an error."""
    tree = ast.parse(source)
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        given = next((ast.unparse(word.value) for word in node.keywords if word.arg == "code"), "")
        if name not in CLASSES and not given:
            continue
        yield Site(
            place=f"{file}:{node.lineno}",
            kind=name if name in CLASSES else "",
            codes=tuple(CODE.findall(given)),
            passes_on=bool(re.search(r"\.code|find_code", given)),
            message=_text(node.args[0], functions) if node.args else "",
        )


def _text(node: ast.expr, functions: dict[str, ast.FunctionDef]) -> str:
    """What an expression says, with names in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, functions) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        value = node.value
        return f"{{{value.id}}}" if isinstance(value, ast.Name) else UNKNOWN
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, functions) + _text(node.right, functions)
    if isinstance(node, ast.IfExp):
        return _text(node.body, functions)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        function = functions.get(node.func.id)
        last = function.body[-1] if function else None
        if isinstance(last, ast.Return) and last.value is not None:
            return _text(last.value, {})
    return UNKNOWN


# Calls that raise an error with a text, and streams in which one is put together.
_CARRIERS = re.compile(
    r"throw\s+(?:ekd::)?(?!Json)\w*Error\(|error->(?:all|one|warning)\(|\bend_rank\("
    r"|\braise_error\(|\brequire\(|\breturn failed\(|\breturn ekd::format\((?=\s*\"pair_)"
    r"|\bproblem\s*=\s*ekd::format\(|\bmessage\s*<<|\breturn (?=\"pair_style)"
)
# Elsewhere it says what is wrong with a file, and `fail` puts that into an error.
_REQUIRE_RAISES = ("cpp/src/c/", "cpp/src/python/")
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')


def cpp_sites() -> Iterator[Site]:
    """Every error with a text of its own in the runtime, the C interface and the pair style."""
    for path in sorted([*ROOT.glob("cpp/src/**/*.[ch]pp"), *ROOT.glob("lammps_plugin/*.cpp")]):
        yield from sites_in_cpp(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))


def sites_in_cpp(source: str, file: str) -> Iterator[Site]:
    """Every error with a text of its own in a file."""
    source = re.sub(r"^\s*//.*$", "", source, flags=re.MULTILINE)
    for match in _CARRIERS.finditer(source):
        statement = _statement(source, match)
        text = _cpp_text(statement)
        if not re.search("[a-z]", text) or "EKD_ERROR_INTERNAL" in statement:
            continue  # the text comes from elsewhere, or tells of a bug
        if match.group() == "error->warning(" and not CODE.search(statement):
            continue
        if match.group() == "require(" and not file.startswith(_REQUIRE_RAISES):
            continue
        yield Site(
            place=f"{file}:{source.count(chr(10), 0, match.start()) + 1}",
            kind="",
            codes=tuple(dict.fromkeys(CODE.findall(statement))),
            passes_on=bool(re.search(r"\b(kMend|mend|no_model|problem)", statement)),
            message=text,
        )


def _statement(source: str, match: re.Match[str]) -> str:
    """From the beginning of a match to the end of its brackets, or of a statement without them."""
    in_brackets = match.group().endswith("(")
    depth, place = int(in_brackets), match.end()
    while place < len(source):
        if source[place] == '"':
            literal = _LITERAL.match(source, place)
            assert literal, source[place : place + 80]
            place = literal.end()
            continue
        depth += {"(": 1, ")": -1}.get(source[place], 0)
        if depth == 0 and source[place] == (")" if in_brackets else ";"):
            break
        place += 1
    return source[match.start() : place]


def _cpp_text(statement: str) -> str:
    """The literals of a statement in one, with a mark where something stands between them."""
    text, end = "", None
    for literal in _LITERAL.finditer(statement):
        between = statement[end : literal.start()]
        filled = re.search(r"[^\s+<]", between) if end else re.search(r"\+\s*$", between)
        is_choice = re.search(r"[?:]\s*$", between)
        if filled or is_choice:
            text += UNKNOWN
        if not is_choice:
            text += literal.group(1).replace("\\n", "\n").replace('\\"', '"')
        end = literal.end()
        if CODE.search(literal.group()):
            break  # what follows is filled in
    return re.sub(r"\{[^{}]*\}", UNKNOWN, text)


def sites() -> list[Site]:
    """All places that raise errors."""
    return [*python_sites(), *cpp_sites()]


def page() -> str:
    """The text of docs/errors.md."""
    found = sites()
    parts = [_HEAD]
    for area, title in AREAS.items():
        entries = [entry for entry in catalogue().values() if entry.area == area]
        parts.append(f"## {title}\n")
        parts += [_section(entry, found) for entry in entries]
    return "\n".join(parts)


def _section(entry: Entry, found: list[Site]) -> str:
    here = [site for site in found if entry.code in site.codes]
    # C++ has no names to show, so that a message of Python reads better.
    best = max(here, key=lambda site: (bool(site.kind), len(site.message.replace(UNKNOWN, ""))))
    kinds = sorted({site.kind for site in here} - {""})
    message = re.sub(r" \[EKD-[A-Z]+-\d{3}\]", "", best.message)
    message = re.sub(f"(?:{UNKNOWN}\\s*)+(?={UNKNOWN})", "", message)
    example = "".join(f"    {line}\n" for line in message.splitlines()) + "\n"
    if len(re.findall("[a-z]", re.sub(r"\{\w+\}", "", message))) < _FEWEST_LETTERS:
        example = ""  # all of it comes from elsewhere
    name = f" (`{'`, `'.join(kinds)}`)" if kinds else ""
    return (
        f"### {entry.code}\n\n**{entry.title}**{name}\n\n{example}"
        f"{_wrapped(entry.cause)}\n\n{_wrapped(f'What to do: {entry.cure}')}\n"
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE} with {len(catalogue())} errors")
