"""docs/conformance.md, made of what was seen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from berm.api import later
from tests.conformance.interface import Operation, read
from tests.conformance.known import DIFFERS, NOT_OFFERED, STEPS_DIFFER
from tests.conformance.recorder import bare

HEAD = """\
# Conformance

Every call that E2B publishes, and every method of its clients, as the tests saw them: each release is run
against a real berm, and what goes over the wire is noted. `make conformance` writes this page anew; a test
fails when it is not as generated.

- **works**: the call was answered as the published interface says.
- **differs**, **not offered**: the last column says how, or why.
- **-**: this client does not make the call, or has no such method.

*By hand* is a plain HTTP request of the tests, for what few clients do.
"""

TITLES = {
    "api": "Calls of the control plane",
    "volumecontent": "Calls about what is in a volume",
    "agent": "Calls of the agent in a sandbox",
}

HAND = "By hand"


@dataclass
class Seen:
    """Statuses by column and call, and outcomes by kind of client, step and release."""

    statuses: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    steps: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)

    def call(self, column: str, operation: Operation, status: int) -> None:
        self.statuses.setdefault((column, operation.name), set()).add(status)

    def step(self, kind: str, release: str, name: str, outcome: str) -> None:
        self.steps.setdefault(kind, {}).setdefault(name, {})[release] = outcome


def reasons() -> dict[str, str]:
    """Why a call is not offered, by its bare name."""
    calls = {bare(f"{method} {path}"): why for method, path, why in later.CALLS}
    return {**calls, **{bare(name): why for name, why in NOT_OFFERED.items()}}


def cell(operation: Operation, statuses: Iterable[int]) -> str:
    """What a column says of a call; an unexplained failure is in capitals, and the test looks for it."""
    found = set(statuses)
    declared = {int(status) for status, _ in operation.success}
    # A client that asks whether a sandbox is still running is told so by a 502.
    wrong = (
        {s for s in found if s < 400 or s >= 500}
        - declared
        - ({502} if "/health" in operation.path else set())
    )
    if not found:
        return "-"
    if operation.name in DIFFERS:
        return "differs"
    if bare(operation.name) in reasons():
        return "not offered"
    if found & declared and not wrong:
        return "works"
    return f"FAILS {' '.join(map(str, sorted(found)))}"


def outcome(name: str, text: str) -> str:
    """What a column says of a step."""
    if text == "ok":
        return "works"
    if text == "lacks":
        return "-"
    if "not offered" in text:
        return "not offered"
    return "differs" if name in STEPS_DIFFER else f"FAILS {text[:200]}"


def page(seen: Seen, columns: list[str]) -> str:
    parts = [HEAD]
    for interface, title in TITLES.items():
        parts += [f"## {title}", _calls(read(interface).operations, seen, [HAND, *columns])]
    for kind, steps in seen.steps.items():
        parts += [f"## {kind}", _steps(steps)]
    return "\n".join(parts)


def _calls(operations: Iterable[Operation], seen: Seen, columns: list[str]) -> str:
    rows = [["Call", *columns, ""]]
    why = reasons() | {bare(name): text for name, text in DIFFERS.items()}
    for operation in operations:
        cells = [cell(operation, seen.statuses.get((c, operation.name), ())) for c in columns]
        told = why.get(bare(operation.name), "") if {"differs", "not offered"} & set(cells) else ""
        rows.append([f"`{operation.name}`", *cells, told])
    return _table(rows)


def _steps(steps: Mapping[str, Mapping[str, str]]) -> str:
    releases = sorted({r for by in steps.values() for r in by}, key=lambda r: tuple(map(int, r.split("."))))
    rows = [["Method", *releases, ""]]
    for name, by in steps.items():
        cells = [outcome(name, by.get(release, "lacks")) for release in releases]
        rows.append([f"`{name}`", *cells, STEPS_DIFFER.get(name, "") if "differs" in cells else ""])
    return _table(rows)


def _table(rows: list[list[str]]) -> str:
    head, *rest = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *rest]) + "\n"
