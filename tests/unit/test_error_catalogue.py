"""Errors have codes, codes have causes and remedies, and docs/errors.md is up to date."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import errors_page
from ekd.cli import app
from ekd.error_catalogue import AREAS, RETIRED, catalogue, complete
from ekd.errors import BuildError, DataError, DynamicsError, EKDError, find_code
from errors_page import Site, sites_in_cpp, sites_in_python

SITES = errors_page.sites()


def without_code(sites: list[Site]) -> list[Site]:
    return [site for site in sites if not site.codes and not site.passes_on]


def test_every_error_has_a_code() -> None:
    assert len([site for site in SITES if site.place.startswith("python")]) > 300
    assert len([site for site in SITES if site.place.startswith("cpp")]) > 60
    assert len([site for site in SITES if site.place.startswith("lammps_plugin")]) > 25
    missing = [f"{site.place}: {site.message}" for site in without_code(SITES)]
    assert not missing, "give these a code, and the code an entry in error_catalogue.toml"


def test_codes_and_catalogue_are_the_same() -> None:
    used = {code for site in SITES for code in site.codes}
    assert used - set(catalogue()) == set(), "codes without an entry in error_catalogue.toml"
    assert set(catalogue()) - used == set(), "entries that nothing raises: retire their codes"
    assert not set(catalogue()) & RETIRED


def test_numbers_have_no_gaps() -> None:
    """A deleted entry must be retired, so that its code is not reused."""
    for area in AREAS:
        numbers = [int(c[-3:]) for c in (*catalogue(), *RETIRED) if c.split("-")[1] == area]
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), area


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('raise DataError(f"no {x}", code="EKD-DATA-001")', 0),
        ('raise DataError(f"no {x}")', 1),
        ('raise lost("gone", code="EKD-RUN-008")', 0),
        ("raise ModelFileError(error.message, code=error.code)", 0),
        ('errors.append(ConfigError("two"))', 1),
    ],
)
def test_a_missing_code_is_found_in_python(source: str, expected: int) -> None:
    assert len(without_code(list(sites_in_python(source, "x.py")))) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('throw StructureError("a; " + name(i) + " b [EKD-STRUCTURE-001]");', 0),
        ('throw ekd::Error("a " + name(i));', 1),
        ('error->all(FLERR, ekd::format("{} (x)", f(1)));', 1),
        ('message << "a (" << (b ? "c" : d()) << "; e [EKD-PAIR-001]";', 0),
        ('message << "a (" << (b ? "c" : d()) << "; e";', 1),
        ('require(n > 0, [&] { return "n is " + text(n) + " [EKD-API-001]"; });', 0),
        ('require(n > 0, [&] { return "n is " + text(n); });', 1),
        ('// throw Error("a comment")', 0),
        ("throw Error(message.str());", 0),
    ],
)
def test_a_missing_code_is_found_in_cpp(source: str, expected: int) -> None:
    assert len(without_code(list(sites_in_cpp(source, "cpp/src/c/x.cpp")))) == expected


def test_entries_are_sentences() -> None:
    for entry in catalogue().values():
        assert not entry.title.endswith("."), entry.code
        for text in (entry.cause, entry.cure):
            assert re.search(r"[.:]`?$", text), entry.code
            assert len(text) > 15, entry.code


def test_page_is_up_to_date() -> None:
    assert errors_page.PAGE.read_text() == errors_page.page(), "run: python docs/errors_page.py"


# ---- errors keep their codes ------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        DataError("no; give one", code="EKD-DATA-001"),
        BuildError("of C++; rebuild [EKD-BUILD-002]"),
        DynamicsError("lost atoms", "see 'log'", code="EKD-LAMMPS-004"),
        EKDError("without a code"),
    ],
)
def test_pickled(error: EKDError) -> None:
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error)
    assert (str(found), found.message, found.code) == (str(error), error.message, error.code)
    assert vars(found) == vars(error)


def test_one_error_has_one_code() -> None:
    inner = DataError("unknown unit", code="EKD-DATA-051")
    assert str(inner) == "unknown unit [EKD-DATA-051]"
    outer = DataError(f"'e' has a unit: {inner}; correct it", code="EKD-DATA-050")
    assert str(outer) == "'e' has a unit: unknown unit; correct it [EKD-DATA-050]"
    assert str(inner.within("x.h5")) == "x.h5: unknown unit [EKD-DATA-051]"
    assert find_code("a [EKD-PAIR-001] (b.cpp:1)\nc") == "EKD-PAIR-001"
    assert find_code("a [EKD-PAIR-1]") is None


# ---- ekd explain ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["EKD-DATA-001", "ekd-data-001", "data-1", "[EKD-DATA-001]"])
def test_explain(code: str) -> None:
    assert complete(code) == "EKD-DATA-001"
    result = CliRunner().invoke(app, ["explain", code])
    assert result.exit_code == 0
    entry = catalogue()["EKD-DATA-001"]
    for text in (entry.code, entry.title, entry.cause, entry.cure):
        assert text in result.output


def test_explain_lists_all() -> None:
    result = CliRunner().invoke(app, ["explain"])
    assert result.exit_code == 0
    assert re.findall(r"^  (EKD-\S+)  \S", result.output, re.MULTILINE) == list(catalogue())


@pytest.mark.parametrize("code", ["EKD-DATA-999", "nonsense"])
def test_explain_an_unknown_code(code: str) -> None:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["explain", code])
    assert result.exit_code == 2
    assert f"there is no error '{code}'" in result.output


def test_command_line_shows_the_code(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["run", str(tmp_path / "absent.toml")])
    assert result.exit_code == 1
    output = " ".join(result.output.split())
    assert "check the path [EKD-CONFIG-001] for more about this error, run: ekd explain" in output
