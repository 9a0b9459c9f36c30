import pytest

from berm.templates.plan import Directory, Health, Run, Settings
from tests.templates.planning import PATH, actions, planned, runs, wrong


def settings(body: str, image: Settings | None = None) -> Settings:
    return planned(f"FROM a\n{body}\n", image=image).settings


def env(body: str) -> dict[str, str]:
    found = dict(settings(body).env)
    assert found.pop("PATH") == PATH
    return found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("ENV A=1", {"A": "1"}),
        ("ENV A 1 2", {"A": "1 2"}),
        ("ENV A=1\nENV A=2", {"A": "2"}),
        ("ENV A=1\nENV A=2 B=$A", {"A": "2", "B": "1"}),
        ("ENV A=$MISSING", {"A": ""}),
        ("ENV A=x\nENV $A=y", {"A": "x", "x": "y"}),
        ("ENV A='$B'\nENV C=\"$A\"", {"A": "$B", "C": "$B"}),
        ("ENV A=${B:-c}", {"A": "c"}),
        ("ARG X=1\nENV A=$X", {"A": "1"}),
        ("ENV X=env\nARG X=arg\nENV A=$X", {"X": "env", "A": "env"}),
        ("ARG X=arg\nENV X=env\nENV A=$X", {"X": "env", "A": "env"}),
    ],
)
def test_env(body: str, expected: dict[str, str]) -> None:
    assert env(body) == expected


@pytest.mark.parametrize(
    ("text", "build_args", "expected"),
    [
        ("FROM a\nARG X=1\nENV A=$X", {}, "1"),
        ("FROM a\nARG X=1\nENV A=$X", {"X": "2"}, "2"),
        ("FROM a\nARG X\nENV A=$X", {"X": "2"}, "2"),
        ("FROM a\nARG X\nENV A=${X-none}", {}, "none"),
        ("FROM a\nENV A=${X-none}\nARG X=1", {}, "none"),
        ("ARG X=1\nFROM a\nENV A=${X-none}", {}, "none"),
        ("ARG X=1\nFROM a\nARG X\nENV A=$X", {}, "1"),
        ("ARG X=1\nFROM a\nARG X=2\nENV A=$X", {}, "2"),
        ("ARG X=1\nFROM a\nARG X=2\nENV A=$X", {"X": "3"}, "3"),
        ("ARG X=1\nFROM a\nARG X=\nENV A=${X-none}", {}, ""),
        ("FROM a\nARG X=1\nARG X=2\nENV A=$X", {}, "2"),
        ("FROM a\nARG X=1 Y=$X\nENV A=${Y-none}", {}, ""),
        ("FROM a\nARG X=1\nARG Y=$X\nENV A=$Y", {}, "1"),
        ("FROM a\nARG TARGETARCH\nENV A=$TARGETARCH", {}, "amd64"),
        ("FROM a\nARG TARGETPLATFORM\nENV A=$TARGETPLATFORM", {}, "linux/amd64"),
        ("FROM a\nENV A=${TARGETARCH-none}", {}, "none"),
        ("FROM a\nARG TARGETARCH\nENV A=$TARGETARCH", {"TARGETARCH": "x"}, "x"),
        ("FROM a AS b\nARG X=1\nFROM b\nENV A=${X-none}", {}, "1"),
        ("FROM a AS b\nARG X=1\nFROM c\nENV A=${X-none}", {}, "none"),
        ("FROM a AS b\nENV X=1\nFROM b\nENV A=${X-none}", {}, "1"),
    ],
)
def test_arg(text: str, build_args: dict[str, str], expected: str) -> None:
    assert planned(text + "\n", build_args).settings.env["A"] == expected


def test_a_base_gives_its_environment() -> None:
    found = settings("ENV B=$A", Settings(env={"A": "1", "PATH": "/bin"}))
    assert found.env == {"A": "1", "B": "1", "PATH": "/bin"}


