"""The program ``ekd``: its commands and error handling."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from ekd import interruption
from ekd._native import build_info
from ekd.cli import (
    committee,
    doctor,
    explain,
    interop,
    model_file,
    prepare,
    quickstart,
    reproduce,
    stability,
    stages,
)
from ekd.cli import lammps as lammps_verbs
from ekd.cli import torch as torch_verbs
from ekd.errors import DataWarning, EKDError, find_code
from ekd.extras import explained
from ekd.files import cannot_write

ERROR_LOG = Path("error.log")

# Errors of the operating system, which are not bugs in ekd.
_OF_THE_SYSTEM = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
    errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE,
    errno.ENOMEM, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip


class Program(TyperGroup):
    """Turns every exception into a message and an exit code.

    0: success. 1: an error explained by the message, a failed check, or a bug in ekd, whose
    traceback is written to a file. 2: invalid command line (from typer).
    """

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parse the options before the command; ``typer`` would turn a signal into "Aborted!"."""
        try:
            return super().make_context(*args, **options)
        except KeyboardInterrupt as signalled:
            _complain(interruption.describe(signalled))
            raise typer.Exit(interruption.exit_status(signalled)) from None

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            with interruption.handled(), warnings.catch_warnings():
                warnings.showwarning = _show(warnings.showwarning)
                return super().invoke(ctx)
        except EKDError as error:
            _complain(error.for_command_line, error.code)
            raise typer.Exit(1) from None
        except ModuleNotFoundError as error:
            if (missing := explained(error)) is not None:
                _complain(str(missing), missing.code)
            else:
                _complain(f"{error}\n{_save_traceback()}")
            raise typer.Exit(1) from None
        except KeyboardInterrupt as signalled:
            _complain(f"{interruption.describe(signalled)}; --resume continues from here")
            raise typer.Exit(interruption.exit_status(signalled)) from None
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:  # the reader of the output has closed it, as head does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None  # exit status of a process killed by SIGPIPE
        except MemoryError as error:
            what = str(error).replace("std::bad_alloc", "") or "there is not enough memory"
            complaint = EKDError(
                f"{what}; request more memory, or use fewer processes and smaller blocks, chunks "
                "and batches",
                code=find_code(what),
            )
            _complain(str(complaint), complaint.code)
            raise typer.Exit(1) from None
        except OSError as error:
            if error.errno not in _OF_THE_SYSTEM:
                _complain(f"{type(error).__name__}: {error}\n{_save_traceback()}")
            elif error.filename is None:
                _complain(f"{error}; check free space, limits and permissions, and start again")
            else:
                _complain(str(cannot_write(error.filename, error)))
            raise typer.Exit(1) from None
        except Exception as error:
            if type(error).__module__.startswith(("click", "typer")):
                raise  # invalid command line: typer explains it
            _complain(f"{type(error).__name__}: {error}\n{_save_traceback()}")
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Program,
    name="ekd",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""
From coupled-cluster energies to molecular dynamics, by ensemble knowledge distillation.

**First steps**

    ekd quickstart                  run the pipeline on example data, seven minutes on two cores

    ekd prepare data.xyz -o data.h5 check and convert data of any format

    ekd run config.toml             run the pipeline on your data

    ekd run config.toml --resume    continue after an interruption

    ekd distill config.toml         run one stage: train, label, distill, evaluate, ...

    ekd evaluate run test.h5        compare the errors of models on any data

    ekd stability run mol.xyz       measure how long models survive in molecular dynamics

    ekd reproduce run               run the stages again, and compare the results

    ekd inspect student.pt          show the metadata of an exported model

    ekd import-hippynn FOLDER       convert a hippynn model to a teacher, or for LAMMPS

    ekd lammps build                build pair_style ekd for the LAMMPS of a cluster

    ekd doctor                      check what works on this computer: versions, GPUs

    ekd explain EKD-DATA-001        explain an error by the code at the end of its message

In LAMMPS: `pair_style ekd` and `pair_coeff * * student.pt O H`.
""",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ekd {build_info().EKD_VERSION}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


prepare.register(app)
stages.register(app)
reproduce.register(app)
stability.register(app)
committee.register(app)
model_file.register(app)
doctor.register(app)
explain.register(app)
lammps_verbs.register(app)
torch_verbs.register(app)
quickstart.register(app)
interop.register(app)


def _show(show_other: Callable[..., None]) -> Callable[..., None]:
    """Show data warnings in the style of ``ekd prepare``, and pass on all others."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
        if not issubclass(category, DataWarning):
            show_other(message, category, *where, **options)
            return
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print("[bold yellow]look:[/]", end=" ")
        console.print(str(message), markup=False)

    return show


def _complain(message: str, code: str | None = None) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print("[bold red]error:[/bold red]", end=" ")
    console.print(message, markup=False)
    if code is not None:
        console.print(f"for more about this error, run: ekd explain {code}", style="dim")


def _save_traceback() -> str:
    """Write the traceback of the current exception to a file; return a message with its path."""
    try:
        ERROR_LOG.write_text(f"{' '.join(sys.argv)}\n\n{traceback.format_exc()}")
    except OSError:
        traceback.print_exc()
        return "this is a bug in ekd; please report it with the traceback above"
    return f"this is a bug in ekd; please report it with the traceback in '{ERROR_LOG.resolve()}'"
