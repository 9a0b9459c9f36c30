from typing import Any

import pytest

from berm.gateway.answers import RefusalError
from berm.gateway.routes import CONTROL_ROUTES, Route, Router
from berm.models import AGENT_PORT, Endpoint, Ingress
from tests.gateway.servers import ACCESS_TOKEN, DOMAIN, SANDBOX, SANDBOX_ADDRESS, MapResolver, host


@pytest.fixture
def router() -> Router:
    return Router(MapResolver(), DOMAIN)


def headers(name: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", name.encode())]


async def test_running_sandbox(router: Router) -> None:
    route = await router.route(headers(host(3000)), "/")
    assert isinstance(route, Route)
    assert route.endpoint == Endpoint(SANDBOX_ADDRESS, 3000)
    assert route.target.sandbox_id == SANDBOX


async def test_headers_route_requests_without_a_sandbox_host(router: Router) -> None:
    named = [(b"host", b"127.0.0.1"), (b"e2b-sandbox-id", SANDBOX.encode()), (b"e2b-sandbox-port", b"49999")]
    route = await router.route(named, "/execute")
    assert route is not None
    assert route.endpoint.port == 49999


async def test_api(router: Router) -> None:
    assert await router.route(headers("api.localhost:49980"), "/init") is None
    assert await router.route([], "/init") is None


async def test_sandbox_that_is_not_running(router: Router) -> None:
    with pytest.raises(RefusalError) as caught:
        await router.route(headers(host(3000, "i" + "b" * 19)), "/")
    assert (caught.value.status, caught.value.message) == (502, "The sandbox was not found")


async def test_a_sandbox_that_cannot_be_woken_says_why() -> None:
    tired = "i" + "c" * 19
    router = Router(MapResolver(paused={tired: SANDBOX_ADDRESS}, full=True), DOMAIN)
    with pytest.raises(RefusalError) as caught:
        await router.route(headers(host(80, tired)), "/")
    assert caught.value.status == 502
    assert caught.value.message == "The sandbox could not be resumed: no room"


async def test_malformed_target(router: Router) -> None:
    with pytest.raises(RefusalError) as caught:
        await router.route(headers("99999-x.localhost"), "/")
    assert caught.value.status == 400


@pytest.mark.parametrize("form", ["{}", "/{}", "{}/", "/.{}", "/x/..{}", "//{}//"])
@pytest.mark.parametrize("path", sorted(CONTROL_ROUTES))
async def test_control_routes_of_the_agent_are_refused(router: Router, path: str, form: str) -> None:
    with pytest.raises(RefusalError) as caught:
        await router.route(headers(host(AGENT_PORT)), form.format(path))
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("port", "path"), [(AGENT_PORT, "/health"), (AGENT_PORT, "/init/x"), (3000, "/init")]
)
async def test_other_routes_are_not(router: Router, port: int, path: str) -> None:
    assert await router.route(headers(host(port)), path) is not None


def linked(method: str, path: str, query: bytes) -> Route | None:
    resolver = MapResolver(signers={"v1_ours": SANDBOX, "v1_gone": "i" + "b" * 19})
    return Router(resolver, DOMAIN).linked(method, path, query)


def test_a_signed_link_leads_to_the_agent_of_its_signer() -> None:
    route = linked("GET", "/files", b"path=a&signature=v1_ours")
    assert route is not None
    assert route.endpoint == Endpoint(SANDBOX_ADDRESS, AGENT_PORT)
    assert route.target.sandbox_id == SANDBOX


def test_what_is_no_link_to_a_file_is_for_the_api() -> None:
    assert linked("GET", "/health", b"signature=v1_ours") is None


def test_a_link_without_a_signature_says_that_it_names_nobody() -> None:
    with pytest.raises(RefusalError, match="not signed") as caught:
        linked("GET", "/files", b"path=a")
    assert caught.value.status == 404


@pytest.mark.parametrize("signature", [b"v1_other", b"v1_gone", b"%ff", b""])
def test_a_link_that_no_running_sandbox_signed(signature: bytes) -> None:
    with pytest.raises(RefusalError) as caught:
        linked("GET", "/files", b"path=a&signature=" + signature + b"x" * (not signature))
    assert caught.value.status == 401


@pytest.mark.parametrize("query", [b"path=" + b"%41" * 5500, b"&".join([b"a=b"] * 17)])
def test_a_link_that_would_take_long_to_read_is_refused(query: bytes) -> None:
    with pytest.raises(RefusalError, match="at most 16384 bytes and 16 fields") as caught:
        linked("GET", "/files", b"signature=v1_ours&" + query)
    assert caught.value.status == 400


