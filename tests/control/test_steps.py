"""One step at a time on a node in memory: what it asks of the node, and what a failure says."""

import asyncio
from collections.abc import Mapping

import pytest

from berm.control.provision import add_account
from berm.control.steps import Ask, Stand, StepError, carry_out, files_name
from berm.errors import BermError, Code
from berm.images.process import ignore
from berm.models import File, Layer, Resources, SandboxSpec
from berm.models import Mount as NodeMount
from berm.node.interface import Command, Copying
from berm.templates.plan import Account, Action, Base, Copy, Directory, Inline, Mount, Run
from tests.fakes import FakeNode, FullNode, Output, Program

FIRST, DEBIAN = Base("stage", "0"), Base("image", "debian:12", "sha256:" + "d" * 64)
STAND = Stand(("bottom", "top"), {FIRST: ("bottom", "first"), DEBIAN: ("img",)})
HASH = "a" * 64
COMMAND = ("/bin/sh", "-c", "make all")


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


def asking(secrets: Mapping[str, bytes] | None = None, memory_mb: int = 1024, team: str = "team") -> Ask:
    return Ask(team, Resources(memory_mb=memory_mb), secrets or {})


async def done(node: FakeNode, action: Action, ask: Ask | None = None, output: Output = ignore) -> Layer:
    return await carry_out(node, action, STAND, ask or asking(), output)


async def sandbox_of(node: FakeNode, *mounts: Mount, ask: Ask | None = None) -> tuple[SandboxSpec, Command]:
    """The sandbox and the command that become of a RUN with these mounts."""
    await done(node, Run(COMMAND, mounts=mounts), ask)
    (spec,) = node.specs.values()
    ((_, command),) = node.commands
    return spec, command


# Commands


async def test_a_command_runs_as_it_says(node: FakeNode) -> None:
    lines: list[str] = []
    action = Run(COMMAND, "me:staff", "/work", {"A": "of env", "B": "b"}, {"A": "of args", "C": "c"})

    layer = await done(node, action, output=lines.append)

    ((sandbox_id, command),) = node.commands
    assert (command.argv, command.user, command.workdir) == (COMMAND, "me:staff", "/work")
    assert command.env == {"A": "of env", "B": "b", "C": "c"}
    assert lines == ["/bin/sh -c make all"]
    assert layer == Layer(f"layer-{sandbox_id}", 1000)
    assert not node.running()


async def test_its_sandbox_is_made_for_it(node: FakeNode) -> None:
    await done(node, Run(COMMAND), asking(memory_mb=64))
    (spec,) = node.specs.values()
    assert spec.layers == STAND.layers
    assert (spec.user, spec.workdir, spec.env) == ("root", "/", {})
    assert (spec.resources.memory_mb, spec.allow_internet, spec.kept) == (64, True, True)
    assert spec.access_token
    assert (spec.mounts, spec.files) == ((), ())


async def test_a_command_can_be_kept_from_the_network(node: FakeNode) -> None:
    await done(node, Run(COMMAND, network=False))
    assert [spec.allow_internet for spec in node.specs.values()] == [False]


async def test_a_command_that_writes_nothing_leaves_no_layer(node: FakeNode) -> None:
    node.written = 0
    assert await done(node, Run(COMMAND)) == Layer("", 0)


async def test_an_account_is_added_by_root(node: FakeNode) -> None:
    await done(node, Account("worker"))
    ((_, command),) = node.commands
    assert (command.argv, command.user) == (add_account("worker"), "root")


# Mounts


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        (
            Mount("bind", "/src", source="/app/src/", base=FIRST, read_only=True),
            NodeMount("/src", ("bottom", "first"), path="app/src", read_only=True),
        ),
        (Mount("bind", "/src", base=DEBIAN), NodeMount("/src", ("img",))),
        (
            Mount("bind", "/src", source="app", files_hash=HASH, read_only=True),
            NodeMount("/src", directory=f"files/team-{HASH}", path="app", read_only=True),
        ),
        (Mount("bind", "/src", files_hash=HASH), NodeMount("/src", directory=f"files/team-{HASH}")),
        (Mount("tmpfs", "/tmp/x", size_mb=7), NodeMount("/tmp/x", size_mb=7)),
        (
            Mount("tmpfs", "/tmp/x", mode=0o1777, uid=1, gid=2),
            NodeMount("/tmp/x", size_mb=512, mode=0o1777, uid=1, gid=2),
        ),
    ],
)
async def test_what_is_mounted(node: FakeNode, mount: Mount, expected: NodeMount) -> None:
    spec, command = await sandbox_of(node, mount)
    assert spec.mounts == (expected,)
    assert (spec.files, command.env) == ((), {})


