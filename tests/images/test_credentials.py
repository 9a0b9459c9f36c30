"""Who is asked, as whom, and where that is kept: real registries on loopback that want a login."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.images import registry as images
from berm.images.login import Login, auth_file, host_of
from tests.images.oci import LOGIN, Registry, file, htpasswd, insecure, layer, running_registry
from tests.images.tokens import TokenServer, token_server

pytestmark = pytest.mark.root

BUILD_LOGIN = Login(*LOGIN)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One that wants a user name and a password."""
    directory = tmp_path_factory.mktemp("guarded")
    with running_registry(directory, htpasswd(directory)) as registry:
        registry.push("app:1", [layer([file("a")])])
        yield registry


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with token_server(tmp_path_factory.mktemp("tokens") / "server") as server:
        yield server


@pytest.fixture(scope="module")
def issued(tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One that wants a token."""
    with running_registry(tmp_path_factory.mktemp("issued"), tokens.auth) as registry:
        for name in ("private/app", "public/app"):
            registry.push(f"{name}:1", [layer([file("a")])], auth=tokens.pushing(name))
        yield registry


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has logged in to nothing."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    return tmp_path


async def denied(reference: str, login: Login | None = None) -> None:
    with pytest.raises(BermError) as caught:
        await images.inspect(reference, login)
    assert caught.value.code is Code.PERMISSION_DENIED
    assert "log in" in caught.value.hint
    assert LOGIN[1] not in str(caught.value)


async def pulled(reference: str, directory: Path, login: Login | None = None) -> bool:
    await images.pull(reference, directory / "image", directory / "work", lambda _line: None, login)
    return (directory / "image/a").exists()


async def test_a_builds_own_login(guarded: Registry, issued: Registry, home: Path) -> None:
    for number, reference in enumerate((f"{guarded.address}/app:1", f"{issued.address}/private/app:1")):
        with insecure(home, guarded.address, issued.address):
            assert await pulled(reference, home / str(number), BUILD_LOGIN)
            await denied(reference)
            await denied(reference, Login(LOGIN[0], "wrong"))


async def test_a_token_for_nobody(issued: Registry, tokens: TokenServer, home: Path) -> None:
    tokens.callers.clear()
    with insecure(home, issued.address):
        assert await pulled(f"{issued.address}/public/app:1", home)
    assert set(tokens.callers) == {""}


@pytest.mark.parametrize("place", ["run/containers/auth.json", ".docker/config.json"])
async def test_the_machines_own_credentials(
    place: str, guarded: Registry, issued: Registry, home: Path
) -> None:
    basic = base64.b64encode(":".join(LOGIN).encode()).decode()
    auths = {registry.address: {"auth": basic} for registry in (guarded, issued)}
    (home / place).parent.mkdir(parents=True)
    (home / place).write_text(json.dumps({"auths": auths}))
    with insecure(home, guarded.address, issued.address):
        assert await pulled(f"{guarded.address}/app:1", home / "one")
        assert await pulled(f"{issued.address}/private/app:1", home / "two")
        # A build's own login takes their place.
        await denied(f"{guarded.address}/app:1", Login("someone-else", "wrong"))


async def test_a_login_goes_to_no_other_registry(guarded: Registry, home: Path) -> None:
    """A mirror that asks for one does not get that of the registry it stands for."""
    mirrored = f"""
[[registry]]
location = "registry.invalid"
[[registry.mirror]]
location = "{guarded.address}"
insecure = true
"""
    with insecure(home, more=mirrored), pytest.raises(BermError):
        await images.inspect("registry.invalid/app:1", BUILD_LOGIN)


def test_a_login_is_kept_in_memory_alone() -> None:
    assert LOGIN[1] not in repr(BUILD_LOGIN)
    with auth_file("registry.invalid/app", BUILD_LOGIN) as descriptor:
        place = Path(f"/proc/self/fd/{descriptor}")
        assert str(place.readlink()).startswith("/memfd:")
        (host,) = json.loads(place.read_text())["auths"]
    assert host == "registry.invalid"
    assert not place.exists()


@pytest.mark.parametrize("name", ["some:one", "some\none"])
def test_a_user_name_that_cannot_be_sent(name: str) -> None:
    with pytest.raises(BermError, match="user name"):
        Login(name, "password")


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("debian", "docker.io"),
        ("library/debian:12", "docker.io"),
        ("index.docker.io/library/debian", "docker.io"),
        ("localhost/debian", "localhost"),
        ("localhost:5000/debian", "localhost:5000"),
        ("registry.invalid/debian@sha256:0", "registry.invalid"),
    ],
)
def test_the_registry_of_a_reference(reference: str, host: str) -> None:
    assert host_of(reference) == host
