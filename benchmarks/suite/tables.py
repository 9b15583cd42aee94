"""Records as tables: on the terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from suite.records import Message, Record, Skipped
from suite.targets import Verdict

COLUMNS = ("measure", "size", "threads", "ekd", "peer", "its value", "unit", "×", "note")
LEFT = ("measure", "peer", "unit", "note")


def cells(record: Record) -> tuple[str, ...]:
    """A record in :data:`COLUMNS`."""
    return (
        record.measure,
        f"{record.size:,}",
        str(record.threads),
        number(record.ekd),
        record.peer or "",
        "" if record.peer_value is None else number(record.peer_value),
        record.unit,
        "" if record.ratio is None else number(record.ratio),
        record.note,
    )


def line(record: Record) -> str:
    """A record in words."""
    threads = f"{record.threads} thread{'s' if record.threads > 1 else ''}"
    text = f"{record.measure}, {record.size:,}, {threads}: {number(record.ekd)} {record.unit}"
    if record.peer is None or record.ratio is None or record.peer_value is None:
        return text
    return f"{text}, {number(record.ratio)} times {record.peer} ({number(record.peer_value)})"


def ordered(records: Iterable[Record]) -> list[Record]:
    """By measure, in the order of their first appearance, then by size and threads."""
    records = list(records)
    first = {record.measure: -index for index, record in reversed(list(enumerate(records)))}
    return sorted(records, key=lambda r: (-first[r.measure], r.size, r.threads))


def number(value: float) -> str:
    """Three significant digits, never an exponent for what people read."""
    if value == 0 or not 1e-4 <= abs(value) < 1e9:
        return f"{value:.2e}"
    digits = 2
    while digits > 0 and abs(value) >= 10 ** (3 - digits):
        digits -= 1
    if abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:,.{digits}f}"


def rows(records: Iterable[Record]) -> list[tuple[str, ...]]:
    """Cells of all records; what repeats the line above is left blank."""
    found: list[tuple[str, ...]] = []
    previous: tuple[str, ...] = ()
    for record in records:
        line = cells(record)
        shown = list(line)
        if line[:4] == previous[:4]:  # another peer of the same number
            shown[:4] = [""] * 4
        elif line[:1] == previous[:1]:
            shown[0] = ""
        found.append(tuple(shown))
        previous = line
    return found


def print_messages(
    title: str, messages: Iterable[Message], caption: str, console: Console | None = None
) -> None:
    """Print the records among them, then the reasons for what is missing."""
    messages = list(messages)
    records = ordered(message for message in messages if isinstance(message, Record))
    skipped = [message for message in messages if isinstance(message, Skipped)]
    console = console or Console()
    # Wide enough also where the output goes to a file.
    console = Console(file=console.file, width=max(console.width, 160))
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in LEFT else "right")
    for row in rows(records):
        if row[0] and table.row_count:
            table.add_section()
        table.add_row(*row)
    console.print(table)
    for line in reasons(skipped):
        console.print(line, markup=False)


def print_verdicts(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print the targets and what was found."""
    table = Table(title="Targets", title_justify="left")
    for name in ("target", "at", "asked", "found", ""):
        table.add_column(name, justify="right" if name in ("asked", "found") else "left")
    colors = {"met": "green", "missed": "red"}
    for verdict in verdicts:
        state = verdict.state
        color = colors.get(state, "dim")
        table.add_row(*verdict.cells, f"[{color}]{state}[/]")
    console.print(table)


def reasons(skipped: Iterable[Skipped]) -> list[str]:
    """One line for each thing that was not measured."""
    lines = []
    for item in skipped:
        where = "" if item.size is None else f", {item.size:,}"
        state = "FAILED" if item.failed else "skipped"
        threads = f"{item.threads} thread{'s' if item.threads > 1 else ''}"
        lines.append(f"{state}: {item.measure}{where}, {threads}: {item.what}: {item.reason}")
    return lines


def markdown(
    records: Sequence[Record],
    skipped: Sequence[Skipped],
    verdicts: Sequence[Verdict],
    about: str,
) -> str:
    """All of a run in one page."""
    lines = ["# Benchmarks", "", *(f"{line}  " for line in about.splitlines()), ""]
    lines += [
        "## Targets",
        "",
        *_table(("target", "at", "asked", "found", ""), _verdicts(verdicts)),
    ]
    lines += ["", "## Measurements", ""]
    lines += _table(COLUMNS, [cells(record) for record in ordered(records)])
    if skipped:
        lines += ["", "## Not measured", "", *(f"- {line}" for line in reasons(skipped))]
    return "\n".join(lines) + "\n"


def _verdicts(verdicts: Iterable[Verdict]) -> list[tuple[str, ...]]:
    return [(*verdict.cells, verdict.state) for verdict in verdicts]


def _table(header: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    marks = ["---" if name in (*LEFT, "target", "at", "") else "---:" for name in header]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in body]
    return ["| " + " | ".join(row) + " |" for row in [list(header), marks, *escaped]]