async def test_memory_is_some_even_in_a_small_sandbox(node: FakeNode) -> None:
    spec, _ = await sandbox_of(node, Mount("tmpfs", "/x"), ask=asking(memory_mb=1))
    assert [mount.size_mb for mount in spec.mounts] == [1]


async def test_mounts_keep_their_order(node: FakeNode) -> None:
    secret = Mount("secret", "/a/b", id="token")
    mounts = (Mount("tmpfs", "/a"), secret, Mount("cache", "/a/c", id="c"), Mount("tmpfs", "/a/d"))
    spec, _ = await sandbox_of(node, *mounts)
    assert [mount.target for mount in spec.mounts] == ["/a", "/a/c", "/a/d"]


async def directory(mount: Mount, team: str = "team") -> NodeMount:
    """What a cache becomes."""
    spec, _ = await sandbox_of(FakeNode(), mount, ask=asking(team=team))
    (found,) = spec.mounts
    return found


async def test_a_cache_is_a_directory_of_the_team_by_its_id() -> None:
    pip = await directory(Mount("cache", "/pip", id="pip", mode=0o700, uid=1, gid=2))
    assert pip.directory.startswith("team-")
    assert "/" not in pip.directory
    assert (pip.target, pip.read_only, pip.mode, pip.uid, pip.gid) == ("/pip", False, 0o700, 1, 2)
    assert (await directory(Mount("cache", "/elsewhere", id="pip"))).directory == pip.directory
    assert (await directory(Mount("cache", "/pip", id="pip", read_only=True))).read_only
    for other in (Mount("cache", "/pip", id="apt"), Mount("cache", "/pip", id="../pip")):
        assert (await directory(other)).directory != pip.directory
    assert (await directory(Mount("cache", "/pip", id="pip"), "other")).directory != pip.directory


async def test_a_cache_without_an_id_goes_by_its_place() -> None:
    one = await directory(Mount("cache", "/pip"))
    assert one == await directory(Mount("cache", "/pip", id="/pip"))
    assert "/" not in one.directory


# Secrets


async def test_a_secret_is_a_file_where_it_was_asked_for(node: FakeNode) -> None:
    secret = Mount("secret", "/run/secrets/token", id="token", mode=0o400, uid=1, gid=2)
    spec, command = await sandbox_of(node, secret, ask=asking({"token": b"\xff\0", "other": b"no"}))
    assert spec.files == (File("/run/secrets/token", b"\xff\0", 0o400, 1, 2),)
    assert (spec.mounts, command.env) == ((), {})


async def test_a_secret_can_be_a_variable(node: FakeNode) -> None:
    secret = Mount("secret", "", id="token", env="TOKEN")
    spec, command = await sandbox_of(node, secret, ask=asking({"token": b"caf\xc3\xa9\xff"}))
    assert command.env == {"TOKEN": "café\udcff"}
    assert (spec.files, spec.env) == ((), {})


async def test_one_secret_can_be_in_several_places(node: FakeNode) -> None:
    places = [Mount("secret", path, id="token", mode=0o400) for path in ("/a", "/b")]
    spec, command = await sandbox_of(
        node, *places, Mount("secret", "", id="token", env="T"), ask=asking({"token": b"x"})
    )
    assert spec.files == (File("/a", b"x"), File("/b", b"x"))
    assert command.env == {"T": "x"}


async def test_a_secret_that_is_required_has_to_be_given(node: FakeNode) -> None:
    with pytest.raises(StepError, match="the secret 'token' was not given") as caught:
        await sandbox_of(node, Mount("secret", "/x", id="token", required=True), ask=asking({"other": b"x"}))
    assert caught.value.hint == "give it: --secret id=token,..."
    assert not node.specs


async def test_other_secrets_may_be_missing(node: FakeNode) -> None:
    spec, command = await sandbox_of(
        node, Mount("secret", "/x", id="token"), Mount("secret", "", id="token", env="T")
    )
    assert (spec.files, command.env) == ((), {})


async def test_an_empty_secret_is_one(node: FakeNode) -> None:
    spec, _ = await sandbox_of(
        node, Mount("secret", "/x", id="token", required=True, mode=0o400), ask=asking({"token": b""})
    )
    assert spec.files == (File("/x", b""),)


def test_secrets_are_not_printed() -> None:
    assert "hunter2" not in repr(asking({"token": b"hunter2"}))


# Copies