def test_a_base_without_a_path_gets_one() -> None:
    assert settings("ENV A=1", Settings()).env["PATH"] == PATH
    assert planned("FROM scratch\nCOPY a /\n").settings.env == {"PATH": PATH}


@pytest.mark.parametrize(
    ("before", "body", "path"),
    [
        ("", "WORKDIR app", "/app"),
        ("", "WORKDIR /app", "/app"),
        ("/srv", "WORKDIR app", "/srv/app"),
        ("/srv", "WORKDIR /app", "/app"),
        ("/srv", "WORKDIR ..", "/"),
        ("/srv", "WORKDIR ../..", "/"),
        ("/srv", "WORKDIR .", "/srv"),
        ("", "WORKDIR /a/", "/a"),
        ("", "WORKDIR //a//b", "/a/b"),
        ("", "WORKDIR a\nWORKDIR b", "/a/b"),
        ("", "ENV D=/x\nWORKDIR $D/y", "/x/y"),
        ("", "WORKDIR /with blank", "/with blank"),
    ],
)
def test_workdir(before: str, body: str, path: str) -> None:
    plan = planned(f"FROM a\n{body}\nRUN x\n", image=Settings(workdir=before))
    assert plan.settings.workdir == path
    assert Directory(path) in actions(plan)
    assert runs(plan)[0].workdir == path


def test_without_a_directory_commands_run_in_the_root() -> None:
    plan = planned("FROM a\nRUN x\n")
    assert plan.settings.workdir == ""
    assert runs(plan)[0].workdir == "/"


@pytest.mark.parametrize(
    ("body", "user", "runs_as"),
    [
        ("RUN x", "", "root"),
        ("USER me\nRUN x", "me", "me"),
        ("USER 1000:1000\nRUN x", "1000:1000", "1000:1000"),
        ("ARG U=me\nUSER $U:staff\nRUN x", "me:staff", "me:staff"),
        ("RUN x\nUSER me", "me", "root"),
    ],
)
def test_user(body: str, user: str, runs_as: str) -> None:
    plan = planned(f"FROM a\n{body}\n")
    assert (plan.settings.user, runs(plan)[0].user) == (user, runs_as)


def test_a_base_gives_its_user() -> None:
    plan = planned("FROM a\nRUN x\n", image=Settings(user="node"))
    assert (plan.settings.user, runs(plan)[0].user) == ("node", "node")


@pytest.mark.parametrize(
    ("body", "cmd", "entrypoint"),
    [
        ('CMD ["a", "b"]', ("a", "b"), ("old",)),
        ("CMD a b", ("/bin/sh", "-c", "a b"), ("old",)),
        ('SHELL ["/bin/bash", "-c"]\nCMD a', ("/bin/bash", "-c", "a"), ("old",)),
        ('CMD a\nSHELL ["/bin/bash", "-c"]', ("/bin/sh", "-c", "a"), ("old",)),
        ('ENTRYPOINT ["e"]', (), ("e",)),
        ("ENTRYPOINT e $X", (), ("/bin/sh", "-c", "e $X")),
        ('CMD ["c"]\nENTRYPOINT ["e"]', ("c",), ("e",)),
        ('ENTRYPOINT ["e"]\nCMD ["c"]', ("c",), ("e",)),
        ("ENTRYPOINT []", (), ()),
        ("CMD []", (), ("old",)),
        ("ENV A=1", ("inherited",), ("old",)),
    ],
)
def test_cmd_and_entrypoint(body: str, cmd: tuple[str, ...], entrypoint: tuple[str, ...]) -> None:
    found = settings(body, Settings(cmd=("inherited",), entrypoint=("old",)))
    assert (found.cmd, found.entrypoint) == (cmd, entrypoint)


def test_an_entrypoint_clears_the_command_of_an_earlier_stage() -> None:
    plan = planned('FROM a AS b\nCMD ["c"]\nFROM b\nENTRYPOINT ["e"]\n')
    assert plan.settings.cmd == ()


