"""`berm doctor`: whether this machine can run sandboxes."""

from dataclasses import asdict
from typing import Annotated

import typer

from berm.cli import output
from berm.cli.checks import NAMES, Host, Level, run_checks
from berm.cli.target import target
from berm.errors import BermError, Code


def doctor(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Check what this machine has against what sandboxes need. Exit code 1 if something is missing.

    \b
    Examples:
      berm doctor
      berm doctor --json
    """
    config = target(ctx).config
    checks = run_checks(Host(home=config.home, domain=config.public_domain))
    if as_json:
        output.as_json([asdict(check) for check in checks])
    else:
        output.table(
            ("check", "found", "wanted", "result", "fix"),
            ((c.name, c.found, c.wanted, c.level, c.fix) for c in checks),
        )
    if any(check.level is Level.FAIL for check in checks):
        raise typer.Exit(1)


def require(host: Host) -> None:
    """Raises BermError NOT_OFFERED when this machine cannot run sandboxes, after a line for each reason.

    A line tells of names that do not resolve, too.
    """
    checks = run_checks(host)
    failed = [check for check in checks if check.level is Level.FAIL]
    unresolved = [check for check in checks if check.name == NAMES and check.level is Level.WARN]
    for check in (*failed, *unresolved):
        output.note(f"{check.name}: found {check.found}, wanted {check.wanted}; {check.fix}")
    if failed:
        raise BermError(
            Code.NOT_OFFERED, "this machine cannot run sandboxes yet", "`berm doctor` shows every requirement"
        )
