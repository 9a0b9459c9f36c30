import pytest

from berm.errors import BermError, Code
from berm.gateway.hosts import Target, target

ID = "i" + "a1" * 9 + "z"
OTHER = "i" + "b" * 19


@pytest.mark.parametrize(
    "host",
    [
        f"3000-{ID}.localhost",
        f"3000-{ID}.localhost:49980",
        f"3000-{ID}.e2b.example",
        f"3000-{ID}.e2b.example.:443",
        f"3000-{ID.upper()}.E2B.Example",
        f"03000-{ID}.localhost",
    ],
)
def test_host_label_names_the_port_and_wins_over_headers(host: str) -> None:
    assert target(host, OTHER, "8080", "e2b.example") == Target(ID, 3000)
    assert target(host, None, None, "localhost:49980") == Target(ID, 3000)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:49980",
        "[::1]:49980",
        "localhost",
        "LocalHost:1234",
        "e2b.example",
        "e2b.example:8443",
        "sandbox.e2b.example",
    ],
)
def test_headers_name_the_port_where_the_host_cannot(host: str) -> None:
    assert target(host, ID, "49983", "e2b.example:8443") == Target(ID, 49983)
    assert target(host, None, None, "e2b.example") is None
    assert target(host, ID, None, "e2b.example") is None
    assert target(host, None, "49983", "e2b.example") is None


@pytest.mark.parametrize(
    "host", ["api.e2b.example", "api.localhost:49980", "dashboard.example", "a-b.example"]
)
def test_other_hosts_are_the_apis_whatever_the_headers(host: str) -> None:
    assert target(host, ID, "49983", "e2b.example") is None


@pytest.mark.parametrize(
    ("host", "named"),
    [
        (f"0-{ID}.localhost", "0"),
        (f"65536-{ID}.localhost", "65536"),
        (f"{'9' * 5000}-{ID}.localhost", "999"),
        ("3000-short.localhost", "short"),
        (f"3000-{ID}x.localhost", f"{ID}x"),
        ("3000-.localhost", "''"),
    ],
)
def test_malformed_host_labels(host: str, named: str) -> None:
    with pytest.raises(BermError) as caught:
        target(host, None, None, "localhost")
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert named in caught.value.message
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("sandbox_id", "port"),
    [(ID, ""), (ID, "-1"), (ID, "+80"), (ID, "80 "), (ID, "٣"), ("", "80"), ("../x", "80")],
)
def test_malformed_headers(sandbox_id: str, port: str) -> None:
    with pytest.raises(BermError):
        target("localhost", sandbox_id, port, "localhost")
