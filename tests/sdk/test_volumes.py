"""Volumes by the official SDK, and inside sandboxes: shared, kept, limited, and no way out of them."""

import io
import uuid
from collections.abc import Callable, Iterator

import pytest
from e2b import (
    AsyncVolume,
    AuthenticationException,
    CommandExitException,
    Sandbox,
    SandboxException,
    SandboxQuery,
    Volume,
)
from e2b.exceptions import VolumeException, VolumeNotFoundException, VolumePathNotFoundException

from tests.instance import Instance

pytestmark = [pytest.mark.sdk, pytest.mark.root]

Create = Callable[..., Sandbox]


@pytest.fixture
def volume(berm: Instance) -> Iterator[Volume]:
    made = Volume.create(f"sdk-{uuid.uuid4().hex[:12]}")
    yield made
    for info in Sandbox.list(SandboxQuery(metadata={"of": made.name})).next_items():
        Sandbox.kill(info.sandbox_id)
    Volume.destroy(made.volume_id)


@pytest.fixture
def mounted(volume: Volume, create: Create) -> Callable[..., Sandbox]:
    """A sandbox that has the volume at /data; it ends before the volume does."""

    def make(**options: object) -> Sandbox:
        wanted: dict[str, object] = {"volume_mounts": {"/data": volume}, **options}
        return create(timeout=120, metadata={"of": volume.name}, **wanted)

    return make


def said(sandbox: Sandbox, command: str, user: str = "user") -> str:
    return str(sandbox.commands.run(command, user=user).stdout).strip()


def refused(sandbox: Sandbox, command: str) -> str:
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.run(command, user="root")
    return str(failure.value.stderr)


def test_a_volume_by_the_class(volume: Volume) -> None:
    again = Volume.connect(volume.volume_id)
    assert (again.volume_id, again.name, again.token) == (volume.volume_id, volume.name, volume.token)
    info = Volume.get_info(volume.volume_id)
    assert (info.volume_id, info.name, info.token, info.domain) == (
        *(volume.volume_id, volume.name, volume.token),
        None,
    )
    assert (volume.volume_id, volume.name) in {(v.volume_id, v.name) for v in Volume.list()}
    with pytest.raises(VolumeException, match="already"):
        Volume.create(volume.name)
    with pytest.raises(VolumeException, match="name is"):
        Volume.create("no name")
    assert Volume.destroy(volume.volume_id) is True
    assert Volume.destroy(volume.volume_id) is False
    with pytest.raises(VolumeNotFoundException):
        Volume.get_info(volume.volume_id)
    with pytest.raises(VolumeNotFoundException):
        Volume.connect(volume.volume_id)


def test_files_by_every_method(volume: Volume) -> None:
    made = volume.make_dir("/a/b", uid=1, gid=2, mode=0o750, force=True)
    assert (made.name, made.path, made.type.value) == ("b", "/a/b", "directory")
    assert (made.uid, made.gid, made.mode, made.target) == (1, 2, 0o750, None)
    with pytest.raises(VolumeException, match="exists"):
        volume.make_dir("/a/b")
    with pytest.raises(VolumePathNotFoundException):
        volume.make_dir("/x/y", force=False)
    written = volume.write_file("/a/text", "h\u00e9llo", uid=3, gid=4, mode=0o600, force=False)
    assert (written.size, written.uid, written.gid, written.mode) == (6, 3, 4, 0o600)
    with pytest.raises(VolumeException, match="exists"):
        volume.write_file("/a/text", "again", force=False)
    assert volume.write_file("/a/text", b"\0\xff", force=True).uid == 3
    assert volume.read_file("/a/text", format="bytes") == b"\0\xff"
    volume.write_file("/a/text", "plain")
    assert volume.read_file("/a/text") == "plain"
    changed = volume.update_metadata("/a/text", uid=5, gid=6, mode=0o644)
    assert (changed.uid, changed.gid, changed.mode) == (5, 6, 0o644)
    info = volume.get_info("/a/text")
    assert info == changed
    assert info.mtime.tzinfo is not None
    assert [entry.path for entry in volume.list("/")] == ["/a"]
    assert [entry.path for entry in volume.list("/", depth=2)] == ["/a", "/a/b", "/a/text"]
    assert volume.exists("/a/text")
    volume.remove("/a")
    assert not volume.exists("/a/text")


