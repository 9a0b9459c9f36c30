import pytest

from berm.models import AGENT_PORT
from tests.gateway.servers import SANDBOX, Front, closed_port, get, host, raw_sandbox, saying

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("name", ["api.localhost:49980", "127.0.0.1:49980", "localhost:49980", "localhost"])
async def test_what_names_no_sandbox_is_for_the_api(front: Front, name: str) -> None:
    answer = await front.exchange(
        f"GET /v2/sandboxes HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
    )
    assert b"x-server: api" in answer
    assert b"/v2/sandboxes" in answer


async def test_both_kinds_share_a_client_connection(front: Front) -> None:
    async with raw_sandbox(saying(OK)) as port:
        last = b"GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = await front.exchange(get(port) + last)
    assert answer.index(b"hello") < answer.index(b"x-server: api")


async def test_headers_name_the_sandbox(front: Front) -> None:
    async with raw_sandbox(saying(OK)) as port, front.client(port) as client:
        named = {"host": "localhost", "e2b-sandbox-id": SANDBOX, "e2b-sandbox-port": str(port)}
        assert (await client.get("/", headers=named)).content == b"hello"


async def test_sandbox_that_is_not_running(front: Front) -> None:
    async with front.client(AGENT_PORT) as client:
        sandbox_id = "i" + "b" * 19
        answer = await client.get("/health", headers={"host": host(AGENT_PORT, sandbox_id)})
    assert answer.status_code == 502
    assert answer.json() == {"sandboxId": sandbox_id, "message": "The sandbox was not found", "code": 502}


async def test_port_that_is_not_open(front: Front) -> None:
    port = closed_port()
    async with front.client(port) as client:
        answer = await client.get("/")
        page = await client.get("/", headers={"accept": "text/html"})
    assert answer.status_code == page.status_code == 502
    assert answer.json() == {
        "sandboxId": SANDBOX,
        "message": "The sandbox is running but port is not open",
        "port": port,
        "code": 502,
    }
    assert "The sandbox is running but port is not open" in page.text


async def test_malformed_target(front: Front) -> None:
    answer = await front.exchange(b"GET / HTTP/1.1\r\nHost: 70000-x.localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/init", "/%69nit", "//init", "http://other/init"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_control_routes_of_the_agent_are_refused(front: Front, method: str, path: str) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: {host(AGENT_PORT)}\r\nConnection: close\r\n\r\n"
    answer = await front.exchange(head.encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert SANDBOX.encode() in answer
