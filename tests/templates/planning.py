"""From the text of a Dockerfile to its plan, for tests."""

import fnmatch
import hashlib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from berm.errors import BermError
from berm.templates.base import ResolvedImage
from berm.templates.checks import check
from berm.templates.dockerfile import Dockerfile, parse
from berm.templates.evaluate import evaluate
from berm.templates.graph import Graph, graph
from berm.templates.keys import base_key, step_key
from berm.templates.plan import Action, Copy, Plan, Run, Settings
from berm.templates.problems import Problem, Severity

DIGEST = "sha256:" + "d" * 64
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Found:
    """What a `Folder` has for some sources."""

    digest: str = ""
    missing: Sequence[str] = ()
    ignored: Sequence[str] = ()
    errors: Sequence[BermError] = ()
    entries: Sequence[Any] = ()


@dataclass(frozen=True)
class Name:
    path: str


@dataclass(frozen=True)
class Folder:
    """A build context in memory: names and what is in them."""

    files: Mapping[str, str] = field(default_factory=dict)
    ignored: Sequence[str] = ()
    errors: Mapping[str, BermError] = field(default_factory=dict)

    def select(self, sources: Sequence[str], exclude: Sequence[str] = (), parents: bool = False) -> Found:
        found = {name: text for name, text in self.files.items() if any(_is_for(name, s) for s in sources)}
        missing = [s for s in sources if s != "." and not any(_is_for(name, s) for name in self.files)]
        errors = [self.errors[s] for s in sources if s in self.errors]
        digest = hashlib.sha256(repr((sorted(found.items()), tuple(exclude), parents)).encode()).hexdigest()
        entries = [Name(name) for name in sorted(found)]
        return Found(digest, missing, [s for s in missing if s in self.ignored], errors, entries)


def _is_for(name: str, source: str) -> bool:
    return source == "." or fnmatch.fnmatchcase(name, source) or name.startswith(source + "/")


ANY = Folder({name: name for name in ("a", "b", "c", "a.txt", "b.txt", "app/main.py", "x.tar.gz", "src/x")})


def read(text: str, file: str = "Dockerfile") -> Dockerfile:
    dockerfile, problems = parse(textwrap.dedent(text).lstrip("\n").encode(), file)
    assert not [problem for problem in problems if problem.severity is Severity.ERROR], problems
    return dockerfile


def ordered(text: str, target: str = "", **build_args: str) -> Graph:
    """The graph of a Dockerfile that has no errors."""
    found, problems = graph(read(text), build_args, target, platform="linux/amd64")
    assert found, problems
    assert found.sound, problems
    return found


def resolved(found: Graph, settings: Settings | None = None) -> Mapping[str, ResolvedImage]:
    image = settings or Settings(env={"PATH": PATH})
    return {name: ResolvedImage(name, name.partition("@")[2] or DIGEST, image) for name in found.images}


def planned(
    text: str,
    build_args: Mapping[str, str] | None = None,
    *,
    target: str = "",
    files: Folder = ANY,
    image: Settings | None = None,
    fetched: Mapping[str, str] | None = None,
) -> Plan:
    """The plan of a Dockerfile that has no errors; a server would take it."""
    found = ordered(text, target, **(build_args or {}))
    plan, problems = evaluate(found, resolved(found, image), files, fetched)
    assert plan, problems
    check(plan)
    return plan


def wrong(
    text: str,
    build_args: Mapping[str, str] | None = None,
    *,
    target: str = "",
    files: Folder = ANY,
    image: Settings | None = None,
) -> list[Problem]:
    """All errors, of whatever step from a text to a plan."""
    dockerfile, problems = parse(textwrap.dedent(text).lstrip("\n").encode(), "Dockerfile")
    found, more = graph(dockerfile, build_args or {}, target, platform="linux/amd64")
    problems = (*problems, *more)
    if found:
        plan, more = evaluate(found, resolved(found, image), files)
        problems = (*problems, *more)
        errors = any(problem.severity is Severity.ERROR for problem in more) or not found.sound
        assert (plan is None) == errors
    return [problem for problem in problems if problem.severity is Severity.ERROR]


def actions(plan: Plan, stage: int = -1) -> list[Action]:
    return [step.action for step in plan.stages[stage].steps if step.action]


def runs(plan: Plan, stage: int = -1) -> list[Run]:
    return [action for action in actions(plan, stage) if isinstance(action, Run)]


def copied(plan: Plan, stage: int = -1) -> list[Copy]:
    return [action for action in actions(plan, stage) if isinstance(action, Copy)]


def chain(plan: Plan, scope: str = "team") -> list[list[str]]:
    """The key of each stage's base and of each of its layers."""
    ends: list[str] = []
    found: list[list[str]] = []
    for stage in plan.stages:
        keys = [base_key(stage.base, ends, scope)]
        for step in stage.steps:
            if step.action:
                keys.append(step_key(keys[-1], step.action, ends, scope))
        ends.append(keys[-1])
        found.append(keys)
    return found


def last_key(plan: Plan) -> str:
    return chain(plan)[-1][-1]
