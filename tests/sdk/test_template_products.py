"""What a finished build can be turned into: an image for other engines, a difference to another."""

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2b import Template

from tests.instance import Instance
from tests.sdk.building import new_name

pytestmark = [pytest.mark.sdk, pytest.mark.root]


@pytest.fixture
def api(berm: Instance) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=berm.url, headers={"X-API-Key": berm.key}, timeout=120) as client:
        yield client


@pytest.fixture
def template(tmp_path: Path) -> str:
    """Of two builds: the second has a new file, one changed, one less, and another variable."""
    name = new_name()
    base = Template(file_context_path=tmp_path).from_base_image().set_workdir("/srv/app")
    first = base.set_envs({"A": "1", "SAME": "x"}).run_cmd("echo 1 > kept; echo 1 > lost; echo 1 > same")
    Template.build(first, f"{name}:v1.0.0")
    then = Template(file_context_path=tmp_path).from_template(f"{name}:v1.0.0").set_envs({"A": "2"})
    Template.build(then.run_cmd("echo 2 > kept; rm lost; mkdir new; echo 1 > new/file"), name)
    return name


def test_a_build_is_exported_for_other_engines(api: httpx.Client, template: str, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    with api.stream("GET", f"/berm/templates/{template}/export") as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/x-tar"
        with archive.open("wb") as file:
            for piece in response.iter_bytes():
                file.write(piece)
    shown = subprocess.run(
        ["skopeo", "inspect", "--config", f"oci-archive:{archive}"], check=True, capture_output=True
    )
    config: dict[str, Any] = json.loads(shown.stdout)
    assert {"A=2", "SAME=x"} <= set(config["config"]["Env"])
    assert (config["config"]["User"], config["config"]["WorkingDir"]) == ("user", "/srv/app")
    assert any("rm lost" in step["created_by"] for step in config["history"])
    top = files_of_top_layer(archive)
    assert {"srv/app/kept", "srv/app/.wh.lost", "srv/app/new/file"} <= top
    assert "srv/app/same" not in top


def files_of_top_layer(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> bytes:
            file = tar.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            assert file
            return file.read()

        index = tar.extractfile("index.json")
        assert index
        manifest = json.loads(blob(json.load(index)["manifests"][0]["digest"]))
        layer = blob(manifest["layers"][-1]["digest"])
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return {name.removeprefix("./") for name in tar.getnames()}


def test_two_builds_are_compared(api: httpx.Client, template: str) -> None:
    response = api.get(f"/berm/templates/{template}/diff", params={"from": "v1.0.0", "to": "2"})
    assert response.status_code == 200, response.text
    found = response.json()
    assert (found["from"]["number"], found["to"]["number"]) == (1, 2)
    files = found["files"]
    assert {"/srv/app/new", "/srv/app/new/file"} <= set(files["added"])
    assert "/srv/app/lost" in files["removed"]
    assert "/srv/app/kept" in files["changed"]
    assert "/srv/app/same" not in files["changed"]
    assert files["totalAdded"] == len(files["added"])
    assert found["settings"] == [{"field": "env.A", "from": "1", "to": "2"}]
    assert found["packages"] == {"added": [], "removed": [], "changed": []}
    assert found["size"]["from"] > 0
    same = api.get(f"/berm/templates/{template}/diff", params={"from": "1", "to": "1"}).json()
    assert (same["files"]["totalChanged"], same["settings"]) == (0, [])


def test_builds_that_are_not_ready_are_neither(api: httpx.Client) -> None:
    name = new_name()
    api.post("/v3/templates", json={"name": name})
    for path in ("export?tag=1", "diff?from=1&to=1"):
        response = api.get(f"/berm/templates/{name}/{path}")
        assert response.status_code == 409
        assert "build 1 is not ready: its status is waiting" in response.json()["message"]
