"""The verbs that look at an exported model."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from ekd.inference import TrainingPairs

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="Exported model, *.pt.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the program."""
    app.command("inspect")(inspect)
    app.command("check")(check)
    app.command("upgrade")(upgrade)


def inspect(
    model: ModelPath,
    as_json: Annotated[bool, typer.Option("--json", help="All metadata as JSON.")] = False,
) -> None:
    """Show what an exported model says about itself, and what is doubtful about its energies.

    **Examples**

        ekd inspect student.pt

        ekd inspect student.pt --json | jq .provenance
    """
    from ekd.inference import read_metadata, training_pairs

    found = read_metadata(model)
    metadata = asdict(found)
    if as_json:
        print(json.dumps(metadata, indent=1))
        return
    del metadata["self_test"]  # a frame with its forces: `ekd check` is for that
    for student in metadata["provenance"]:
        student.pop("closest_pairs", None)  # a table of its own
    table = Table("key", "value", title=str(model), title_justify="left")
    for key, value in metadata.items():
        table.add_row(key, escape(_readable(value)))
    console = Console()
    console.print(table)
    if pairs := training_pairs(found):
        console.print(_distances(pairs))
    for warning in _doubts(metadata):
        console.print(f"[bold yellow]look:[/] {escape(warning)}", highlight=False, soft_wrap=True)


def check(model: ModelPath) -> None:
    """Run the self-test of an exported model: does it predict here what it did at export?

    Exit status 0: it does; 1: it does not.
    """
    from ekd.inference import ExportedModel, run_self_test

    report = run_self_test(ExportedModel(model))
    table = Table("difference", "found", "allowed", title=str(model), title_justify="left")
    units = {"energy": "eV/atom", "forces": "eV/Å", "virial": "eV/atom", "uncertainty": "eV/Å"}
    for name, unit in units.items():
        if (found := getattr(report, name)) is not None:
            table.add_row(f"{name}, {unit}", f"{found:.1e}", f"{report.tolerance:.0e}")
    console = Console()
    console.print(table)
    console.print("[bold green]PASS[/]" if report.passed else "[bold red]FAIL[/]")
    if not report.passed:
        raise typer.Exit(1)


def upgrade(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Exported models, *.pt.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write, of one model; else in its place."),
    ] = None,
) -> None:
    """Write exported models of earlier versions anew, so that they run without torch.

    Networks, metadata and results stay as they are. Needs torch, this once.

    **Examples**

        ekd upgrade student.pt

        ekd upgrade old.pt -o new.pt
    """
    from ekd.errors import ConfigError
    from ekd.export import upgrade_model

    if output is not None and len(models) > 1:
        raise ConfigError(f"--output names one file, but there are {len(models)} models")
    for model in models:
        done = upgrade_model(model, output)
        print(f"{output or model}: written" if done else f"{model}: holds its weights already")
        if not done and output is not None:
            raise typer.Exit(1)  # somebody waits for that file


def _distances(pairs: list[TrainingPairs]) -> Table:
    """Which pairs of elements the training data have, and how close they come."""
    table = Table("pair", "closest, Å", "pairs", title="training data within the cutoff")
    table.title_justify = "left"
    for pair in pairs:
        closest = "none" if math.isinf(pair.distance) else f"{pair.distance:.4f}"
        table.add_row("-".join(pair.elements), closest, str(pair.n_pairs))
    return table


def _doubts(metadata: dict[str, Any]) -> list[str]:
    """What is doubtful about the reference energies of a model, each once."""
    from ekd.elements import atomic_number

    entries = [entry.get("reference_warnings", []) for entry in metadata["provenance"]]
    doubts = list(dict.fromkeys(text for entry in entries for text in entry))
    energies = {atomic_number(s): e for s, e in metadata["energy_reference"].items()}
    try:
        from ekd.data.reference_checks import of_values
    except ModuleNotFoundError:
        return [*doubts, "reference energies were not checked: pip install 'ekd[train]' for that"]
    if not doubts and (impossible := of_values(energies)):
        doubts.append(impossible)
    return doubts


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(_entry(key, _readable(entry)) for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(_readable, value))
    return str(value)


def _entry(key: str, text: str) -> str:
    """One entry of a section; what needs several lines starts below its key."""
    return f"{key}:\n  " + text.replace("\n", "\n  ") if "\n" in text else f"{key}: {text}"
