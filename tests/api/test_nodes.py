import pytest

from berm import __version__
from berm.config import Config
from tests.api.checks import check_error
from tests.api.test_sandboxes import create
from tests.conftest import Serve
from tests.fakes import FakeNode
from tests.serving import Served

CLUSTER = "00000000-0000-0000-0000-000000000000"
OTHER = "00000000-0000-0000-0000-000000000001"
GIB = 1 << 30


@pytest.fixture
def admin(config: Config, served: Served) -> dict[str, str]:
    """The header that opens these calls."""
    assert config.admin_token_file.stat().st_mode & 0o777 == 0o600
    return {"X-Admin-Token": config.admin_token_file.read_text().strip()}


def test_a_node_with_its_numbers(served: Served, admin: dict[str, str]) -> None:
    create(served)
    create(served)
    [node] = served.client.get("/nodes", headers=admin).json()
    assert node == {
        "id": "node",
        "clusterID": CLUSTER,
        "serviceInstanceID": node["serviceInstanceID"],
        "version": __version__,
        "commit": "",
        "status": "ready",
        "statusChangedAt": node["statusChangedAt"],
        "sandboxCount": 2,
        "sandboxStartingCount": 0,
        "createSuccesses": 2,
        "createFails": 0,
        "machineInfo": {
            "cpuFamily": "6",
            "cpuModel": "85",
            "cpuModelName": "A processor",
            "cpuArchitecture": "x86_64",
        },
        "metrics": {
            "allocatedCPU": 4,
            "allocatedMemoryBytes": 2 * GIB,
            "cpuCount": 8,
            "cpuPercent": 12,
            "memoryTotalBytes": 64 * GIB,
            "memoryUsedBytes": 16 * GIB,
            "hugePagesTotal": 4,
            "hugePagesUsed": 3,
            "hugePagesReserved": 2,
            "hugePageSizeBytes": 2 << 20,
            "disks": [
                {
                    "mountPoint": "/",
                    "device": "/dev/vda",
                    "filesystemType": "ext4",
                    "usedBytes": 30 * GIB,
                    "totalBytes": 100 * GIB,
                }
            ],
        },
    }
    del node["sandboxStartingCount"]
    assert served.client.get("/nodes/node", headers=admin).json() == node


@pytest.mark.parametrize(("cluster", "count"), [(CLUSTER, 1), (OTHER, 0)])
def test_clusters(served: Served, admin: dict[str, str], cluster: str, count: int) -> None:
    found = served.client.get(f"/nodes?clusterID={cluster}", headers=admin)
    assert len(found.json()) == count
    found = served.client.get(f"/nodes/node?clusterID={cluster}", headers=admin)
    assert found.status_code == (200 if count else 404)
    change = {"status": "ready", "clusterID": cluster}
    changed = served.client.post("/nodes/node", json=change, headers=admin)
    assert changed.status_code == (204 if count else 404)


def test_a_node_that_drains_takes_no_new_sandboxes(served: Served, admin: dict[str, str]) -> None:
    alive = create(served)["sandboxID"]
    before = served.client.get("/nodes/node", headers=admin).json()
    assert served.client.post("/nodes/node", json={"status": "draining"}, headers=admin).status_code == 204
    after = served.client.get("/nodes/node", headers=admin).json()
    assert after["status"] == "draining"
    assert after["statusChangedAt"] > before["statusChangedAt"]
    for path in ("/sandboxes", "/v2/sandboxes"):
        refused = served.client.post(path, json={"templateID": "base"})
        check_error(refused, 503, "this server is draining: it takes no new sandboxes")
        assert refused.headers["Retry-After"]
    assert served.client.get(f"/sandboxes/{alive}").json()["state"] == "running"
    assert served.client.post(f"/sandboxes/{alive}/timeout", json={"timeout": 60}).status_code == 204
    served.client.post("/nodes/node", json={"status": "ready"}, headers=admin)
    create(served)


def test_a_node_that_drains_forks_nothing(served: Served, admin: dict[str, str]) -> None:
    alive = create(served)["sandboxID"]
    served.client.post("/nodes/node", json={"status": "draining"}, headers=admin)
    [fork] = served.client.post(f"/sandboxes/{alive}/fork", json={"count": 1}).json()
    assert fork["error"]["code"] == 503
    assert "this server is draining" in fork["error"]["message"]
    assert list(served.node.running()) == [alive]


def test_an_idempotent_request_is_repeated_while_it_drains(served: Served, admin: dict[str, str]) -> None:
    once = {"Idempotency-Key": "a"}
    made = served.client.post("/v2/sandboxes", json={"templateID": "base"}, headers=once)
    served.client.post("/nodes/node", json={"status": "draining"}, headers=admin)
    again = served.client.post("/v2/sandboxes", json={"templateID": "base"}, headers=once)
    assert again.json() == made.json()


def test_the_status_outlives_the_server(serve: Serve, config: Config) -> None:
    first = serve(FakeNode())
    admin = {"X-Admin-Token": config.admin_token_file.read_text().strip()}
    first.client.post("/nodes/node", json={"status": "standby"}, headers=admin)
    second = serve(FakeNode())
    node = second.client.get("/nodes/node", headers=admin).json()
    assert node["status"] == "standby"
    assert (
        node["serviceInstanceID"]
        != first.client.get("/nodes/node", headers=admin).json()["serviceInstanceID"]
    )
    check_error(second.client.post("/sandboxes", json={"templateID": "base"}), 503, "this server is standby")


@pytest.mark.parametrize("status", ["connecting", "unhealthy"])
def test_what_a_node_is_found_to_be_it_is_not_told(
    served: Served, admin: dict[str, str], status: str
) -> None:
    refused = served.client.post("/nodes/node", json={"status": status}, headers=admin)
    check_error(refused, 409, f"status is '{status}'")


@pytest.mark.parametrize(
    "body", [{}, {"status": "gone"}, {"status": 1}, {"status": "ready", "clusterID": "x"}]
)
def test_no_status(served: Served, admin: dict[str, str], body: dict[str, object]) -> None:
    assert served.client.post("/nodes/node", json=body, headers=admin).status_code == 400


def test_no_node(served: Served, admin: dict[str, str]) -> None:
    check_error(served.client.get("/nodes/other", headers=admin), 404, "node 'other' not found")
    change = served.client.post("/nodes/other", json={"status": "draining"}, headers=admin)
    check_error(change, 404, "node 'other' not found")
    check_error(served.client.get("/nodes?clusterID=x", headers=admin), 400, "clusterID")


def test_an_api_key_opens_none_of_it(served: Served) -> None:
    for method, path in (("GET", "/nodes"), ("GET", "/nodes/node"), ("POST", "/nodes/node")):
        body = {"status": "draining"} if method == "POST" else None
        check_error(served.client.request(method, path, json=body), 401, "no admin token")
        wrong = served.client.request(method, path, json=body, headers={"X-Admin-Token": served.key})
        check_error(wrong, 401, "the admin token is wrong")
    create(served)
