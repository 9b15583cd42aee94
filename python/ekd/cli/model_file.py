"""The commands that inspect, check and upgrade exported models."""

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
    """Add the commands to the program."""
    app.command("inspect")(inspect)
    app.command("check")(check)
    app.command("upgrade")(upgrade)


def inspect(
    model: ModelPath,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the SHA-256 and all metadata as JSON.")
    ] = False,
) -> None:
    """Show the metadata of an exported model, and warnings about its reference energies.

    The SHA-256 of the file comes first; it is the value for ``sha256`` of `pair_style ekd` and of
    the ASE calculator. No code in the file is run, so untrusted files are safe.

    **Examples**

        ekd inspect student.pt

        ekd inspect student.pt --json | jq .provenance
    """
    from ekd.inference import read_card, training_pairs

    card, sha256 = read_card(model)
    metadata = {"sha256": sha256, **asdict(card)}
    if as_json:
        print(json.dumps(metadata, indent=1))
        return
    del metadata["self_test"]  # a frame with its forces, for `ekd check`
    for student in metadata["provenance"]:
        student.pop("closest_pairs", None)  # shown in a separate table
    table = Table("key", "value", title=str(model), title_justify="left")
    for key, value in metadata.items():
        table.add_row(key, escape(_readable(value)))
    console = Console()
    console.print(table)
    if pairs := training_pairs(card):
        console.print(_distances(pairs))
    for warning in _doubts(metadata):
        console.print(f"[bold yellow]look:[/] {escape(warning)}", highlight=False, soft_wrap=True)


def check(model: ModelPath) -> None:
    """Run the self-test of an exported model: compare its predictions here with those at export.

    Exit status 0: they agree; 1: they differ.
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
        typer.Option(
            "--output", "-o", help="Output file, for one model. Default: replace the model."
        ),
    ] = None,
) -> None:
    """Rewrite exported models of earlier versions, so that they run without torch.

    Networks, metadata and results do not change. The conversion itself requires torch.

    **Examples**

        ekd upgrade student.pt

        ekd upgrade old.pt -o new.pt
    """
    from ekd.errors import ConfigError
    from ekd.export import upgrade_model

    if output is not None and len(models) > 1:
        raise ConfigError(
            f"--output names one file, but there are {len(models)} models", code="EKD-CONFIG-008"
        )
    for model in models:
        done = upgrade_model(model, output)
        print(f"{output or model}: written" if done else f"{model}: holds its weights already")
        if not done and output is not None:
            raise typer.Exit(1)  # the requested file does not exist


def _distances(pairs: list[TrainingPairs]) -> Table:
    """Table of the element pairs in the training data and their shortest distances."""
    table = Table("pair", "closest, Å", "pairs", title="training data within the cutoff")
    table.title_justify = "left"
    for pair in pairs:
        closest = "none" if math.isinf(pair.distance) else f"{pair.distance:.4f}"
        table.add_row("-".join(pair.elements), closest, str(pair.n_pairs))
    return table


def _doubts(metadata: dict[str, Any]) -> list[str]:
    """Return warnings about the reference energies of a model, without repetitions."""
    from ekd.elements import atomic_number

    entries = [entry.get("reference_warnings", []) for entry in metadata["provenance"]]
    # The provenance has no fixed schema: its entries can be anything.
    listed = [entry if isinstance(entry, list) else [entry] for entry in entries]
    doubts = list(dict.fromkeys(str(text) for entry in listed for text in entry))
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
    """Format one entry of a section; a text of several lines starts below its key."""
    return f"{key}:\n  " + text.replace("\n", "\n  ") if "\n" in text else f"{key}: {text}"
