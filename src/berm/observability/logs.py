"""Log levels as the API names them, and how the server writes its own log."""

import logging

LEVELS = ("debug", "info", "warn", "error")
"""Least severe first."""

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(level: str) -> None:
    """Write the log to standard error, from `level` (debug, info, warning or error) on."""
    logging.basicConfig(format=_FORMAT, level=level.upper(), force=True)
    # It writes a line for every command that is run in a sandbox.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def at_least(level: str) -> tuple[str, ...]:
    """One of LEVELS and all that are more severe."""
    return LEVELS[LEVELS.index(level) :]


def known_level(level: str) -> str:
    """What to call a level that a sandbox made up."""
    return level if level in LEVELS else "info"
