"""From the stages of a Dockerfile to a plan: every variable put in, every file found."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from berm.templates.base import BASE_TEMPLATE, ResolvedImage, is_own
from berm.templates.copies import copies
from berm.templates.dockerfile import Instruction, parse_instruction
from berm.templates.findings import TOP, Findings, InstructionError
from berm.templates.graph import Graph, GraphStage
from berm.templates.inputs import Download, Files, Inputs
from berm.templates.keys import PROXIES
from berm.templates.plan import Action, Base, Plan, Settings, Stage, Step
from berm.templates.problems import Problem
from berm.templates.runs import run
from berm.templates.state import CONFIGURE, Scope, State, begun, set_workdir, unknown
from berm.templates.text import bare, one_line

_BUILDERS_OWN: Final = ("BUILDKIT_", "DOCKER_", "SOURCE_DATE_EPOCH")
"""How the names of arguments begin that builders take without a declaration."""


def evaluate(
    graph: Graph,
    images: Mapping[str, ResolvedImage],
    files: Files,
    fetched: Mapping[str, str] | None = None,
) -> tuple[Plan | None, tuple[Problem, ...]]:
    """The plan for a graph, unless one of the problems is an error.

    `images` are what the graph's references mean; one that is not there has an empty digest in the plan,
    and nothing is known of its configuration. `fetched` has, by URL, the hash of what each of `downloads`
    became when it was uploaded.
    """
    known = fetched or {}

    def hash_of(download: Download) -> str:
        if download.url not in known:
            raise InstructionError(f"{bare(download.url)} was not downloaded")
        return known[download.url]

    evaluation = _Evaluation(graph, images, files, hash_of)
    plan = evaluation.plan()
    sound = graph.sound and not evaluation.findings.failed
    return (plan if sound else None), evaluation.findings.all()


def downloads(graph: Graph, images: Mapping[str, ResolvedImage]) -> tuple[Download, ...]:
    """What ADD wants from the network. Problems are left to `evaluate`."""
    wanted: dict[Download, None] = {}

    def note(download: Download) -> str:
        wanted[download] = None
        return ""

    _Evaluation(graph, images, _NoFiles(), note).plan()
    return tuple(wanted)


class _NoFiles:
    """A context of which nothing is asked but that every file is in it."""

    digest = ""
    missing = ()
    ignored = ()
    errors = ()

    def select(self, sources: object, exclude: object = (), parents: bool = False) -> "_NoFiles":
        return self


@dataclass
class _Evaluation:
    graph: Graph
    images: Mapping[str, ResolvedImage]
    files: Files
    fetched: Callable[[Download], str]
    findings: Findings = field(default_factory=Findings)
    done: list[State] = field(default_factory=list)
    """How each stage ended."""
    steps: int = 0
    declared: set[str] = field(default_factory=set)

    def plan(self) -> Plan:
        self.declared |= self.graph.declared
        stages = tuple(self._stage(stage) for stage in self.graph.stages)
        self._check_arguments()
        return Plan(stages, replace(self.done[-1].settings))

    def _check_arguments(self) -> None:
        always = self.graph.stages[-1].globals.keys() | PROXIES
        for name in sorted(self.graph.build_args.keys() - self.declared - always):
            if not name.startswith(_BUILDERS_OWN):
                hint = f"declare it with ARG {name}, or do not give it"
                self.findings.warn(self.graph.file, TOP, f"the build argument {name} is not used", hint)

    # Stages

    def _stage(self, stage: GraphStage) -> Stage:
        settings, args = self._begin(stage)
        state = begun(settings, Scope(stage.escape, stage.globals, self.graph.build_args), args)
        sources = {text: self._base(base) for text, base in stage.sources.items()}
        steps: list[Step] = []
        for trigger in self._triggers(stage, settings.onbuild):
            state, found = self._instruction(stage, state, trigger, {}, "ONBUILD ")
            steps += found
        for instruction in stage.body:
            state, found = self._instruction(stage, state, instruction, sources)
            steps += found
        self.done.append(state)
        return Stage(stage.name, self._base(stage.base), tuple(steps), stage.origin.line)

    def _begin(self, stage: GraphStage) -> tuple[Settings, Mapping[str, str]]:
        if stage.base.kind == "stage":
            before = self.done[int(stage.base.name)]
            return before.settings, before.args
        image = self.images.get(stage.base.name) if stage.base.kind == "image" else None
        return (image.settings if image else Settings()), {}

    def _base(self, base: Base) -> Base:
        if base.kind != "image":
            return base
        if base.name in self.images:
            return replace(base, digest=self.images[base.name].digest)
        if is_own(base.name):
            return Base("template", BASE_TEMPLATE)
        return replace(base, digest=base.name.partition("@")[2])

    def _triggers(self, stage: GraphStage, texts: tuple[str, ...]) -> Iterator[Instruction]:
        """What ONBUILD of the base left to do."""
        for text in texts:
            instruction, problems = parse_instruction(text, stage.file, stage.origin.line)
            for problem in problems:
                message = f"ONBUILD of the base: {problem.message}"
                self.findings.problems.append(replace(problem, message=message))
            if instruction is not None:
                self.declared |= {name for name, _ in instruction.pairs if instruction.keyword == "ARG"}
                yield instruction

    # Instructions

    def _instruction(
        self,
        stage: GraphStage,
        state: State,
        instruction: Instruction,
        sources: Mapping[str, Base],
        prefix: str = "",
    ) -> tuple[State, list[Step]]:
        inputs = Inputs(
            self.files,
            self.fetched,
            sources,
            lambda message, hint: self.findings.warn(stage.file, instruction, message, hint),
        )
        actions: tuple[Action | None, ...] = (None,)
        with self.findings.at(stage.file, instruction):
            state, actions = _carried_out(state, instruction, inputs)
        text = prefix + one_line(instruction)
        return state, [self._step(text, instruction.line, action) for action in actions]

    def _step(self, text: str, line: int, action: Action | None) -> Step:
        self.steps += 1
        return Step(text, line, str(self.steps), action)


def _carried_out(
    state: State, instruction: Instruction, inputs: Inputs
) -> tuple[State, tuple[Action | None, ...]]:
    keyword = instruction.keyword
    if keyword in CONFIGURE:
        return CONFIGURE[keyword](state, instruction), (None,)
    if keyword == "WORKDIR":
        changed, directory = set_workdir(state, instruction)
        return changed, (directory,)
    if keyword == "RUN":
        return state, (run(state, instruction, inputs),)
    if keyword in ("COPY", "ADD"):
        return state, copies(state, instruction, inputs)
    raise unknown(keyword)
