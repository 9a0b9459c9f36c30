import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from berm import config
from berm.config import Config
from berm.control import base
from berm.control.keys import Keys
from berm.control.templates import Templates
from berm.errors import BermError, Code
from berm.images import debian
from berm.models import LogLine, Running, SandboxSpec
from berm.store.database import Database
from tests.images.oci import Registry, file, layer, running_registry, tree_layer
from tests.images.small import busybox_rootfs

pytestmark = pytest.mark.root


class ChrootNode:
    """A fake: a sandbox is a copy of its layer, and a command in it a chroot."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._trees: dict[str, Path] = {}
        self.specs: list[SandboxSpec] = []

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def running(self) -> Mapping[str, Running]:
        return {name: Running(name, "") for name in self._trees}

    async def create(self, spec: SandboxSpec) -> Running:
        (source,) = spec.layers
        tree = self._directory / spec.sandbox_id
        shutil.copytree(self.layer_path(source), tree, symlinks=True)
        self._trees[spec.sandbox_id] = tree
        self.specs.append(spec)
        return Running(spec.sandbox_id, "")

    async def kill(self, sandbox_id: str) -> bool:
        tree = self._trees.pop(sandbox_id, None)
        if tree:
            shutil.rmtree(tree)
        return tree is not None

    async def logs(self, sandbox_id: str) -> Sequence[LogLine]:
        return ()

    async def run(self, sandbox_id: str, command: Sequence[str], output: Callable[[str], None]) -> int:
        done = chroot(self._trees[sandbox_id], command)
        for line in done.stdout.splitlines():
            output(line)
        return done.returncode

    async def commit(self, sandbox_id: str) -> str:
        name = f"layer-{sandbox_id}"
        self._trees.pop(sandbox_id).rename(self.layer_path(name))
        return name

    def layer_path(self, name: str) -> Path:
        return self._directory / "layers" / name

    async def ended(self) -> AsyncIterator[str]:
        await asyncio.Future[None]()
        yield ""


def chroot(tree: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    if not os.path.lexists(tree / command[0].lstrip("/")):
        raise BermError(Code.INTERNAL, f"{command[0]} is not there")
    return subprocess.run(
        ["chroot", str(tree), *command],
        env={"PATH": "/bin:/usr/sbin:/usr/bin:/sbin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def small(registry: Registry, tmp_path: Path) -> str:
    rootfs = busybox_rootfs(tmp_path / "small")
    registry.push("library/small:1", [tree_layer(rootfs)], {"Env": ["PATH=/bin", "LANG=C"], "User": "root"})
    return f"{registry.address}/library/small:1"


@pytest.fixture
def node(tmp_path: Path) -> ChrootNode:
    return ChrootNode(tmp_path / "node")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'berm.db'}")
    await opened.start()
    yield opened
    await opened.close()


@pytest.fixture
def templates(database: Database) -> Templates:
    return Templates(database)


@pytest.fixture
async def team_id(database: Database, tmp_path: Path) -> str:
    keys = Keys(database)
    await keys.start(tmp_path / "key")
    return (await keys.first_team()).team_id


def configured(**changes: str) -> Config:
    return config.load({f"BERM_{name.upper()}": value for name, value in changes.items()})


def nobody() -> str:
    """An address on loopback where no registry answers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}/library/base:1"


async def log_of(templates: Templates, team_id: str) -> list[str]:
    build = (await templates.get(team_id, base.BASE)).build
    return [line.message for line in await templates.lines(build.build_id, 0, 1000)]


async def make_base(node: ChrootNode, templates: Templates, team_id: str, config: Config) -> None:
    """What a server does when it starts."""
    build = await base.begin_base(templates, team_id)
    if build is not None:
        await base.make_base(node, templates, build, config)


