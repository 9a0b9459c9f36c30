"""A sandbox from its making to its end, as the SDK sees it: lists, metadata, timeouts, kill."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from e2b import (
    AsyncSandbox,
    CommandExitException,
    Sandbox,
    SandboxInfo,
    SandboxNotFoundException,
    SandboxNotRunningException,
    SandboxPaginator,
    SandboxQuery,
    SandboxState,
)

from tests.instance import Instance

Create = Callable[..., Sandbox]


def everything(paginator: SandboxPaginator) -> list[SandboxInfo]:
    found: list[SandboxInfo] = []
    while paginator.has_next:
        found += paginator.next_items()
    return found


def directory(berm: Instance, sandbox: Sandbox) -> Path:
    return berm.pool / "sandboxes" / sandbox.sandbox_id


def test_what_is_known_of_a_sandbox(create: Create) -> None:
    sandbox = create(timeout=100, metadata={"job": "7"}, envs={"A": "b"})
    info = sandbox.get_info()
    assert (info.sandbox_id, info.name, info.state) == (sandbox.sandbox_id, "base", SandboxState.RUNNING)
    assert info.metadata == {"job": "7"}
    assert info.end_at - info.started_at == timedelta(seconds=100)
    assert abs(datetime.now(UTC) - info.started_at) < timedelta(hours=1)
    assert (info.cpu_count, info.memory_mb) == (2, 1024)
    assert info.envd_version


def test_metadata_of_any_text_is_kept_and_filtered_by(create: Create) -> None:
    metadata = {"a&b=c": "d%20e", "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n": "x+y z,\n;", "empty": ""}
    mark = {"mark": str(uuid4())}
    sandbox, other = create(metadata=metadata | mark), create(metadata=mark)
    assert sandbox.get_info().metadata == metadata | mark
    (found,) = everything(Sandbox.list(query=SandboxQuery(metadata=metadata)))
    assert found.sandbox_id == sandbox.sandbox_id
    both = everything(Sandbox.list(query=SandboxQuery(metadata=mark)))
    assert {info.sandbox_id for info in both} == {sandbox.sandbox_id, other.sandbox_id}
    assert everything(Sandbox.list(query=SandboxQuery(metadata=mark | {"no": "one"}))) == []


def test_lists_are_paged_newest_first(create: Create) -> None:
    mark = {"mark": str(uuid4())}
    made = [create(metadata=mark).sandbox_id for _ in range(5)]
    paginator = Sandbox.list(query=SandboxQuery(metadata=mark), limit=2)
    pages = []
    while paginator.has_next:
        pages.append([info.sandbox_id for info in paginator.next_items()])
    newest_first = made[::-1]
    assert pages == [newest_first[:2], newest_first[2:4], newest_first[4:]]


def test_a_list_goes_on_elsewhere(create: Create) -> None:
    """With the token of a list that another program has begun."""
    mark = {"mark": str(uuid4())}
    made = [create(metadata=mark).sandbox_id for _ in range(3)]
    begun = Sandbox.list(query=SandboxQuery(metadata=mark), limit=1, order="asc")
    assert [info.sandbox_id for info in begun.next_items()] == made[:1]
    query, token = SandboxQuery(metadata=mark), begun.next_token
    rest = Sandbox.list(query=query, limit=5, order="asc", next_token=token)
    assert [info.sandbox_id for info in rest.next_items()] == made[1:]
    assert not rest.has_next


def test_the_state_filters(create: Create) -> None:
    mark = {"mark": str(uuid4())}
    create(metadata=mark)
    running = SandboxQuery(metadata=mark, state=[SandboxState.RUNNING])
    paused = SandboxQuery(metadata=mark, state=[SandboxState.PAUSED])
    assert len(everything(Sandbox.list(query=running))) == 1
    assert everything(Sandbox.list(query=paused)) == []


def test_killed_is_gone(create: Create, berm: Instance) -> None:
    sandbox = create()
    assert sandbox.is_running()
    assert sandbox.kill()
    assert not sandbox.is_running()
    assert not sandbox.kill()
    assert not Sandbox.kill(sandbox.sandbox_id)
    assert not directory(berm, sandbox).exists()
    assert sandbox.sandbox_id not in {info.sandbox_id for info in everything(Sandbox.list())}
    for act in (
        lambda: Sandbox.connect(sandbox.sandbox_id),
        sandbox.get_info,
        lambda: sandbox.set_timeout(100),
    ):
        with pytest.raises(SandboxNotFoundException):
            act()
    for gone in (lambda: sandbox.commands.run("true"), lambda: sandbox.files.read("x")):
        with pytest.raises(SandboxNotRunningException):
            gone()


def test_killed_while_a_command_runs(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("echo up; exec sleep 1000", background=True, timeout=0)
    assert next(iter(handle))[0] == "up\n"
    sandbox.kill()
    with pytest.raises(SandboxNotRunningException):
        handle.wait()


def test_killed_by_many_at_once(create: Create) -> None:
    sandbox = create()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: Sandbox.kill(sandbox.sandbox_id), range(8)))
    assert sorted(answers) == [False] * 7 + [True]


def ended(berm: Instance, sandbox: Sandbox) -> bool:
    """Ask the server again and again until what the sandbox had on disk is gone."""
    while directory(berm, sandbox).exists():
        Sandbox.list().next_items()
    return not sandbox.is_running()


def test_it_ends_when_its_time_is_over(create: Create, berm: Instance) -> None:
    assert ended(berm, create(timeout=1))


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_new_timeout_may_be_shorter(create: Create, berm: Instance, seconds: int) -> None:
    sandbox = create(timeout=1000)
    sandbox.set_timeout(seconds)
    assert ended(berm, sandbox)
    with pytest.raises(SandboxNotFoundException):
        Sandbox.connect(sandbox.sandbox_id)


def test_a_new_timeout_may_be_longer(create: Create, berm: Instance) -> None:
    lasting, short = create(timeout=2), create(timeout=2)
    lasting.set_timeout(1000)
    assert ended(berm, short)
    assert lasting.commands.run("echo on").stdout == "on\n"


def test_connecting_extends_and_never_shortens(create: Create) -> None:
    sandbox = create(timeout=1000)
    before = sandbox.get_info().end_at
    other = Sandbox.connect(sandbox.sandbox_id, timeout=10)
    assert other.get_info().end_at == before
    assert Sandbox.connect(sandbox.sandbox_id, timeout=5000).get_info().end_at > before
    other.files.write("x", "by the other")
    assert sandbox.files.read("x") == "by the other"


def test_sandboxes_share_nothing(create: Create) -> None:
    one, two = create(), create()
    one.files.write("/tmp/x", "one")
    one.commands.run("echo changed | sudo tee /etc/issue")
    assert not two.files.exists("/tmp/x")
    assert "changed" not in two.files.read("/etc/issue")
    assert one.sandbox_id != two.sandbox_id
    with pytest.raises(CommandExitException):
        two.commands.run(f"grep -q {one.sandbox_id} /etc/hosts")


def test_an_agent_left_open_needs_no_token(berm: Instance) -> None:
    """Only the older call can ask for it."""
    body = {"templateID": "base", "secure": False}
    made = httpx.post(f"{berm.url}/sandboxes", json=body, headers={"X-API-Key": berm.key}).json()
    headers = {"E2b-Sandbox-Id": made["sandboxID"], "E2b-Sandbox-Port": "49983"}
    assert "envdAccessToken" not in made
    assert httpx.get(f"{berm.url}/files?path=/etc/hostname", headers=headers).status_code == 200
    assert Sandbox.kill(made["sandboxID"])


async def test_the_asynchronous_half(asandbox: AsyncSandbox) -> None:
    assert await asandbox.is_running()
    info = await asandbox.get_info()
    assert info.sandbox_id == asandbox.sandbox_id
    await asandbox.set_timeout(500)
    again = await AsyncSandbox.connect(asandbox.sandbox_id)
    assert (await again.get_info()).end_at > info.end_at
    paginator = AsyncSandbox.list(limit=1)
    assert len(await paginator.next_items()) == 1
    assert await again.kill()
    assert not await asandbox.is_running()
    with pytest.raises(SandboxNotFoundException):
        await AsyncSandbox.connect(asandbox.sandbox_id)