def test_a_shell_is_kept_for_the_next_stage() -> None:
    plan = planned('FROM a AS b\nSHELL ["/bin/bash", "-o", "pipefail", "-c"]\nFROM b\nRUN x | y\n')
    assert runs(plan)[0].argv == ("/bin/bash", "-o", "pipefail", "-c", "x | y")
    assert plan.settings.shell == ("/bin/bash", "-o", "pipefail", "-c")


def test_a_base_gives_its_shell() -> None:
    ash = ("/bin/ash", "-ec")
    plan = planned("FROM a\nRUN x\n", image=Settings(shell=ash))
    assert runs(plan)[0].argv == (*ash, "x")


def test_labels() -> None:
    found = settings('ARG V=1\nLABEL a=$V b="c d"\nLABEL a=2', Settings(labels={"old": "1", "b": "0"}))
    assert found.labels == {"old": "1", "a": "2", "b": "c d"}


def test_a_maintainer_is_a_label() -> None:
    assert settings("MAINTAINER Me <me@example.com>").labels == {"maintainer": "Me <me@example.com>"}


@pytest.mark.parametrize(
    ("body", "ports"),
    [
        ("EXPOSE 80", ("80/tcp",)),
        ("EXPOSE 80 443/TCP 53/udp", ("80/tcp", "443/tcp", "53/udp")),
        ("EXPOSE 8000-8002/udp", ("8000/udp", "8001/udp", "8002/udp")),
        ("EXPOSE 80\nEXPOSE 80 81", ("80/tcp", "81/tcp")),
        ("ARG P=90\nEXPOSE $P", ("90/tcp",)),
        ('ENV P="90 91"\nEXPOSE $P', ("90/tcp", "91/tcp")),
    ],
)
def test_ports(body: str, ports: tuple[str, ...]) -> None:
    assert settings(body).ports == ports


@pytest.mark.parametrize(
    ("body", "volumes"),
    [
        ("VOLUME /data", ("/data",)),
        ("VOLUME /a /b", ("/a", "/b")),
        ('VOLUME ["/a", "/b c"]', ("/a", "/b c")),
        ("ENV D=/x\nVOLUME $D\nVOLUME /x", ("/x",)),
    ],
)
def test_volumes_are_recorded(body: str, volumes: tuple[str, ...]) -> None:
    assert settings(body).volumes == volumes


@pytest.mark.parametrize("signal", ["SIGTERM", "term", "9", "SIGRTMIN+3"])
def test_stop_signal(signal: str) -> None:
    assert settings(f"STOPSIGNAL {signal}").stop_signal == signal


@pytest.mark.parametrize(
    ("body", "health"),
    [
        ("HEALTHCHECK CMD curl -f localhost", Health(("/bin/sh", "-c", "curl -f localhost"))),
        ('HEALTHCHECK CMD ["curl", "x"]', Health(("curl", "x"))),
        ("HEALTHCHECK --interval=1m30s --retries=5 CMD x", Health(("/bin/sh", "-c", "x"), 90.0, retries=5)),
        (
            "HEALTHCHECK --timeout=500ms --start-period=2s --start-interval=1s CMD x",
            Health(("/bin/sh", "-c", "x"), timeout=0.5, start_period=2.0, start_interval=1.0),
        ),
        ("HEALTHCHECK --interval=0s --retries=0 CMD x", Health(("/bin/sh", "-c", "x"))),
        ("HEALTHCHECK CMD x\nHEALTHCHECK NONE", None),
        ("HEALTHCHECK NONE", None),
    ],
)
def test_health_check(body: str, health: Health | None) -> None:
    assert settings(body, Settings(health=Health(("old",)))).health == health


def test_a_health_check_is_inherited() -> None:
    assert settings("ENV A=1", Settings(health=Health(("old",)))).health == Health(("old",))


