"""Snapshots and forks by the official SDK: what is in them, what is not, and what becomes of them."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from e2b import (
    AsyncSandbox,
    Sandbox,
    SandboxException,
    SandboxNotFoundException,
    SnapshotInfo,
    Template,
)

from tests.instance import Instance

Create = Callable[..., Sandbox]

WRITE = """
cd /home/user
echo first > file; ln file link; ln -s /etc/passwd symlink
mkdir -p sub && chmod 700 sub && echo deep > sub/deep
echo changed > /etc/motd; rm -rf /usr/share/doc/bash; chown 1234:4321 sub/deep; touch -d 2001-02-03 file
"""
READ = """
cd /home/user
cat file sub/deep /etc/motd; readlink symlink; stat -c '%h %Y' file; stat -c '%a' sub
stat -c '%u:%g' sub/deep; test -e /usr/share/doc/bash || echo deleted
"""


def said(sandbox: Sandbox, command: str, user: str = "user") -> str:
    return sandbox.commands.run(command, user=user).stdout.strip()


@pytest.fixture
def written(sandbox: Sandbox) -> Sandbox:
    sandbox.commands.run(WRITE, user="root")
    return sandbox


@pytest.fixture
def snapshot(written: Sandbox) -> Iterator[SnapshotInfo]:
    made = written.create_snapshot()
    yield made
    Sandbox.delete_snapshot(made.snapshot_id)


def test_a_sandbox_begins_with_what_another_had_written(
    written: Sandbox, snapshot: SnapshotInfo, create: Create
) -> None:
    written.files.write("/home/user/file", "later")
    other = create(template=snapshot.snapshot_id)
    assert said(other, READ, "root") == said(create(template=snapshot.snapshot_id), READ, "root")
    assert said(other, READ, "root").splitlines() == [
        "first",
        "deep",
        "changed",
        "/etc/passwd",
        "2 981158400",
        "700",
        "1234:4321",
        "deleted",
    ]
    assert written.files.read("/home/user/file") == "later"
    other.files.write("/home/user/file", "other")
    assert said(create(template=snapshot.snapshot_id), "cat file") == "first"


def test_no_two_files_of_a_begun_sandbox_have_one_number(snapshot: SnapshotInfo, create: Create) -> None:
    """Programs take two names of one inode for one file: cp and mv then refuse."""
    sandbox = create(template=snapshot.snapshot_id)
    make = "cd /home/user; for i in $(seq 300); do echo $i > new-$i; done; cp new-1 file && cp file copy"
    sandbox.commands.run(make, user="root")
    twice = "find /home/user -type f -links 1 -printf '%i\\n' | sort | uniq -d"
    assert said(sandbox, twice, "root") == ""


def test_the_sandbox_goes_on(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("for i in $(seq 50); do echo $i; sleep 0.02; done", background=True)
    snapshot = sandbox.create_snapshot()
    assert handle.wait().stdout.split() == [str(number) for number in range(1, 51)]
    Sandbox.delete_snapshot(snapshot.snapshot_id)


def test_a_snapshot_outlives_its_sandbox_and_its_begun_ones_outlive_it(
    written: Sandbox, snapshot: SnapshotInfo, create: Create
) -> None:
    written.kill()
    other = create(template=snapshot.snapshot_id)
    assert Sandbox.delete_snapshot(snapshot.snapshot_id) is True
    assert Sandbox.delete_snapshot(snapshot.snapshot_id) is False
    assert said(other, "cat file") == "first"
    with pytest.raises(SandboxException, match="404: template"):
        create(template=snapshot.snapshot_id)


def test_a_name_gets_one_snapshot_after_the_other(sandbox: Sandbox, create: Create) -> None:
    name = f"snap-{uuid.uuid4().hex[:8]}"
    for content in ("one", "two"):
        sandbox.files.write("/home/user/file", content)
        made = sandbox.create_snapshot(name)
        assert (made.snapshot_id, made.names) == (f"{name}:default", [f"{name}:default"])
    sandbox.files.write("/home/user/file", "tagged")
    tagged = sandbox.create_snapshot(f"{name}:v1")
    assert said(create(template=name), "cat file") == "two"
    assert said(create(template=tagged.snapshot_id), "cat file") == "tagged"
    found = Sandbox.list_snapshots(name=name).next_items()
    assert [info.snapshot_id for info in found] == [f"{name}:v1", f"{name}:default"]
    assert [info.snapshot_id for info in Sandbox.list_snapshots(name=f"{name}:v1").next_items()] == [
        f"{name}:v1"
    ]
    assert Sandbox.list_snapshots(name=f"{name}:v9").next_items() == []
    assert Sandbox.delete_snapshot(f"{name}:v1") is True
    assert [info.snapshot_id for info in Sandbox.list_snapshots(name=name).next_items()] == [
        f"{name}:default"
    ]
    assert Sandbox.delete_snapshot(name) is True
    assert Sandbox.list_snapshots(name=name).next_items() == []


def test_the_name_of_a_template_is_not_taken(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxException, match="409: name 'base' is a template's that is no snapshot"):
        sandbox.create_snapshot("base")
    with pytest.raises(SandboxException, match="400: "):
        sandbox.create_snapshot("No Name")


def test_they_are_listed_by_their_sandbox_in_pages(sandbox: Sandbox, create: Create) -> None:
    other = create()
    made = [sandbox.create_snapshot().snapshot_id for _ in range(3)]
    foreign = other.create_snapshot()
    paginator = Sandbox.list_snapshots(sandbox.sandbox_id, limit=2)
    pages = []
    while paginator.has_next:
        pages.append([info.snapshot_id for info in paginator.next_items()])
    assert pages == [made[:0:-1], made[:1]]
    begun = Sandbox.list_snapshots(sandbox.sandbox_id, limit=1)
    assert [info.snapshot_id for info in begun.next_items()] == made[:1:-1]
    rest = Sandbox.list_snapshots(sandbox.sandbox_id, next_token=begun.next_token)
    assert [info.snapshot_id for info in rest.next_items()] == made[1::-1]
    for snapshot_id in (*made, foreign.snapshot_id):
        assert Sandbox.delete_snapshot(snapshot_id)


def test_it_is_no_template_of_the_list(snapshot: SnapshotInfo, berm: Instance) -> None:
    assert snapshot.snapshot_id.partition(":")[0] not in berm.berm("template", "list").stdout


def test_a_template_is_built_on_it(snapshot: SnapshotInfo, create: Create) -> None:
    name = f"on-snap-{uuid.uuid4().hex[:8]}"
    Template.build(Template().from_template(snapshot.snapshot_id).run_cmd("cat file > made"), name)
    assert said(create(template=name), "cat made") == "first"
    Sandbox.delete_snapshot(name)


def test_a_snapshot_of_a_begun_sandbox_has_both(snapshot: SnapshotInfo, create: Create) -> None:
    second = create(template=snapshot.snapshot_id)
    second.files.write("/home/user/more", "more")
    made = second.create_snapshot()
    assert said(create(template=made.snapshot_id), "cat file more") == "first\nmore"
    Sandbox.delete_snapshot(made.snapshot_id)


@pytest.mark.parametrize("memory", [True, False])
def test_a_paused_sandbox_has_snapshots_too(written: Sandbox, create: Create, memory: bool) -> None:
    written.pause(keep_memory=memory)
    made = written.create_snapshot()
    assert said(create(template=made.snapshot_id), "cat file") == "first"
    Sandbox.delete_snapshot(made.snapshot_id)
    written.connect()
    assert said(written, "cat file") == "first"


def test_what_has_ended_has_none(sandbox: Sandbox) -> None:
    sandbox.kill()
    with pytest.raises(SandboxNotFoundException):
        sandbox.create_snapshot()
    with pytest.raises(SandboxNotFoundException):
        sandbox.fork()


def test_forks_begin_where_it_is_and_part_there(create: Create) -> None:
    origin = create(timeout=90, envs={"COLOUR": "green"}, metadata={"of": "forks"})
    origin.files.write("/home/user/file", "before\n")
    forks = origin.fork(timeout=60, count=3)
    origin.files.write("/home/user/file", "origin")
    ids = {origin.sandbox_id}
    for number, fork in enumerate(forks):
        assert isinstance(fork, Sandbox)
        ids.add(fork.sandbox_id)
        assert said(fork, "cat file; echo $COLOUR $E2B_SANDBOX_ID") == f"before\ngreen {fork.sandbox_id}"
        fork.files.write("/home/user/file", str(number))
        info = fork.get_info()
        assert (info.metadata, info.name) == ({"of": "forks"}, "base")
        assert (info.end_at - info.started_at).total_seconds() == 60
    assert len(ids) == 4
    assert [said(fork, "cat file") for fork in forks if isinstance(fork, Sandbox)] == ["0", "1", "2"]
    assert said(origin, "cat file") == "origin"
    for fork in forks:
        assert isinstance(fork, Sandbox)
        assert fork.kill()


def test_forks_leave_no_layer(sandbox: Sandbox, berm: Instance) -> None:
    before = {path.name for path in (berm.pool / "layers").iterdir()}
    for fork in sandbox.fork(count=2):
        assert isinstance(fork, Sandbox)
        fork.kill()
    assert {path.name for path in (berm.pool / "layers").iterdir()} <= before
    assert list((berm.pool / "branches").iterdir()) == []


def test_the_disk_limit_of_a_fork_is_its_own(sandbox: Sandbox) -> None:
    sandbox.commands.run("head -c 50M /dev/urandom > big")
    (fork,) = sandbox.fork()
    assert isinstance(fork, Sandbox)
    assert said(fork, "head -c 20M /dev/urandom >> big; stat -c %s big") == str(70 << 20)
    fork.kill()


def test_a_fork_that_cannot_start_says_so(create: Create) -> None:
    origin = create(timeout=60)
    with pytest.raises(SandboxException):
        origin.fork(count=101)
    with pytest.raises(SandboxException, match="timeout"):
        origin.fork(timeout=10**8)
    assert said(origin, "echo alive") == "alive"


async def test_async_snapshots_and_forks(asandbox: AsyncSandbox) -> None:
    await asandbox.files.write("/home/user/file", "kept")
    made = await asandbox.create_snapshot()
    assert [
        info.snapshot_id for info in await AsyncSandbox.list_snapshots(asandbox.sandbox_id).next_items()
    ] == [made.snapshot_id]
    (fork,) = await asandbox.fork()
    assert isinstance(fork, AsyncSandbox)
    assert await fork.files.read("/home/user/file") == "kept"
    await fork.kill()
    assert await AsyncSandbox.delete_snapshot(made.snapshot_id) is True