@pytest.mark.parametrize(
    ("action", "source", "files"),
    [
        (Copy(("a",), "/a", files_hash=HASH), (), f"team-{HASH}"),
        (Copy(("a",), "/a", base=FIRST), ("bottom", "first"), ""),
        (Copy(("a",), "/a", base=DEBIAN), ("img",), ""),
        (Copy((), "/a", inline=(Inline("a", "text"),)), (), ""),
        (Directory("/a", "me"), (), ""),
    ],
)
async def test_copies_need_no_sandbox(
    node: FakeNode, action: Copy | Directory, source: tuple[str, ...], files: str
) -> None:
    assert await done(node, action) == Layer("copy-1", 1000)
    assert node.copies == [Copying(action, STAND.layers, source, files)]
    assert not node.specs


async def test_what_refuses_a_copy_is_told(node: FakeNode) -> None:
    node.refusal = BermError(Code.NOT_FOUND, "there is no 'a'")
    with pytest.raises(BermError) as caught:
        await done(node, Copy(("a",), "/a", files_hash=HASH))
    assert caught.value is node.refusal


def test_files_are_those_of_a_team() -> None:
    assert asking().files(HASH) == files_name("team", HASH) == f"team-{HASH}"


# Failures


def ends(status: int, *lines: str) -> Program:
    async def program(_spec: SandboxSpec, _command: Command, output: Output) -> int:
        for line in lines:
            output(line)
        return status

    return program


async def failure(node: FakeNode, action: Action) -> StepError:
    with pytest.raises(StepError) as caught:
        await done(node, action)
    assert (caught.value.code, caught.value.step) == (Code.INVALID_ARGUMENT, "")
    assert not node.running()
    assert not node.layer_names
    return caught.value


async def test_a_failing_command_is_told_with_its_last_lines(node: FakeNode) -> None:
    node.program = ends(3, *(f"line {number}" for number in range(12)))
    said = "".join(f"\nline {number}" for number in range(2, 12))
    expected = f"failed to run command 'make all': command failed: exit status 3{said}"
    assert (await failure(node, Run(COMMAND))).message == expected


async def test_a_signal_is_a_failure(node: FakeNode) -> None:
    node.program = ends(-1)
    assert (await failure(node, Run(COMMAND))).message.endswith("command failed: exit status -1")


async def test_an_account_that_cannot_be_added_is_told(node: FakeNode) -> None:
    node.program = ends(1, "read-only")
    error = await failure(node, Account("worker"))
    assert error.message == "failed to add the account worker: exit status 1\nread-only"
    assert error.hint == "an image needs a shell, /bin/sh"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (Code.INVALID_ARGUMENT, "invalid username: 'nobody-here'"),
        (Code.UNAVAILABLE, "the sandbox ended: did it run out of memory?"),
    ],
)
async def test_a_command_that_does_not_run_to_its_end_is_told(node: FakeNode, code: Code, said: str) -> None:
    async def program(_spec: SandboxSpec, _command: Command, _output: Output) -> int:
        raise BermError(code, "invalid username: 'nobody-here'")

    node.program = program
    expected = f"failed to run command 'make all': command failed: {said}"
    assert (await failure(node, Run(COMMAND))).message == expected


async def test_a_sandbox_that_ends_fails_its_step(node: FakeNode) -> None:
    async def program(spec: SandboxSpec, _command: Command, _output: Output) -> int:
        node.die(spec.sandbox_id)
        return await asyncio.Future[int]()

    node.program = program
    assert "did it run out of memory?" in (await failure(node, Run(COMMAND))).message


async def test_a_fault_of_the_machine_is_no_failed_step(node: FakeNode) -> None:
    async def program(_spec: SandboxSpec, _command: Command, _output: Output) -> int:
        raise BermError(Code.INTERNAL, "the stream ended")

    node.program = program
    with pytest.raises(BermError, match="the stream ended") as caught:
        await done(node, Run(COMMAND))
    assert not isinstance(caught.value, StepError)
    assert not node.running()


async def test_a_machine_without_room_is_no_failed_step() -> None:
    with pytest.raises(BermError, match="no room") as caught:
        await done(FullNode(), Run(COMMAND))
    assert not isinstance(caught.value, StepError)


async def test_a_step_that_is_broken_off_leaves_nothing(node: FakeNode) -> None:
    begun = asyncio.Event()

    async def program(_spec: SandboxSpec, _command: Command, _output: Output) -> int:
        begun.set()
        return await asyncio.Future[int]()

    node.program = program
    task = asyncio.create_task(done(node, Run(COMMAND)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not node.running()
    assert not node.layer_names
