"""Advice on a template that can be built: what is nearly always a mistake, and no error."""

from collections.abc import Callable, Collection

from berm.templates.advice import RULES, Listing, Subject
from berm.templates.definition import Definition
from berm.templates.dockerfile import Dockerfile
from berm.templates.graph import Graph
from berm.templates.plan import Plan
from berm.templates.problems import Problem, Severity


def warnings(
    dockerfile: Dockerfile,
    graph: Graph,
    plan: Plan,
    definition: Definition | None = None,
    *,
    files: Listing | None = None,
    locked: Collection[str] = (),
    read: Callable[[str], bytes] | None = None,
) -> tuple[Problem, ...]:
    """What should be thought about; each message begins with the name of its rule.

    `# check=skip=RuleA,RuleB` (or `all`) at the top of the Dockerfile leaves rules out, `error=true` makes
    errors of what is left. `files` are what COPY takes, `locked` the references that a lock file pins, and
    `read` gives the content of a file that is copied.
    """
    subject = Subject(dockerfile, graph, plan, definition, files, locked, read)
    skipped, severity = _wishes(dockerfile.directives.get("check", ""))
    found = (
        Problem(each.file, each.place.line, each.place.column, f"{name}: {each.message}", each.hint, severity)
        for name, rule in RULES.items()
        if not {"all", name.lower()} & skipped
        for each in rule(subject)
    )
    return tuple(sorted(set(found)))


def _wishes(text: str) -> tuple[set[str], Severity]:
    values = dict(part.strip().partition("=")[::2] for part in text.lower().split(";"))
    skipped = {name.strip() for name in values.get("skip", "").split(",")}
    return skipped, Severity.ERROR if values.get("error", "").strip() == "true" else Severity.WARNING
