import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from berm import config
from berm.config import Config
from berm.control import base, sudo
from berm.control.control import Control
from berm.control.provision import add_account, added_account
from berm.errors import BermError, Code
from berm.images import debian
from berm.models import Layer, Running, SandboxSpec
from berm.node import layers
from berm.node.interface import Command
from berm.store.builds import Status
from berm.templates.base import BASE_TEMPLATE
from tests.control.conftest import Start
from tests.fakes import Output, PoolNode
from tests.images.oci import Registry, file, layer, running_registry, tree_layer
from tests.images.small import busybox_rootfs

pytestmark = pytest.mark.root


class ChrootNode(PoolNode):
    """A sandbox is a copy of its layer, and a command in it a chroot."""

    def __init__(self, pool: Path) -> None:
        super().__init__(pool)
        self.program = self._chroot

    def tree(self, sandbox_id: str) -> Path:
        return self.pool / "sandboxes" / sandbox_id

    async def create(self, spec: SandboxSpec) -> Running:
        (source,) = spec.layers
        shutil.copytree(self.layer_path(source), self.tree(spec.sandbox_id), symlinks=True)
        return await super().create(spec)

    async def _chroot(self, spec: SandboxSpec, command: Command, output: Output) -> int:
        done = chroot(self.tree(spec.sandbox_id), command.argv)
        for line in done.stdout.splitlines():
            output(line)
        return done.returncode

    async def commit(self, sandbox_id: str) -> Layer:
        made = await super().commit(sandbox_id)
        self.tree(sandbox_id).rename(layers.prepare(self.pool, made.name))
        return made


