from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from suite.plots import bars, curves, plot_rates, plot_ratios
from suite.records import Record, Skipped
from suite.tables import line, markdown, number, ordered, print_messages, reasons, rows
from suite.targets import TARGETS, Target, judge

RATE = "katom-step/s"
RECORDS = [
    Record("force evaluation", 3000, 1, 20.0, RATE, "hippynn (numba kernels)", 4.0),
    Record("force evaluation", 3000, 1, 20.0, RATE, "TorchANI", 10.0),
    Record("peak memory", 3000, 1, 0.61, "GB", note="0.5 | 0.1"),
    Record("force evaluation", 96, 1, 10.0, RATE, "hippynn (numba kernels)", 20.0),
    Record("force evaluation", 3000, 2, 38.0, RATE),
]
SKIPPED = [Skipped("force evaluation", 3000, 2, "hippynn", "not installed", failed=True)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00e+00"),
        (0.0123, "0.012"),
        (0.5, "0.50"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (98765.4, "98,765"),
        (1e-6, "1.00e-06"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_ordered_by_measure_then_size_then_threads() -> None:
    found = [(record.measure, record.size, record.threads) for record in ordered(RECORDS)]
    assert found == [
        ("force evaluation", 96, 1),
        ("force evaluation", 3000, 1),
        ("force evaluation", 3000, 1),
        ("force evaluation", 3000, 2),
        ("peak memory", 3000, 1),
    ]


def test_rows_leave_out_what_repeats() -> None:
    first, second, third, fourth, fifth = rows(ordered(RECORDS))
    assert first[:4] == ("force evaluation", "96", "1", "10.0")
    assert second[:4] == ("", "3,000", "1", "20.0")
    assert third[:5] == ("", "", "", "", "TorchANI")
    assert fourth[:4] == ("", "3,000", "2", "38.0")
    assert fifth[0] == "peak memory"


def test_line() -> None:
    assert line(RECORDS[1]) == (
        "force evaluation, 3,000, 1 thread: 20.0 katom-step/s, 2.00 times TorchANI (10.0)"
    )
    assert line(RECORDS[4]) == "force evaluation, 3,000, 2 threads: 38.0 katom-step/s"


def test_markdown_holds_everything() -> None:
    text = markdown(RECORDS, SKIPPED, judge(RECORDS), "Some CPU\nPython")
    lines = text.splitlines()
    table = lines[lines.index("## Measurements") + 2 : lines.index("## Not measured") - 1]
    assert len(table) == 2 + len(RECORDS)
    assert len({row.replace("\\|", "").count("|") for row in table}) == 1
    assert "Some CPU  " in lines
    assert "- " + reasons(SKIPPED)[0] in lines


def test_reasons_name_failures() -> None:
    assert reasons(SKIPPED) == [
        "FAILED: force evaluation, 3,000, 2 threads: hippynn: not installed"
    ]


def test_terminal_shows_records_and_reasons() -> None:
    output = io.StringIO()
    print_messages("Title", [*RECORDS, *SKIPPED], "Some CPU", Console(file=output, width=160))
    text = output.getvalue()
    for part in ("Title", "hippynn (numba kernels)", "0.61", "Some CPU", "FAILED"):
        assert part in text


def test_targets_are_met_missed_or_not_measured() -> None:
    targets = [
        Target("force evaluation", 5, "hippynn", size=3000, threads=1),
        Target("force evaluation", 1, "hippynn"),
        Target("force evaluation", 1, "vesin"),
        Target("peak memory", 0.6),
        Target("peak memory", 0.7, size=2900),
    ]
    verdicts = judge(RECORDS, targets)
    states = [verdict.state for verdict in verdicts]
    assert states == ["met", "missed", "not measured", "missed", "met"]
    assert verdicts[1].found == 0.5  # the worse of 5 and 0.5
    assert verdicts[0].cells[:2] == ("force evaluation, to hippynn", "3,000, 1 thread")


def test_targets_differ() -> None:
    assert len(set(TARGETS)) == len(TARGETS)


def test_curves_are_rates_over_several_sizes() -> None:
    ((key, lines),) = curves(RECORDS).items()
    assert key == ("force evaluation", RATE)
    assert lines["ekd, 1 thread"] == {3000: 20.0, 96: 10.0}
    assert lines["hippynn (numba kernels), 1 thread"] == {3000: 4.0, 96: 20.0}
    assert lines["ekd, 2 threads"] == {3000: 38.0}


def test_bars_are_of_the_largest_size() -> None:
    assert [(ratio, bound) for _, ratio, bound in bars(RECORDS)] == [(5.0, None), (2.0, None)]


def test_plots_are_files(tmp_path: Path) -> None:
    assert plot_rates(RECORDS, tmp_path / "rates.png")
    assert plot_ratios(RECORDS, tmp_path / "ratios.png")
    assert (tmp_path / "rates.png").stat().st_size > 0
    assert (tmp_path / "ratios.png").stat().st_size > 0


def test_nothing_to_plot(tmp_path: Path) -> None:
    assert not plot_rates(RECORDS[2:3], tmp_path / "rates.png")
    assert not plot_ratios(RECORDS[2:3], tmp_path / "ratios.png")