def test_streams(volume: Volume) -> None:
    data = bytes(range(256)) * 40_000
    volume.write_file("big", io.BytesIO(data))
    assert b"".join(volume.read_file("big", format="stream")) == data
    assert volume.read_file("big", format="bytes") == data
    volume.write_file("text", io.StringIO("t\u00e9xt"))
    assert volume.read_file("text") == "t\u00e9xt"
    with pytest.raises(VolumePathNotFoundException):
        b"".join(volume.read_file("none", format="stream"))


def test_what_is_not_there(volume: Volume) -> None:
    for attempt in (
        lambda: volume.get_info("none"),
        lambda: volume.list("none"),
        lambda: volume.read_file("none"),
        lambda: volume.remove("none"),
        lambda: volume.update_metadata("none", mode=0o600),
        lambda: volume.write_file("none/x", ""),
    ):
        with pytest.raises(VolumePathNotFoundException):
            attempt()


def test_awkward_names(volume: Volume) -> None:
    for name in ("a b", "a+b", "a%2Fb", "\u00fc&?#=\u2603", "x" * 255, "new\nline", "back\\slash", '"'):
        volume.write_file(f"/{name}", name)
        assert volume.read_file(name) == name
    assert len(volume.list("/")) == 8


def test_only_its_own_token_opens_it(volume: Volume) -> None:
    other = Volume.create(f"{volume.name}-other")
    try:
        volume.write_file("mine", "x")
        stranger = Volume(volume.volume_id, volume.name, token=other.token, domain=volume._domain)
        for attempt in (
            lambda: stranger.read_file("mine"),
            lambda: stranger.list("/"),
            lambda: stranger.write_file("mine", "y"),
            lambda: stranger.remove("mine"),
        ):
            with pytest.raises(AuthenticationException):
                attempt()
        assert stranger.read_file("mine", token=volume.token) == "x"
    finally:
        Volume.destroy(other.volume_id)


async def test_asynchronously(volume: Volume) -> None:
    made = await AsyncVolume.create(f"{volume.name}-async")
    assert made.volume_id in {info.volume_id for info in await AsyncVolume.list()}
    assert (await AsyncVolume.get_info(made.volume_id)).token == made.token
    again = await AsyncVolume.connect(made.volume_id)
    assert (await again.make_dir("d", uid=1, gid=2, mode=0o700, force=True)).uid == 1
    assert (await again.write_file("d/a", b"data", uid=1, gid=2, mode=0o600, force=True)).mode == 0o600
    await again.write_file("d/b", io.BytesIO(bytes(5_000_000)))
    assert await again.read_file("d/a") == "data"
    assert await again.read_file("d/a", format="bytes") == b"data"
    pieces = [piece async for piece in await again.read_file("d/b", format="stream", stream_idle_timeout=30)]
    assert b"".join(pieces) == bytes(5_000_000)
    assert (await again.update_metadata("d/a", mode=0o644)).mode == 0o644
    assert [entry.path for entry in await again.list("/", depth=2)] == ["/d", "/d/a", "/d/b"]
    assert (await again.get_info("d/b")).size == 5_000_000
    assert (await again.exists("d/a"), await again.exists("d/c")) == (True, False)
    await again.remove("d")
    with pytest.raises(VolumePathNotFoundException):
        await again.read_file("d/a")
    assert await AsyncVolume.destroy(made.volume_id) is True
    assert await AsyncVolume.destroy(made.volume_id) is False
    with pytest.raises(VolumeNotFoundException):
        await AsyncVolume.connect(made.volume_id)


