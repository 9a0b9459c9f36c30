"""What the agent offers beyond what the SDKs ask of it, through the gateway."""

import gzip
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from e2b import Sandbox

from tests.agent.wire import call, end, output, stream
from tests.instance import Instance

DATA = bytes(range(256)) * 1000


@pytest.fixture
def agent(sandbox: Sandbox, berm: Instance) -> Iterator[httpx.Client]:
    """What the SDKs do not offer, asked through the gateway."""
    headers = {
        "E2b-Sandbox-Id": sandbox.sandbox_id,
        "E2b-Sandbox-Port": "49983",
        "X-Access-Token": sandbox._envd_access_token or "",
        "Accept-Encoding": "identity",
    }
    with httpx.Client(base_url=berm.url, headers=headers) as client:
        yield client


def test_ranges_and_conditions(sandbox: Sandbox, agent: httpx.Client) -> None:
    sandbox.files.write("data", DATA)
    whole = agent.get("/files?path=data")
    assert (whole.content, whole.headers["content-length"]) == (DATA, str(len(DATA)))
    part = agent.get("/files?path=data", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, DATA[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(DATA)}"
    assert agent.get("/files?path=data", headers={"Range": "bytes=-5"}).content == DATA[-5:]
    assert agent.get("/files?path=data", headers={"Range": f"bytes={len(DATA)}-"}).status_code == 416
    tag = {"If-None-Match": whole.headers["etag"]}
    assert agent.get("/files?path=data", headers=tag).status_code == 304
    assert agent.head("/files?path=data").headers["content-length"] == str(len(DATA))
    sandbox.files.write("data", b"other")
    assert agent.get("/files?path=data", headers=tag).content == b"other"
    stale = {"Range": "bytes=0-1", "If-Range": whole.headers["etag"]}
    assert agent.get("/files?path=data", headers=stale).status_code == 200


def test_compressed_is_what_was_asked_for(sandbox: Sandbox, agent: httpx.Client) -> None:
    sandbox.files.write("data", b"again " * 100_000)
    with agent.stream("GET", "/files?path=data", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == b"again " * 100_000
    assert len(raw) < 60_000


def test_signs_of_life(sandbox: Sandbox, agent: httpx.Client) -> None:
    """As often as the client wishes, from commands that say nothing and from watches that see nothing."""
    sandbox.files.make_dir("watched")
    quiet = {"process": {"cmd": "/bin/sleep", "args": ["2.5"]}, "stdin": False}
    received = stream(agent, "process.Process/Start", quiet, keepalive_ping_interval="1")
    alive = [message for _, message in received].count({"event": {"keepalive": {}}})
    assert alive >= 2
    watch = {"path": "watched"}
    timing = {"keepalive_ping_interval": "1", "connect_timeout_ms": "2500"}
    messages = [message for _, message in stream(agent, "filesystem.Filesystem/WatchDir", watch, **timing)]
    assert messages[0] == {"start": {}}
    assert messages.count({"keepalive": {}}) >= 2
    assert messages[-1]["error"]["code"] == "deadline_exceeded"


def test_a_command_with_a_tag_and_sigterm(sandbox: Sandbox, agent: httpx.Client) -> None:
    script = "trap 'echo told; exit 5' TERM; echo $0 $1; touch ready; while :; do sleep 0.01; done"
    with ThreadPoolExecutor(1) as pool:
        process = {"cmd": "/bin/bash", "args": ["-c", script, "a", "b"]}
        running = pool.submit(stream, agent, "process.Process/Start", {"process": process, "tag": "mine"})
        sandbox.commands.run("until test -e ready; do :; done")
        assert [info.tag for info in sandbox.commands.list()] == ["mine"]
        signal = {"process": {"tag": "mine"}, "signal": "SIGNAL_SIGTERM"}
        assert call(agent, "process.Process/SendSignal", signal).json() == {}
        received = running.result()
    assert output(received) == b"a b\ntold\n"
    assert end(received)["exitCode"] == 5
    gone = call(agent, "process.Process/SendSignal", signal)
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
