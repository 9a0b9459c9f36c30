"""Real builds: what steps do is in the sandboxes that are started from them."""

import json
from pathlib import Path

from tests.building.folder import BASE, Folder

STAGES = f"""\
ARG BASE={BASE}
FROM $BASE AS tools
WORKDIR /out
RUN echo tool > tool && ln -s tool link && chmod 750 tool
FROM $BASE
ARG WHO=nobody
ENV GREETING="hello $WHO" PATH=/opt/bin:$PATH
COPY --from=tools --chown=user:user /out /opt/bin
COPY --chmod=700 run.sh src/ /app/
COPY <<EOF /app/here
it is $GREETING
EOF
RUN <<EOF
set -e
cd /app
cat here > out
rm here
EOF
SHELL ["/bin/bash", "-c"]
RUN [[ -n $BASH_VERSION ]] && echo "$BASH_VERSION" > /bash
USER user
WORKDIR /app
"""
FILES = {
    "run.sh": "#!/bin/sh\necho ran\n",
    "src/one": "1",
    "src/two/three": "3",
    ".dockerignore": "src/two\n",
}


def test_the_language_as_people_use_it(folder: Folder) -> None:
    folder.write(STAGES, FILES)

    folder.build("--build-arg", "WHO=you")

    shown = folder.run(
        'pwd; stat -c "%n %a %U" /opt/bin/tool /app/run.sh /app/one; cat /app/out; ls /app; '
        "readlink /opt/bin/link; /app/run.sh 2> /dev/null || echo not mine; echo $GREETING; "
        "test -s /bash && echo bash"
    )
    assert shown.splitlines() == [
        *("/app", "/opt/bin/tool 750 user", "/app/run.sh 700 root", "/app/one 700 root"),
        *("it is hello you", "one", "out", "run.sh", "tool", "not mine", "hello you", "bash"),
    ]
    settings = folder.newest()["settings"]
    assert (settings["user"], settings["workdir"]) == ("user", "/app")


def test_a_copy_of_a_part_and_with_its_directories(folder: Folder) -> None:
    packages = {f"packages/{name}/{file}": name for name in "ab" for file in ("package.json", "src/index.ts")}
    dockerfile = (
        f"FROM {BASE} AS build\nWORKDIR /src\nCOPY --parents packages/*/package.json ./\n"
        "COPY --exclude=**/*.md --exclude=secret . ./\n"
        f"FROM {BASE}\nCOPY --from=build --parents --exclude=**/package.json /src/./packages /app/\n"
        "COPY --from=build --chmod=u=rwX,go= /src/tool /app/\n"
    )
    files = {**packages, "README.md": "", "packages/a/NOTES.md": "", "secret/key": "", "tool": "#!/bin/sh\n"}
    folder.write(dockerfile, files)
    folder.build()
    shown = folder.run("cd /app && find . -type f -printf '%p %m\\n' | sort")
    assert shown == "./packages/a/src/index.ts 644\n./packages/b/src/index.ts 644\n./tool 600\n"

    folder.write(dockerfile, {**files, "secret/key": "changed", "packages/b/src/index.ts": "changed"})
    folder.build()

    assert folder.cached()[:2] == [True, True]
    assert folder.run("cat /app/packages/b/src/index.ts") == "changed"


def test_only_what_changed_is_built_again(folder: Folder) -> None:
    dockerfile = f"FROM {BASE}\nRUN echo one > /one\nCOPY a /a\nRUN cat /a > /b\n"
    folder.write(dockerfile, {"a": "first"})
    folder.build()
    folder.write(f"# a comment\n{dockerfile}", {"a": "first", "other": "not copied"})
    folder.build()
    assert folder.cached() == [True] * 4

    folder.write(dockerfile, {"a": "second"})
    folder.build()

    assert folder.cached() == [True, False, False, False]
    assert folder.run("cat /b") == "second"


def test_a_stage_that_nothing_needs_is_not_built(folder: Folder) -> None:
    folder.write(f"FROM {BASE} AS broken\nRUN false\nFROM {BASE}\nRUN true\n")

    folder.build()

    assert "failed" in folder.fails("--target", "broken")