def chroot(tree: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    if not os.path.lexists(tree / command[0].lstrip("/")):
        raise BermError(Code.INVALID_ARGUMENT, f"command '{command[0]}' is not found")
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
    return ChrootNode(tmp_path / "pool")


@pytest.fixture
async def control(start: Start, node: ChrootNode) -> Control:
    """As a server has it before it has made the base template."""
    return await start(node)


@pytest.fixture
async def team_id(control: Control) -> str:
    return (await control.keys.first_team()).team_id


def configured(**changes: str) -> Config:
    return config.load({f"BERM_{name.upper()}": value for name, value in changes.items()})


def nobody() -> str:
    """An address on loopback where no registry answers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}/library/base:1"


async def log_of(control: Control, team_id: str) -> list[str]:
    build = (await control.templates.get(team_id, BASE_TEMPLATE)).build
    return [line.message for line in await control.templates.lines(build.build_id, 0, 1000)]


async def make_base(control: Control, team_id: str, config: Config) -> None:
    """What a server does when it starts."""
    build = await base.begin_base(control.workshop.node, control.templates, team_id)
    if build is not None:
        await base.make_base(control.workshop, control.templates, team_id, build, config)


async def test_an_image_becomes_the_base(
    small: str, node: ChrootNode, control: Control, team_id: str
) -> None:
    await make_base(control, team_id, configured(base_image=small))

    template = await control.templates.resolve(team_id, BASE_TEMPLATE)
    image, additions = template.layers
    assert image.startswith("img-")
    assert template.env == {"PATH": "/bin", "LANG": "C"}
    assert (template.user, template.workdir) == ("user", "")
    assert "user:x:1000:1000::/home/user:/bin/bash" in passwd(node.layer_path(additions))
    assert "user" not in (node.layer_path(image) / "etc/passwd").read_text()
    assert node.running() == {}


async def test_the_sandbox_it_is_made_in_is_root_without_internet(
    small: str, node: ChrootNode, control: Control, team_id: str
) -> None:
    await make_base(control, team_id, configured(base_image=small))
    (spec,) = node.specs.values()
    assert (spec.user, spec.allow_internet, spec.kept) == ("root", False, True)
    assert spec.access_token


async def test_the_log_tells_how_it_goes(
    small: str, node: ChrootNode, control: Control, team_id: str
) -> None:
    await make_base(control, team_id, configured(base_image=small))
    lines = await log_of(control, team_id)
    assert lines[0].startswith("Pulling ")
    assert "Adding the user" in lines
    assert lines[-2:] == [
        "Added user with uid 1000",
        "No sudo in this image: a small one takes its place",
    ]


async def test_its_layers_are_recorded_once_they_are_on_disk(
    small: str, node: ChrootNode, control: Control, team_id: str
) -> None:
    await make_base(control, team_id, configured(base_image=small))
    image, additions = (await control.templates.resolve(team_id, BASE_TEMPLATE)).layers
    assert additions in node.settled
    assert await control.workshop.remembers(team_id, image)


async def test_a_base_that_is_ready_is_kept(
    small: str, node: ChrootNode, control: Control, team_id: str
) -> None:
    await make_base(control, team_id, configured(base_image=small))
    made = await control.templates.resolve(team_id, BASE_TEMPLATE)
    await make_base(control, team_id, configured(base_image=nobody()))
    assert await control.templates.resolve(team_id, BASE_TEMPLATE) == made


async def test_a_base_whose_layers_are_gone_is_made_again(
    small: str, node: ChrootNode, control: Control, team_id: str
) -> None:
    await make_base(control, team_id, configured(base_image=small))
    made = await control.templates.resolve(team_id, BASE_TEMPLATE)
    await node.drop_layers(made.layers)
    await make_base(control, team_id, configured(base_image=small))
    again = await control.templates.resolve(team_id, BASE_TEMPLATE)
    assert again.template_id == made.template_id
    assert again.layers[0] == made.layers[0]
    assert all(map(node.has_layer, again.layers))


async def test_without_a_registry_debian_is_used_and_a_finished_layer_is_not_made_again(
    node: ChrootNode, control: Control, team_id: str
) -> None:
    busybox_rootfs(await node.new_layer(debian.layer_name()))
    await make_base(control, team_id, configured(base_image=nobody(), debian_mirror="nowhere"))
    template = await control.templates.resolve(team_id, BASE_TEMPLATE)
    assert template.layers[0] == debian.layer_name()
    assert template.env == debian.CONFIG.env
    assert "connection refused" in (await log_of(control, team_id))[0]


async def test_an_image_that_was_pulled_is_not_pulled_again(
    small: str, registry: Registry, node: ChrootNode, control: Control, team_id: str
) -> None:
    registry.push("library/other:1", [layer([file("other")])])
    image = f"{registry.address}/library/other:1"
    with pytest.raises(BermError):
        await make_base(control, team_id, configured(base_image=image))
    (pulled,) = node.left()
    busybox_rootfs(node.pool / pulled / "finished")
    for part in (node.pool / pulled / "finished").iterdir():
        part.rename(node.pool / pulled / "tree" / part.name)

    await make_base(control, team_id, configured(base_image=image))
    template = await control.templates.resolve(team_id, BASE_TEMPLATE)
    assert f"layers/{template.layers[0]}" == pulled
    assert not any(line.startswith("Pulling") for line in await log_of(control, team_id))


async def test_an_image_without_a_shell_is_refused(
    registry: Registry, node: ChrootNode, control: Control, team_id: str
) -> None:
    registry.push("library/shell-less:1", [layer([file("only")])])
    image = f"{registry.address}/library/shell-less:1"
    with pytest.raises(BermError, match="failed to add the account user: command '/bin/sh' is not found"):
        await make_base(control, team_id, configured(base_image=image))
    build = (await control.templates.get(team_id, BASE_TEMPLATE)).build
    assert build.reason and "an image needs a shell, /bin/sh" in build.reason
    assert (build.status, build.reason_step) == (Status.ERROR, "base")
    assert node.running() == {}


async def test_a_failure_is_recorded_and_the_next_try_begins_anew(
    small: str, control: Control, team_id: str
) -> None:
    with pytest.raises(BermError) as caught:
        await make_base(control, team_id, configured(base_image=f"{small}-missing"))
    assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(BermError, match="manifest unknown"):
        await control.templates.resolve(team_id, BASE_TEMPLATE)
    await make_base(control, team_id, configured(base_image=small))
    assert (await control.templates.resolve(team_id, BASE_TEMPLATE)).layers


async def test_what_a_killed_server_left_is_removed(node: ChrootNode, control: Control, team_id: str) -> None:
    left = (await node.new_layer(debian.layer_name())).with_name(".partial-abc")
    (left / "tree").mkdir(parents=True)
    with pytest.raises(BermError):
        await make_base(control, team_id, configured(base_image=nobody(), debian_mirror="nowhere"))
    assert not left.exists()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return busybox_rootfs(tmp_path / "tree")


def provision(tree: Path, name: str = "user") -> str:
    done = chroot(tree, add_account(name))
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


OUR_SUDO = "No sudo in this image: a small one takes its place\n"
NO_SUDO = "No sudo: this image has none, and it cannot be installed\n"


def test_an_image_without_sudo_gets_ours(tree: Path) -> None:
    assert provision(tree).endswith(OUR_SUDO)
    program = (tree / "bin/sudo").stat()
    assert (program.st_mode & 0o7777, program.st_uid, program.st_gid) == (0o4750, 0, 1000)
    assert (tree / "bin/sudo").read_bytes() == sudo.program()
    assert (tree / sudo.SCRIPT.lstrip("/")).read_text() == sudo.TEXT
    assert "sudo" not in provision(tree), "what is there is not made again"


def test_a_machine_that_ours_is_not_for_goes_without(tree: Path) -> None:
    shell, option, script, *arguments = add_account()
    done = chroot(tree, [shell, option, script.replace(f"= {sudo.MACHINE} ", "= other "), *arguments])
    assert done.stdout.endswith(NO_SUDO)
    assert not (tree / "etc/sudoers.d").exists()
    assert "user:x:1000:1000::/home/user:/bin/bash" in passwd(tree)


def test_sudo_needs_no_password_where_it_exists(tree: Path) -> None:
    (tree / "usr/bin/sudo").touch(0o755)
    assert "sudo" not in provision(tree)
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


APT = "apt-get -o Acquire::Retries=0 update\napt-get install --yes --no-install-recommends sudo\n"
INSTALLS = {
    "apt-get": APT,
    "apk": "apk add --no-cache sudo\n",
    "dnf": "dnf install --assumeyes sudo\n",
}


def stand_in(tree: Path, name: str, script: str) -> None:
    """A program of the image that notes how it is called."""
    program = tree / "usr/bin" / name
    program.write_text(f'#!/bin/sh\necho "{name} $*" >> /called\n{script}\n')
    program.chmod(0o755)


@pytest.mark.parametrize(("name", "calls"), INSTALLS.items())
def test_sudo_is_installed_by_what_the_image_has(tree: Path, name: str, calls: str) -> None:
    stand_in(tree, name, 'case "$*" in *sudo) touch /usr/bin/sudo; chmod 755 /usr/bin/sudo;; esac')
    assert "No sudo" not in provision(tree)
    assert (tree / "called").read_text() == calls
    assert (tree / "etc/sudoers.d/user").exists()
    provision(tree)
    assert (tree / "called").read_text() == calls, "what is there is not installed again"


@pytest.mark.parametrize(("name", "calls"), INSTALLS.items())
def test_where_sudo_cannot_be_installed_ours_takes_its_place(tree: Path, name: str, calls: str) -> None:
    (tree / "var/lib/apt/lists").mkdir(parents=True)
    stand_in(tree, name, "echo it is offline\nexit 100")
    assert provision(tree).endswith(f"it is offline\n{OUR_SUDO}")
    assert (tree / "called").read_text() == calls.partition("\n")[0] + "\n"
    assert passwd(tree)[-1] == "user:x:1000:1000::/home/user:/bin/bash"


def test_package_lists_are_not_left(tree: Path) -> None:
    (tree / "var/lib/apt/lists").mkdir(parents=True)
    stand_in(tree, "apt-get", "echo list > /var/lib/apt/lists/list")
    provision(tree)
    assert list((tree / "var/lib/apt/lists").iterdir()) == []


def test_another_account_gets_a_home_and_no_sudo(tree: Path) -> None:
    stand_in(tree, "apk", "")
    (tree / "usr/bin/sudo").touch(0o755)
    assert "Added worker with uid 1000" in provision(tree, "worker")
    assert passwd(tree)[1:] == ["worker:x:1000:1000::/home/worker:/bin/bash"]
    assert (tree / "etc/group").read_text().splitlines()[1:] == ["worker:x:1000:"]
    assert (tree / "home/worker").stat().st_uid == 1000
    assert not (tree / "called").exists()
    assert not (tree / "etc/sudoers.d").exists()


def test_accounts_are_side_by_side(tree: Path) -> None:
    for name in ("worker", "user", "worker"):
        provision(tree, name)
    assert [line.split(":")[:3] for line in passwd(tree)[1:]] == [
        ["worker", "x", "1000"],
        ["user", "x", "1001"],
    ]


def test_an_account_that_was_there_is_left_as_it_is(tree: Path) -> None:
    assert "Added" not in provision(tree, "root")
    assert passwd(tree) == ["root:x:0:0:root:/root:/bin/sh"]


@pytest.mark.parametrize("name", ["a b", "$(touch /hacked)", "*", "x;y"])
def test_a_name_is_never_a_command(tree: Path, name: str) -> None:
    provision(tree, name)
    assert passwd(tree)[1:] == [f"{name}:x:1000:1000::/home/{name}:/bin/bash"]
    assert not (tree / "hacked").exists()


def test_the_command_says_whose_account_it_adds() -> None:
    assert added_account(add_account()) == "user"
    assert added_account(add_account("worker")) == "worker"
    assert added_account(("/bin/sh", "-c", "true", "sh", "worker")) == ""
