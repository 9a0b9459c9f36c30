"""The official SDK against the control plane: what it returns, and which of its exceptions it raises."""

from datetime import timedelta
from typing import TypedDict

import pytest
from e2b import (
    AuthenticationException,
    RateLimitException,
    Sandbox,
    SandboxException,
    SandboxNotFoundException,
    SandboxQuery,
    SandboxState,
    ServiceBusyException,
)

from berm import ids
from berm.models import ENVD_VERSION
from tests.conftest import Serve
from tests.fakes import FullNode
from tests.serving import Served

pytestmark = pytest.mark.sdk


class Options(TypedDict):
    api_url: str
    api_key: str
    retries: int


@pytest.fixture
def options(served: Served) -> Options:
    return _options(served)


def _options(served: Served) -> Options:
    return {"api_url": served.url, "api_key": served.key, "retries": 0}


def test_create_returns_what_the_sdk_needs(served: Served, options: Options) -> None:
    sandbox = Sandbox.create("base", timeout=60, envs={"A": "b"}, metadata={"k": "v"}, **options)
    spec = served.node.specs[sandbox.sandbox_id]
    assert spec.env["A"] == "b"
    assert sandbox.sandbox_domain == "localhost:49980"
    assert sandbox._envd_access_token == spec.access_token
    info = sandbox.get_info()
    assert (info.name, info.metadata, info.state) == ("base", {"k": "v"}, SandboxState.RUNNING)
    assert info.end_at - info.started_at == timedelta(seconds=60)
    assert (info.cpu_count, info.memory_mb, info.envd_version) == (2, 1024, ENVD_VERSION)


def test_internet_can_be_denied_in_two_ways(served: Served, options: Options) -> None:
    closed = Sandbox.create("base", allow_internet_access=False, **options)
    denied = Sandbox.create("base", network={"deny_out": ["0.0.0.0/0"]}, **options)
    for sandbox in (closed, denied):
        assert served.node.specs[sandbox.sandbox_id].allow_internet is False
        assert sandbox.get_info().allow_internet_access is False


def test_kill_is_true_once(served: Served, options: Options) -> None:
    sandbox = Sandbox.create("base", **options)
    assert sandbox.kill() is True
    assert sandbox.kill() is False
    assert not served.node.running()
    with pytest.raises(SandboxNotFoundException):
        sandbox.get_info()


def test_list_filters_and_pages(options: Options) -> None:
    awkward = {"a&b": "c=d %20", "\u00fc": "\U0001f600"}
    made = [Sandbox.create("base", metadata=awkward, **options) for _ in range(3)]
    Sandbox.create("base", metadata={"a&b": "other"}, **options)
    pages = Sandbox.list(SandboxQuery(metadata=awkward), limit=2, **options)
    first, last = pages.next_items(), pages.next_items()
    assert (len(first), len(last), pages.has_next) == (2, 1, False)
    found = [info.sandbox_id for info in first + last]
    assert found == [sandbox.sandbox_id for sandbox in reversed(made)]


def test_list_by_state_time_template_and_order(options: Options) -> None:
    first, second = (Sandbox.create("base", **options) for _ in range(2))
    both = SandboxQuery(state=[SandboxState.RUNNING, SandboxState.PAUSED], template="base")
    ordered = Sandbox.list(both, order="asc", **options).next_items()
    assert [info.sandbox_id for info in ordered] == [first.sandbox_id, second.sandbox_id]
    later = SandboxQuery(started_after=second.get_info().started_at)
    assert [i.sandbox_id for i in Sandbox.list(later, **options).next_items()] == [second.sandbox_id]
    for nothing in (SandboxQuery(state=[SandboxState.PAUSED]), SandboxQuery(template="none")):
        assert Sandbox.list(nothing, **options).next_items() == []


def test_set_timeout_moves_the_end(served: Served, options: Options) -> None:
    sandbox = Sandbox.create("base", timeout=60, **options)
    before = sandbox.get_info().end_at
    sandbox.set_timeout(600)
    assert sandbox.get_info().end_at > before + timedelta(seconds=500)
    sandbox.set_timeout(0)
    served.call(served.node.gone(sandbox.sandbox_id))
    with pytest.raises(SandboxNotFoundException):
        sandbox.set_timeout(60)


def test_connect_returns_the_same_token_and_never_shortens(served: Served, options: Options) -> None:
    sandbox = Sandbox.create("base", timeout=600, **options)
    end = sandbox.get_info().end_at
    again = Sandbox.connect(sandbox.sandbox_id, timeout=10, **options)
    assert again._envd_access_token == sandbox._envd_access_token
    assert again.get_info().end_at == end
    again.connect(timeout=1200)
    assert again.get_info().end_at > end


def test_what_is_gone_raises_not_found(options: Options) -> None:
    missing = ids.sandbox_id()
    for call in (Sandbox.connect, Sandbox.get_info):
        with pytest.raises(SandboxNotFoundException):
            call(missing, **options)
    with pytest.raises(SandboxNotFoundException):
        Sandbox.set_timeout(missing, 10, **options)
    assert Sandbox.kill(missing, **options) is False


def test_a_wrong_key_raises_authentication(options: Options) -> None:
    wrong: Options = {**options, "api_key": ids.api_key()}
    with pytest.raises(AuthenticationException, match="the API key is not known"):
        Sandbox.create("base", **wrong)


def test_an_unknown_template_says_so(options: Options) -> None:
    with pytest.raises(SandboxException, match="404: template 'none' not found"):
        Sandbox.create("none", **options)


def test_a_template_that_is_being_made_is_busy(served: Served, options: Options) -> None:
    served.call(served.control.templates.begin(served.team_id, "soon"))
    with pytest.raises(ServiceBusyException, match="template 'soon' is still being made"):
        Sandbox.create("soon", **options)


def test_a_full_machine_is_busy(serve: Serve) -> None:
    with pytest.raises(ServiceBusyException, match="no room"):
        Sandbox.create("base", **_options(serve(FullNode())))


def test_the_limit_of_sandboxes_is_a_rate_limit(served: Served, options: Options) -> None:
    for _ in range(10):
        Sandbox.create("base", **options)
    with pytest.raises(RateLimitException, match="10 sandboxes are running"):
        Sandbox.create("base", **options)


def test_an_idempotency_key_gives_the_same_sandbox(options: Options) -> None:
    first = Sandbox.create("base", idempotency_key="a-1", **options)
    second = Sandbox.create("base", idempotency_key="a-1", **options)
    assert first.sandbox_id == second.sandbox_id
    with pytest.raises(SandboxException, match="422: Idempotency-Key 'a-1'"):
        Sandbox.create("base", timeout=1, idempotency_key="a-1", **options)
