"""The program ``ekd``, also as ``python -m ekd``."""

from __future__ import annotations

import sys

from ekd import interruption


def main() -> None:
    """Run a command.

    Signals end it with a message from here on, also while modules are imported and after the
    command.
    """
    try:
        with interruption.handled():
            with interruption.deferred():
                from ekd.cli import app
            app()
    except KeyboardInterrupt as signalled:
        print(f"error: {interruption.describe(signalled)}", file=sys.stderr)
        sys.exit(interruption.exit_status(signalled))


if __name__ == "__main__":
    main()
