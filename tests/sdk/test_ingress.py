"""Private ports, masked hosts and TLS inside, as the official SDK asks for them."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from e2b import AsyncSandbox, Sandbox
from e2b.sandbox.sandbox_api import SandboxNetworkOpts
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.instance import Instance
from tests.sdk.test_ports import ECHO, PORT, WEB, by_host, client, serve  # noqa: F401 - a fixture

PRIVATE: SandboxNetworkOpts = {"allow_public_traffic": False}

TLS = WEB.replace(
    'print("ready"',
    """import ssl, subprocess
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
    "-subj", "/CN=inside", "-keyout", "key.pem", "-out", "cert.pem"], check=True, capture_output=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready\"""",
)


def with_token(sandbox: Sandbox) -> dict[str, str]:
    assert sandbox.traffic_access_token
    return {**by_host(sandbox), "e2b-traffic-access-token": sandbox.traffic_access_token}


def seen(answer: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.json()["headers"].items()}


@pytest.fixture
def up_again(berm: Instance) -> Iterator[None]:
    yield
    berm.berm("up")


@pytest.mark.usefixtures("up_again")
def test_private_ports(create: Callable[..., Sandbox], berm: Instance, client: httpx.Client) -> None:  # noqa: F811
    sandbox = create(timeout=120, network=PRIVATE)
    serve(sandbox, WEB)
    for _ in range(2):
        refused = client.get("/", headers=by_host(sandbox))
        assert refused.status_code == 403
        assert refused.json()["sandboxId"] == sandbox.sandbox_id
        assert client.get("/", headers=with_token(sandbox)).status_code == 200
        assert sandbox.is_running()
        assert sandbox.commands.run("echo in").stdout == "in\n"
        berm.berm("down")
        berm.berm("up")
    again = Sandbox.connect(sandbox.sandbox_id)
    assert again.traffic_access_token == sandbox.traffic_access_token
    network = sandbox.get_info().network
    assert network is not None
    assert network["allow_public_traffic"] is False


async def test_private_ports_take_web_sockets_with_the_token(berm: Instance) -> None:
    sandbox = await AsyncSandbox.create(timeout=120, network=PRIVATE)
    await sandbox.files.write("server.py", ECHO)
    await sandbox.commands.run("python3 server.py > out & until grep -q ready out; do :; done")
    url, port = f"ws://{sandbox.get_host(PORT)}/", int(berm.env["BERM_PORT"])
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, host="127.0.0.1", port=port, proxy=None)
    assert refused.value.response.status_code == 403
    assert sandbox.traffic_access_token
    headers = {"E2B-Traffic-Access-Token": sandbox.traffic_access_token}
    async with connect(url, host="127.0.0.1", port=port, proxy=None, additional_headers=headers) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
    await sandbox.kill()


def test_public_ports_need_no_token(sandbox: Sandbox) -> None:
    assert not sandbox.traffic_access_token


def test_the_host_is_masked(create: Callable[..., Sandbox], client: httpx.Client) -> None:  # noqa: F811
    sandbox = create(timeout=120, network={"mask_request_host": "${PORT}-app.example.com"})
    serve(sandbox, WEB)
    assert seen(client.get("/", headers=by_host(sandbox)))["host"] == f"{PORT}-app.example.com"
    network = sandbox.get_info().network
    assert network is not None
    assert network["mask_request_host"] == "${PORT}-app.example.com"


def test_a_port_that_speaks_tls_inside(create: Callable[..., Sandbox], client: httpx.Client) -> None:  # noqa: F811
    sandbox = create(timeout=120, network={"https_ports": [PORT]})
    serve(sandbox, TLS)
    for _ in range(2):
        assert client.get("/a", headers=by_host(sandbox)).json()["path"] == "/a"