def test_two_sandboxes_and_the_sdk_share_it(volume: Volume, mounted: Create) -> None:
    first = mounted()
    second = mounted(volume_mounts={"/home/user/deep/er": volume.name})
    said(first, "mkdir /data/d && echo from first > /data/d/a")
    assert said(second, "cat ~/deep/er/d/a && stat -c '%U %G' ~/deep/er ~/deep/er/d/a | sort -u") == (
        "from first\nuser user"
    )
    assert volume.read_file("/d/a") == "from first\n"
    volume.write_file("/d/a", "from outside", mode=0o666)
    assert said(first, "cat /data/d/a") == "from outside"
    second.files.write("deep/er/d/b", "by files")
    assert first.files.read("/data/d/b") == "by files"
    said(second, "chown 123:456 /home/user/deep/er/d/b", user="root")
    assert said(first, "stat -c '%u %g' /data/d/b") == "123 456"
    entry = volume.get_info("d/b")
    assert (entry.uid, entry.gid) == (123, 456)
    assert first.get_info().volume_mounts == [{"name": volume.name, "path": "/data"}]
    listed = Sandbox.list(SandboxQuery(metadata={"of": volume.name})).next_items()
    assert sorted(info.volume_mounts[0]["path"] for info in listed) == ["/data", "/home/user/deep/er"]


def test_a_lock_holds_between_sandboxes(mounted: Create) -> None:
    first, second = mounted(), mounted()
    holder = first.commands.run("flock /data/lock -c 'echo held; sleep 1000'", background=True)
    next(iter(holder))
    assert said(second, "flock --nonblock /data/lock true || echo taken") == "taken"
    holder.kill()
    assert said(second, "flock /data/lock echo free") == "free"


def test_it_outlives_sandboxes_and_the_server(volume: Volume, mounted: Create, berm: Instance) -> None:
    first = mounted()
    said(first, "echo kept > /data/a")
    first.kill()
    second = mounted()
    assert said(second, "cat /data/a") == "kept"
    berm.kill_server()
    berm.berm("up")
    assert said(second, "cat /data/a && echo more > /data/b") == "kept"
    assert Volume.connect(volume.volume_id).read_file("b") == "more\n"
    with pytest.raises(VolumeException, match="is mounted in"):
        Volume.destroy(volume.volume_id)
    second.kill()
    assert said(mounted(), "cat /data/a /data/b") == "kept\nmore"


def test_it_goes_at_once_when_its_last_sandbox_was_killed(
    volume: Volume, mounted: Create, berm: Instance
) -> None:
    sandbox = mounted()
    sandbox.commands.run("while :; do echo x > /data/$RANDOM; done", background=True)
    with pytest.raises(VolumeException, match=f"volume '{volume.name}' is mounted in sandbox"):
        Volume.destroy(volume.volume_id)
    sandbox.kill()
    assert Volume.destroy(volume.volume_id) is True
    assert not (berm.pool / "volumes" / volume.volume_id).exists()
    with pytest.raises(SandboxException, match=f"404: volume '{volume.name}' not found"):
        mounted()


@pytest.mark.parametrize("target", ["/", "/proc", "/sys/fs", "/dev/shm", "relative", "/a/../b", ""])
def test_where_none_can_be_mounted(mounted: Create, volume: Volume, target: str) -> None:
    with pytest.raises(SandboxException, match=r"400: .*mount"):
        mounted(volume_mounts={target: volume})


def test_one_volume_on_another(volume: Volume, mounted: Create) -> None:
    other = Volume.create(f"{volume.name}-other")
    sandbox = mounted(volume_mounts={"/data/in/it": other, "/data": volume})
    said(sandbox, "echo in > /data/in/it/a; echo out > /data/a")
    assert (other.read_file("a"), volume.read_file("a")) == ("in\n", "out\n")
    assert volume.list("in/it") == []
    sandbox.kill()
    assert Volume.destroy(other.volume_id)


