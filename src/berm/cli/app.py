"""The root command, and what becomes of errors."""

import errno
import os
import sys
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from berm import __version__, config
from berm.cli import ci, inside, keys, output, pauses, sandboxes, server, snapshots, teams, templates, volumes
from berm.cli.doctor import doctor
from berm.cli.target import Target
from berm.errors import BermError, Code

EXIT_CODES = {
    Code.INVALID_ARGUMENT: 2,
    Code.UNAUTHENTICATED: os.EX_NOPERM,
    Code.PERMISSION_DENIED: os.EX_NOPERM,
    Code.NOT_FOUND: os.EX_NOINPUT,
    Code.CONFLICT: os.EX_CANTCREAT,
    Code.TOO_LARGE: os.EX_DATAERR,
    Code.RATE_LIMITED: os.EX_TEMPFAIL,
    Code.NO_SPACE: os.EX_IOERR,
    Code.UNAVAILABLE: os.EX_UNAVAILABLE,
    Code.TIMED_OUT: os.EX_TEMPFAIL,
    Code.NOT_OFFERED: os.EX_CONFIG,
    Code.INTERNAL: os.EX_SOFTWARE,
}
"""The exit code of each kind of error, after sysexits.h(3head); 2 is also what a wrong option gives."""

app = typer.Typer(
    help="Sandboxes for untrusted code on a Linux machine you own, driven by the E2B SDKs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        output.line(__version__)
        raise typer.Exit


@app.callback(epilog='Begin with: berm doctor, berm up, eval "$(berm env)".')
def root(
    ctx: typer.Context,
    url: Annotated[str, typer.Option(help="The server; else BERM_URL, E2B_API_URL, or this machine's.")] = "",
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    settings = config.load()
    ctx.obj = Target(settings, config.load_client(settings, url))


for command in (server.up, server.down, server.status, server.env, doctor):
    app.command()(command)
for name, command in {**inside.COMMANDS, **pauses.COMMANDS}.items():
    sandboxes.app.command(name)(command)
app.add_typer(sandboxes.app, name="sandbox")
app.add_typer(templates.app, name="template")
app.add_typer(snapshots.app, name="snapshot")
app.add_typer(ci.app, name="ci")
app.add_typer(keys.app, name="key")
app.add_typer(teams.app, name="team")
app.add_typer(volumes.app, name="volume")


def main() -> None:
    """The entry point: runs the command, prints errors as sentences, exits."""
    try:
        app()
    except SystemExit as end:  # how typer ends every command
        _leave(end.code if isinstance(end.code, int) else bool(end.code))
    except BermError as error:
        _leave(_report(error))
    except OSError as error:
        _leave(_report(_local_error(error)))


def _leave(code: int) -> NoReturn:
    """End at once: a thread that waits for input may hold a stream, and Python's own end aborts on that."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _report(error: BermError) -> int:
    output.note(f"error: {error.message}")
    if error.hint:
        output.note(f"hint: {error.hint}")
    return EXIT_CODES[error.code]


_ERRNO_CODES = {
    errno.EACCES: (Code.PERMISSION_DENIED, "run it as root, as with sudo"),
    errno.EPERM: (Code.PERMISSION_DENIED, "run it as root, as with sudo"),
    errno.ENOENT: (Code.NOT_FOUND, ""),
    errno.ENOSPC: (Code.NO_SPACE, "free some space on that disk"),
}


def _local_error(error: OSError) -> BermError:
    """What this machine refused, as an error for a person."""
    code, hint = _ERRNO_CODES.get(error.errno or 0, (Code.INTERNAL, ""))
    about = f"{error.filename}: " if error.filename else ""
    return BermError(code, f"{about}{error.strerror or error}", hint)
