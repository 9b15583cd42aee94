"""The command ``explain``: cause of an error and what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from ekd.error_catalogue import AREAS, catalogue, complete


def explain(
    code: Annotated[
        str | None,
        typer.Argument(help="Code of an error, such as EKD-DATA-001. Default: list all codes."),
    ] = None,
) -> None:
    """Explain an error: what its code means, what causes it, and what to do.

    Every error message ends with a code in brackets. Codes are case-insensitive, and EKD- can be
    omitted: ekd explain data-1.
    """
    if code is None:
        for area, title in AREAS.items():
            print(f"{title}:")
            for entry in catalogue().values():
                if entry.area == area:
                    print(f"  {entry.code}  {entry.title}")
        return
    found = catalogue().get(complete(code))
    if found is None:
        raise typer.BadParameter(
            f"there is no error '{code}'; give a code such as EKD-DATA-001, or run 'ekd explain' "
            "for a list of all codes"
        )
    print(f"{found.code}: {found.title}\n\n{found.cause}\n\nWhat to do: {found.cure}")


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(explain)