def test_neither_devices_nor_set_user_ids_nor_the_hosts_files(
    mounted: Create, volume: Volume, berm: Instance
) -> None:
    sandbox = mounted()
    said(sandbox, "cp /usr/bin/id /data/id && chmod 4755 /data/id", user="root")
    assert said(sandbox, "/data/id -u") == "1000"
    assert "Operation not permitted" in refused(sandbox, "mknod /data/null c 1 3")
    said(sandbox, "mkdir -p /data/d && cd /data/d && mkfifo pipe && ln -s /etc/shadow shadow && ln -s / root")
    for path in ("d/shadow", f"d/root{berm.home}/key", "d/root/etc/hostname"):
        with pytest.raises(VolumePathNotFoundException):
            volume.read_file(path)
    with pytest.raises(VolumeException, match="no file that can be read"):
        volume.read_file("d/pipe")
    assert volume.get_info("d/shadow").target == "/etc/shadow"
    assert said(sandbox, "ls -A /data/../ | grep -c -e coming -e going || true") == "0"


SUBVOLUME = """python3 - <<'END'
import fcntl, os, struct
try:
    fcntl.ioctl(os.open("/data", os.O_RDONLY), 0x5000940E, bytearray(struct.pack("=q4088s", 0, b"sub")))
except OSError as failure:
    print(failure.strerror)
END"""


def test_no_subvolumes_which_no_quota_counts(mounted: Create) -> None:
    sandbox = mounted()
    assert said(sandbox, SUBVOLUME, user="root") == "Function not implemented"
    assert said(sandbox, "ls -A /data") == ""
    assert said(sandbox, "echo a > /data/a && cp --reflink=auto /data/a /data/b && cat /data/b") == "a"


def test_who_is_in_a_removed_directory_finds_no_way_out(mounted: Create, volume: Volume) -> None:
    sandbox = mounted()
    waiting = "until [ -e /data/go ]; do sleep 0.1; done; ls .. ../.. ../../.."
    script = f"mkdir -p /data/d/e && cd /data/d/e && echo in && {waiting}"
    handle = sandbox.commands.run(script, background=True)
    next(iter(handle))
    volume.remove("d")
    volume.write_file("go", "")
    with pytest.raises(CommandExitException) as failure:
        handle.wait()
    assert failure.value.stdout.strip() == "in"
    assert failure.value.stderr.count("No such file or directory") == 3


def test_a_full_volume(berm: Instance) -> None:
    """The limit is one of the volume: no other suffers, and what is removed is free again."""
    berm.berm("down")
    berm.env["BERM_VOLUME_GB"] = "1"
    berm.berm("up")
    try:
        full, other = (Volume.create(f"full-{uuid.uuid4().hex[:12]}") for _ in range(2))
        sandbox = Sandbox.create(timeout=120, volume_mounts={"/data": full, "/other": other})
        said(sandbox, "mkdir -p /data/d/e && touch /data/d/e/f")
        said_no = refused(sandbox, "dd if=/dev/zero of=/data/big bs=1M count=1100")
        assert "Disk quota exceeded" in said_no
        with pytest.raises(VolumeException, match=r"507: .*Disk quota exceeded"):
            full.write_file("more", bytes(8_000_000))
        assert not full.exists("more")
        other.write_file("more", bytes(8_000_000))
        said(sandbox, "echo fine > /other/a")
        with pytest.raises(VolumeException, match=r"507: .*Disk quota exceeded"):
            full.make_dir("e")
        full.remove("d")
        full.remove("big")
        full.write_file("more", bytes(8_000_000))
        sandbox.kill()
        assert Volume.destroy(full.volume_id)
        assert Volume.destroy(other.volume_id)
    finally:
        berm.berm("down")
        del berm.env["BERM_VOLUME_GB"]
        berm.berm("up")