def test_mounts(folder: Folder) -> None:
    folder.write(
        f"""\
FROM {BASE} AS made
RUN echo from the stage > /file
FROM {BASE}
RUN --mount=type=bind,source=data,target=/data cat /data/x > /bound && ! touch /data/y
RUN --mount=type=bind,from=made,source=/file,target=/mnt/file cat /mnt/file >> /bound
WORKDIR /src
RUN --mount=type=bind,target=.,rw mkdir out && cp data/x out/ && echo written > data/x \\
    && cat out/x data/x >> /bound
RUN --mount=type=bind,target=. cat data/x >> /bound && ! ls out
RUN --mount=type=tmpfs,target=/scratch touch /scratch/z && df /scratch | grep -q tmpfs
RUN --mount=type=cache,target=/kept echo more >> /kept/log && cp /kept/log /log
RUN ! ls /data/* /scratch/* /kept/* 2> /dev/null
""",
        {"data/x": "from the context\n"},
    )

    folder.build()
    folder.build("--no-cache")

    shown = ["from the context", "from the stage", "from the context", "written", "from the context"]
    assert folder.run("cat /bound; ls -A /src").splitlines() == shown
    assert folder.run("cat /log") == "more\nmore\n", "a cache outlives the build"


def test_a_step_without_network(folder: Folder) -> None:
    ask = "curl --silent --max-time 2 http://192.0.2.1 || [ $? = 7 ]"
    folder.write(f"FROM {BASE}\nRUN --network=none {ask}\n")

    folder.build()


def test_a_failing_step_says_where_and_why(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nRUN echo fine\nRUN echo why it fails >&2; \\\n    exit 7\nRUN echo never\n")

    said = folder.fails()

    assert f"{folder.path}/Dockerfile:3" in said
    assert "exit status 7" in said
    assert "why it fails" in said
    assert folder.newest()["cause"] == "step_failed"


def test_start_and_ready_commands(folder: Folder) -> None:
    toml = (
        'start_cmd = "cd /srv && python3 -m http.server 8000"\n'
        'ready_cmd = "curl --fail --silent http://127.0.0.1:8000/page"\n'
    )
    folder.write(f"FROM {BASE}\nRUN echo served > /srv/page\n", toml=toml)

    folder.build()

    assert folder.run("curl --silent http://127.0.0.1:8000/page") == "served\n"


def test_a_build_that_is_not_healthy_is_not_tagged(folder: Folder) -> None:
    check = "HEALTHCHECK --interval=1s --retries=2 CMD test -e /healthy\n"
    folder.write(f"FROM {BASE}\nRUN touch /healthy\n{check}")
    folder.build()
    folder.write(f"FROM {BASE}\n{check}")

    folder.fails()

    assert folder.newest()["cause"] == "health_check"
    assert folder.run("ls /healthy") == "/healthy\n"


def test_going_back_is_one_step(folder: Folder) -> None:
    for version in ("one", "two"):
        folder.write(f"FROM {BASE}\nRUN echo {version} > /version\n")
        folder.build()
    running = folder.berm.berm("sandbox", "create", folder.name).stdout.strip()

    folder.berm.berm("template", "rollback", folder.name)

    assert folder.run("cat /version") == "one\n"
    assert folder.run("cat /version", f"{folder.name}@2") == "two\n"
    shown = folder.berm.berm("sandbox", "exec", running, "--", "cat", "/version").stdout
    assert shown == "two\n", "what runs goes on"
    folder.berm.berm("sandbox", "kill", running)


def test_a_version_never_moves(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nRUN echo one > /version\n")
    folder.build("--tag", "v1.0.0")
    folder.write(f"FROM {BASE}\nRUN echo two > /version\n")

    said = folder.build("--tag", "v1.0.0", check=False)

    assert said.returncode != 0
    assert "v1.0.0" in said.stderr
    assert folder.run("cat /version", f"{folder.name}:v1.0.0") == "one\n"


def test_a_trial_leaves_nothing(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nRUN echo tried\n")

    said = folder.build("--dry-run=build")

    assert "tried" in said.stdout + said.stderr
    assert folder.name not in _names(folder)


def _names(folder: Folder) -> list[str]:
    listed = json.loads(folder.berm.berm("template", "list", "--json").stdout)
    return [name for found in listed for name in found["names"]]


def test_a_dry_run_changes_nothing(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nRUN echo one\n")
    before = _state(folder)

    folder.build("--dry-run")

    assert _state(folder) == before
    assert not (folder.path / "e2b.lock").exists()


def _state(folder: Folder) -> tuple[list[str], list[str], list[str]]:
    pool: Path = folder.berm.pool
    layers = sorted(p.name for p in (pool / "layers").iterdir())
    return _names(folder), layers, sorted(p.name for p in pool.iterdir())
