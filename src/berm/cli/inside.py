"""`berm sandbox exec | shell | upload | download`: work in a sandbox."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from berm.cli.sandboxes import Env, SandboxId, pairs
from berm.cli.target import target
from berm.errors import BermError, Code

if TYPE_CHECKING:
    from berm.cli.client import JSON

User = Annotated[str, typer.Option(help="The user inside; else the template's.")]
Stdin = Annotated[
    bool | None,
    typer.Option("--stdin/--no-stdin", "-i", help="Pass stdin on. Default: if it is not a terminal."),
]
Command = Annotated[
    list[str],
    typer.Argument(
        metavar="CMD", help="One word is a line for bash; several are run as they are, with no shell."
    ),
]


def execute(
    ctx: typer.Context,
    sandbox_id: SandboxId,
    command: Command,
    *,
    user: User = "",
    cwd: Annotated[str, typer.Option(help="Working directory; else the template's.")] = "",
    env: Env = None,
    stdin: Stdin = None,
) -> None:
    """Run a command in a sandbox: its output comes here, its exit code becomes ours.

    \b
    Examples:
      berm sandbox exec ID 'ls | wc -l'
      berm sandbox exec ID --cwd /tmp -- tar -xzf - < files.tar.gz
    """
    from berm.cli import processes  # noqa: PLC0415 - see Target.api

    where = {"cwd": cwd} if cwd else {}
    request: JSON = {"process": {**_program(command), "envs": pairs("--env", env or ()), **where}}
    source = sys.stdin.fileno() if _passes_stdin(stdin) else None
    with target(ctx).agent(sandbox_id, user) as agent:
        code = processes.run(agent, request, source, processes.descriptors(stdout=1, stderr=2))
    raise typer.Exit(code)


def _program(command: list[str]) -> "JSON":
    if len(command) == 1:
        return {"cmd": "/bin/bash", "args": ["-l", "-c", command[0]]}
    return {"cmd": command[0], "args": command[1:]}


def _passes_stdin(asked: bool | None) -> bool:
    """Python's stdin is None when the descriptor was closed."""
    return sys.stdin is not None and (not sys.stdin.isatty() if asked is None else asked)


def shell(ctx: typer.Context, sandbox_id: SandboxId, user: User = "") -> None:
    """Open a login shell in a sandbox, on this terminal.

    \b
    Example:
      berm sandbox shell ID --user root
    """
    from berm.cli import processes  # noqa: PLC0415 - see Target.api

    if not (os.isatty(0) and os.isatty(1)):
        raise BermError(
            Code.INVALID_ARGUMENT, "stdin or stdout is not a terminal", "use `berm sandbox exec ID -- CMD...`"
        )
    with target(ctx).agent(sandbox_id, user) as agent:
        code = processes.shell(agent, 0, 1)
    raise typer.Exit(code)


def upload(
    ctx: typer.Context,
    sandbox_id: SandboxId,
    source: Annotated[str, typer.Argument(metavar="SRC", help="A file, a directory, or - for stdin.")],
    dest: Annotated[
        str, typer.Argument(metavar="DEST", help="A path in the sandbox, relative to the user's home.")
    ],
    user: User = "",
) -> None:
    """Copy a file into a sandbox, or a directory's contents into a directory there.

    \b
    Examples:
      berm sandbox upload ID data.csv /tmp/
      berm sandbox upload ID ./project project
      date | berm sandbox upload ID - now.txt
    """
    from berm.cli import transfer  # noqa: PLC0415 - see Target.api

    with target(ctx).agent(sandbox_id, user) as agent:
        transfer.upload(agent, source, dest)


def download(
    ctx: typer.Context,
    sandbox_id: SandboxId,
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A path in the sandbox, relative to the user's home.")
    ],
    dest: Annotated[str, typer.Argument(metavar="DEST", help="A file, a directory, or - for stdout.")],
    user: User = "",
) -> None:
    """Copy a file out of a sandbox, or a directory's contents into a directory here.

    \b
    Examples:
      berm sandbox download ID result.json .
      berm sandbox download ID /var/log logs
      berm sandbox download ID result.json - | jq .
    """
    from berm.cli import transfer  # noqa: PLC0415 - see Target.api

    with target(ctx).agent(sandbox_id, user) as agent:
        transfer.download(agent, source, dest)


COMMANDS: dict[str, Callable[..., None]] = {
    "exec": execute,
    "shell": shell,
    "upload": upload,
    "download": download,
}
"""Their names under `berm sandbox`."""
