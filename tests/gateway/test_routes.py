import pytest

from berm.gateway.answers import RefusalError
from berm.gateway.routes import CONTROL_ROUTES, Route, Router
from berm.models import AGENT_PORT, Endpoint
from tests.gateway.servers import DOMAIN, SANDBOX, SANDBOX_ADDRESS, MapResolver, host


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


async def test_a_sandbox_that_wakes_up_is_found() -> None:
    asleep = "i" + "c" * 19
    resolver = MapResolver(asleep={asleep: "127.0.0.9"})
    route = await Router(resolver, DOMAIN).route(headers(host(3000, asleep)), "/")
    assert route is not None
    assert route.endpoint == Endpoint("127.0.0.9", 3000)


async def test_a_sandbox_that_cannot_be_woken_says_why() -> None:
    with pytest.raises(RefusalError) as caught:
        await Router(MapResolver(asleep={"i" + "c" * 19: ""}), DOMAIN).route(
            headers(host(80, "i" + "c" * 19)), "/"
        )
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


@pytest.mark.parametrize(("path", "query"), [("/files", b"path=a"), ("/health", b"signature=v1_ours")])
def test_what_is_no_signed_link_is_for_the_api(path: str, query: bytes) -> None:
    assert linked("GET", path, query) is None


@pytest.mark.parametrize("signature", [b"v1_other", b"v1_gone", b"%ff", b""])
def test_a_link_that_no_running_sandbox_signed(signature: bytes) -> None:
    with pytest.raises(RefusalError) as caught:
        linked("GET", "/files", b"path=a&signature=" + signature + b"x" * (not signature))
    assert caught.value.status == 401
