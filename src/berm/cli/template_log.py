"""A build's log as it grows."""

from collections.abc import Callable, Generator, Sequence

from berm.cli.client import JSON, Client

_ACTIVE = ("building", "waiting")
_WAIT_SECONDS = 20
"""How long the server may hold an answer until there is news; below the client's own patience."""


def entries(api: Client, build: Sequence[str], *, follow: bool) -> Generator[JSON, None, JSON]:
    """The entries of a build's log; its status is what is returned. `build` is its path.

    With `follow`, until the build is over; else those that are there.
    """
    offset = 0
    while True:
        query = {"logsOffset": str(offset), **({"wait": str(_WAIT_SECONDS)} if follow else {})}
        status: JSON = api.get(*build, "status", query=query)
        found = status.get("logEntries", [])
        yield from found
        offset += len(found)
        if not found and not (follow and status["status"] in _ACTIVE):
            return status


def follow(api: Client, build: Sequence[str], each: Callable[[JSON], None]) -> JSON:
    """Call `each` with every entry until the build is over; returns its status."""
    log = entries(api, build, follow=True)
    while True:
        try:
            each(next(log))
        except StopIteration as end:
            status: JSON = end.value
            return status


def shown(entry: JSON) -> str:
    """An entry as a line for a person. A step's first has its name already."""
    message = str(entry.get("message", ""))
    mark = f"[{entry['step']}] " if entry.get("step") else ""
    return message if message.startswith(mark) else mark + message