async def test_an_image_becomes_the_base(
    small: str, node: ChrootNode, templates: Templates, team_id: str
) -> None:
    await make_base(node, templates, team_id, configured(base_image=small))

    template = await templates.resolve(team_id, base.BASE)
    image, additions = template.layers
    assert image.startswith("img-")
    assert template.env == {"PATH": "/bin", "LANG": "C"}
    assert (template.user, template.workdir) == ("user", "")
    assert "user:x:1000:1000::/home/user:/bin/bash" in passwd(node.layer_path(additions))
    assert "user" not in (node.layer_path(image) / "etc/passwd").read_text()
    assert node.running() == {}


async def test_the_sandbox_it_is_made_in_is_root_without_internet(
    small: str, node: ChrootNode, templates: Templates, team_id: str
) -> None:
    await make_base(node, templates, team_id, configured(base_image=small))
    (spec,) = node.specs
    assert (spec.user, spec.allow_internet) == ("root", False)
    assert spec.access_token


async def test_the_log_tells_how_it_goes(
    small: str, node: ChrootNode, templates: Templates, team_id: str
) -> None:
    await make_base(node, templates, team_id, configured(base_image=small))
    lines = await log_of(templates, team_id)
    assert lines[0].startswith("Pulling ")
    assert lines[-1] == "Added user with uid 1000"


async def test_a_base_that_is_ready_is_kept(
    small: str, node: ChrootNode, templates: Templates, team_id: str
) -> None:
    await make_base(node, templates, team_id, configured(base_image=small))
    made = await templates.resolve(team_id, base.BASE)
    await make_base(node, templates, team_id, configured(base_image=nobody()))
    assert await templates.resolve(team_id, base.BASE) == made


async def test_without_a_registry_debian_is_used_and_a_finished_layer_is_not_made_again(
    node: ChrootNode, templates: Templates, team_id: str
) -> None:
    busybox_rootfs(node.layer_path(debian.layer_name()))
    await make_base(node, templates, team_id, configured(base_image=nobody(), debian_mirror="nowhere"))
    template = await templates.resolve(team_id, base.BASE)
    assert template.layers[0] == debian.layer_name()
    assert template.env == debian.CONFIG.env
    assert "connection refused" in (await log_of(templates, team_id))[0]


async def test_an_image_that_was_pulled_is_not_pulled_again(
    small: str, registry: Registry, node: ChrootNode, templates: Templates, team_id: str
) -> None:
    registry.push("library/other:1", [layer([file("other")])])
    image = f"{registry.address}/library/other:1"
    with pytest.raises(BermError):
        await make_base(node, templates, team_id, configured(base_image=image))
    (pulled,) = (node.layer_path("any").parent).iterdir()
    busybox_rootfs(pulled / "finished")
    for part in (pulled / "finished").iterdir():
        part.rename(pulled / part.name)

    await make_base(node, templates, team_id, configured(base_image=image))
    template = await templates.resolve(team_id, base.BASE)
    assert template.layers[0] == pulled.name
    assert not any(line.startswith("Pulling") for line in await log_of(templates, team_id))


async def test_an_image_without_a_shell_is_refused(
    registry: Registry, node: ChrootNode, templates: Templates, team_id: str
) -> None:
    registry.push("library/shell-less:1", [layer([file("only")])])
    image = f"{registry.address}/library/shell-less:1"
    with pytest.raises(BermError, match="/bin/sh did not run"):
        await make_base(node, templates, team_id, configured(base_image=image))
    build = (await templates.get(team_id, base.BASE)).build
    assert build.reason and "use an image with a shell" in build.reason
    assert build.reason_step == "base"
    assert node.running() == {}


async def test_a_failure_is_recorded_and_the_next_try_begins_anew(
    small: str, node: ChrootNode, templates: Templates, team_id: str
) -> None:
    with pytest.raises(BermError) as caught:
        await make_base(node, templates, team_id, configured(base_image=f"{small}-missing"))
    assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(BermError, match="manifest unknown"):
        await templates.resolve(team_id, base.BASE)
    await make_base(node, templates, team_id, configured(base_image=small))
    assert (await templates.resolve(team_id, base.BASE)).layers