def test_the_longest_path_is_taken() -> None:
    assert linked("GET", "/files", b"path=" + b"%ff" * 4096 + b"&signature=v1_ours") is not None


TOKEN = "token-of-the-ports"
PRIVATE = Ingress(traffic_token=TOKEN)


def routed(**known: Any) -> tuple[Router, MapResolver]:
    resolver = MapResolver(**known)
    return Router(resolver, DOMAIN), resolver


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "is missing"),
        ([(b"e2b-traffic-access-token", b"")], "is wrong"),
        ([(b"e2b-traffic-access-token", TOKEN[:-1].encode())], "is wrong"),
        ([(b"e2b-traffic-access-token", b"\xff\xfe")], "is wrong"),
        ([(b"x-access-token", TOKEN.encode())], "is missing"),
    ],
)
async def test_private_ports_want_their_token(given: list[tuple[bytes, bytes]], said: str) -> None:
    router, _ = routed(ingresses={SANDBOX: PRIVATE})
    with pytest.raises(RefusalError) as caught:
        await router.route([*headers(host(3000)), *given], "/")
    assert caught.value.status == 403
    assert caught.value.message.endswith(said)
    assert TOKEN not in caught.value.message


@pytest.mark.parametrize("form", [headers(host(3000)), [(b"e2b-sandbox-id", SANDBOX.encode())]])
async def test_private_ports_open_to_their_token(form: list[tuple[bytes, bytes]]) -> None:
    router, _ = routed(ingresses={SANDBOX: PRIVATE})
    given = [*form, (b"e2b-sandbox-port", b"3000"), (b"e2b-traffic-access-token", TOKEN.encode())]
    route = await router.route(given, "/")
    assert route is not None
    assert route.endpoint == Endpoint(SANDBOX_ADDRESS, 3000)


async def test_the_agents_port_has_a_token_of_its_own() -> None:
    ingress = Ingress(traffic_token=TOKEN, mask_host="other")
    router, _ = routed(ingresses={SANDBOX: ingress})
    route = await router.route(headers(host(AGENT_PORT)), "/health")
    assert route is not None
    assert route.host == b""


async def test_the_mask_names_the_port() -> None:
    router, _ = routed(ingresses={SANDBOX: Ingress(mask_host="${PORT}-app.x:${PORT}", https_ports=(8443,))})
    for port, tls in ((8443, True), (80, False)):
        route = await router.route(headers(host(port)), "/")
        assert route is not None
        assert route.host == b"%d-app.x:%d" % (port, port)
        assert route.endpoint.tls is tls


def paused(**known: Any) -> tuple[Router, MapResolver]:
    return routed(addresses={}, paused={SANDBOX: SANDBOX_ADDRESS}, **known)


async def test_a_request_wakes_its_sandbox() -> None:
    router, resolver = paused(waking=True)
    route = await router.route(headers(host(3000)), "/")
    assert route is not None
    assert route.endpoint == Endpoint(SANDBOX_ADDRESS, 3000)
    assert resolver.woken == [SANDBOX]


async def test_a_sandbox_that_stays_paused() -> None:
    router, _ = paused()
    with pytest.raises(RefusalError) as caught:
        await router.route(headers(host(3000)), "/")
    assert (caught.value.status, caught.value.message) == (502, "The sandbox was not found")
    assert "paused" in caught.value.hint


async def test_only_who_may_come_in_wakes_a_private_sandbox() -> None:
    router, resolver = paused(waking=True, ingresses={SANDBOX: PRIVATE})
    with pytest.raises(RefusalError) as caught:
        await router.route(headers(host(3000)), "/")
    assert (caught.value.status, resolver.woken) == (403, [])


async def test_the_agents_port_wakes_with_its_token_only() -> None:
    router, resolver = paused(waking=True)
    for given in ([], [(b"x-access-token", b"wrong")]):
        with pytest.raises(RefusalError) as caught:
            await router.route([*headers(host(AGENT_PORT)), *given], "/health")
        assert (caught.value.status, resolver.woken) == (502, [])
    route = await router.route(
        [*headers(host(AGENT_PORT)), (b"x-access-token", ACCESS_TOKEN.encode())], "/health"
    )
    assert route is not None
    assert resolver.woken == [SANDBOX]