def test_triggers_are_kept_as_they_are_written() -> None:
    body = "ENV A=1\nONBUILD RUN echo $A\nONBUILD COPY <<E /x\ntext $A\nE"
    assert settings(body).onbuild == ("RUN echo $A", "COPY <<E /x\ntext $A\nE")


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        ("WORKDIR $D", "WORKDIR is empty", "variables"),
        ("USER $U", "USER has ''", "name or number"),
        ("USER a:b:c", "USER has 'a:b:c'", "user:group"),
        ("USER a b", "USER has 'a b'", "user:group"),
        ("EXPOSE 0", "EXPOSE has '0'", "1 to 65535"),
        ("EXPOSE 65536", "EXPOSE has '65536'", "8000-8010"),
        ("EXPOSE 90-80", "EXPOSE has '90-80'", "8000-8010"),
        ("EXPOSE http", "EXPOSE has 'http'", "53/udp"),
        ("EXPOSE 80/quic", "EXPOSE has '80/quic'", "53/udp"),
        ("EXPOSE 8080:80", "EXPOSE has '8080:80'", "8080"),
        ("EXPOSE 1-60000", "EXPOSE has '1-60000'", "8000-8010"),
        ("VOLUME $V", "VOLUME has an empty path", "variables"),
        ("STOPSIGNAL $S", "STOPSIGNAL has ''", "SIGTERM"),
        ("STOPSIGNAL SIG TERM", "STOPSIGNAL has", "SIGTERM"),
        ("HEALTHCHECK --interval=soon CMD x", "--interval='soon'", "1m30s"),
        ("HEALTHCHECK --timeout=1us CMD x", "--timeout='1us'", "500ms"),
        ("HEALTHCHECK --timeout=-1s CMD x", "--timeout='-1s'", "30s"),
        ("HEALTHCHECK --retries=many CMD x", "--retries='many'", "1 to 999"),
        ("HEALTHCHECK --retries=-1 CMD x", "--retries='-1'", "1 to 999"),
        ("ENV $N=1", "cannot have the name ''", "name=value"),
        ("LABEL $N=1", "cannot have the name ''", "name=value"),
        ("ENV A=${B:?must-be-set}", "B: must-be-set", ""),
    ],
)
def test_what_is_wrong_has_its_place(body: str, message: str, hint: str) -> None:
    (problem,) = wrong(f"FROM a\n\n  {body}\n")
    assert (problem.line, problem.column) == (3, 3)
    assert message in problem.message
    assert hint in problem.hint


def test_instructions_that_touch_no_file_are_steps_without_an_action() -> None:
    plan = planned("FROM a\nARG X=1\nENV A=1\nUSER me\nCMD x\nEXPOSE 80\n")
    assert [(step.name, step.line, step.action) for step in plan.stages[0].steps] == [
        (str(number), number + 1, None) for number in range(1, 6)
    ]


def test_arguments_and_the_environment_of_a_command() -> None:
    plan = planned("FROM a\nARG X=1 Y Z=2\nENV Z=3\nRUN x\n", {"X": "9"})
    assert runs(plan)[0] == Run(("/bin/sh", "-c", "x"), env={"PATH": PATH, "Z": "3"}, args={"X": "9"})
    assert plan.settings.env == {"PATH": PATH, "Z": "3"}


def test_proxies_need_no_declaration_and_are_not_the_template_s() -> None:
    plan = planned("FROM a\nRUN x\nCMD y\n", {"https_proxy": "http://p", "NO_PROXY": "n"})
    assert runs(plan)[0].args == {"https_proxy": "http://p", "NO_PROXY": "n"}
    assert plan.settings.env == {"PATH": PATH}


def test_a_proxy_that_is_declared_is_part_of_what_is_built() -> None:
    plan = planned("FROM a\nRUN x\nARG http_proxy\nRUN y\n", {"http_proxy": "http://p"})
    before, after = runs(plan)
    assert (before.env.get("http_proxy"), before.args) == (None, {"http_proxy": "http://p"})
    assert (after.env["http_proxy"], after.args) == ("http://p", {})
    assert "http_proxy" not in plan.settings.env