async def test_what_a_killed_server_left_is_removed(
    small: str, node: ChrootNode, templates: Templates, team_id: str
) -> None:
    left = node.layer_path(".partial-abc")
    (left / "tree").mkdir(parents=True)
    await make_base(node, templates, team_id, configured(base_image=small))
    assert not left.exists()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return busybox_rootfs(tmp_path / "tree")


def provision(tree: Path) -> str:
    done = chroot(tree, ["/bin/sh", "-c", base.PROVISION])
    assert done.returncode == 0, done.stdout
    return done.stdout


def passwd(tree: Path) -> list[str]:
    return (tree / "etc/passwd").read_text().splitlines()


def test_provisioning_twice_changes_nothing(tree: Path) -> None:
    (tree / "usr/bin/sudo").touch(0o755)
    provision(tree)
    before = {path: (path.lstat().st_size, path.lstat().st_mode) for path in tree.rglob("*")}
    assert provision(tree) == ""
    assert {path: (path.lstat().st_size, path.lstat().st_mode) for path in tree.rglob("*")} == before


def test_the_home_is_the_users(tree: Path) -> None:
    (tree / "etc/skel").mkdir()
    (tree / "etc/skel/.profile").write_text("umask 022\n")
    provision(tree)
    for path in (tree / "home/user", tree / "home/user/.profile"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1000, 1000)


def test_taken_ids_are_left_to_their_owners(tree: Path) -> None:
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh")
    (tree / "etc/group").write_text("root:x:0:\nnode:x:1000:\nstaff:x:1001:node")
    provision(tree)
    assert passwd(tree)[2:] == ["user:x:1002:1002::/home/user:/bin/bash"]
    assert (tree / "etc/group").read_text().splitlines()[-2:] == ["staff:x:1001:node", "user:x:1002:"]


def test_an_image_with_such_a_user_keeps_it(tree: Path) -> None:
    line = "user:x:500:50::/srv/user:/bin/sh"
    (tree / "etc/passwd").write_text(f"root:x:0:0:root:/root:/bin/sh\n{line}\n")
    provision(tree)
    assert passwd(tree)[1:] == [line]
    assert ((tree / "srv/user").stat().st_uid, (tree / "srv/user").stat().st_gid) == (500, 50)


def test_a_home_that_waits_for_its_user_is_given_to_it(tree: Path) -> None:
    (tree / "home/user").mkdir(parents=True)
    (tree / "home/user/notes").touch()
    provision(tree)
    assert (tree / "home/user/notes").stat().st_uid == 1000


def test_sudo_needs_no_password_where_it_exists(tree: Path) -> None:
    provision(tree)
    assert not (tree / "etc/sudoers.d").exists()
    (tree / "usr/bin/sudo").touch(0o755)
    provision(tree)
    rule = tree / "etc/sudoers.d/user"
    assert rule.read_text() == "user ALL=(ALL:ALL) NOPASSWD: ALL\n"
    assert rule.stat().st_mode & 0o777 == 0o440


def test_the_shadow_file_gets_a_locked_password(tree: Path) -> None:
    (tree / "etc/shadow").write_text("root:*:19000::::::\n")
    provision(tree)
    assert (tree / "etc/shadow").read_text().splitlines()[1:] == ["user:*:::::::"]


def test_bash_is_there_for_the_sdks(tree: Path) -> None:
    assert "bash" in provision(tree)
    done = chroot(tree, ["/bin/bash", "-l", "-c", "echo $((1 + 2)); exit 7"])
    assert (done.stdout, done.returncode) == ("3\n", 7)


def test_a_bash_of_the_image_is_kept(tree: Path) -> None:
    (tree / "bin/bash").write_text("#!/bin/sh\n")
    (tree / "bin/bash").chmod(0o755)
    provision(tree)
    assert (tree / "bin/bash").read_text() == "#!/bin/sh\n"
