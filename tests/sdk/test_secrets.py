"""Secrets through both halves of the SDK."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from e2b import AsyncSecret, Secret, SecretException, SecretInfo, SecretNotFoundException

from tests.instance import Instance

pytestmark = [pytest.mark.sdk, pytest.mark.root]

VALUE = f"plain-value-{uuid4()}"


@pytest.fixture
def name() -> Iterator[str]:
    name = f"name-{uuid4()}"
    yield name
    Secret.destroy(name)


def everything(limit: int) -> list[SecretInfo]:
    paginator, found = Secret.list(limit=limit), []
    while paginator.has_next:
        found += paginator.next_items()
    return found


def test_a_secret_from_its_making_to_its_end(name: str) -> None:
    made = Secret.create(name.upper(), VALUE, metadata={"of": "us"})
    assert (made.name, made.version, made.metadata) == (name, 1, {"of": "us"})
    assert Secret.get_info(name) == Secret.get_info(made.secret_id) == made
    updated = Secret.update(name, "new")
    assert (updated.version, updated.metadata, updated.created_at) == (2, {"of": "us"}, made.created_at)
    assert Secret.update(made.secret_id, "newer", metadata={}).metadata == {}
    assert Secret.exists(name)
    assert Secret.destroy(name)
    assert not Secret.destroy(name)
    assert not Secret.exists(name)
    with pytest.raises(SecretNotFoundException):
        Secret.get_info(name)
    with pytest.raises(SecretNotFoundException):
        Secret.update(name, "v")


async def test_the_same_asynchronously(name: str) -> None:
    made = await AsyncSecret.create(name, VALUE)
    assert (await AsyncSecret.update(name, "new")).version == 2
    assert (await AsyncSecret.get_info(made.secret_id)).version == 2
    listed = await AsyncSecret.list().next_items()
    assert name in [secret.name for secret in listed]
    assert await AsyncSecret.destroy(name)
    assert not await AsyncSecret.exists(name)


def test_the_list_has_pages(name: str) -> None:
    names = [name, *(f"{name}-{number}" for number in range(4))]
    for each in names:
        Secret.create(each, VALUE)
    try:
        listed = [secret.name for secret in everything(2)]
        assert listed[: len(names)] == names[::-1]
        begun = Secret.list(limit=1)
        assert [secret.name for secret in begun.next_items()] == names[:-2:-1]
        rest = Secret.list(limit=10, next_token=begun.next_token)
        assert [secret.name for secret in rest.next_items()] == listed[1:11]
    finally:
        for each in names[1:]:
            Secret.destroy(each)


def test_refusals_tell_what_is_wrong_and_no_value(name: str) -> None:
    Secret.create(name, VALUE)
    with pytest.raises(SecretException, match="there is a secret") as taken:
        Secret.create(name, VALUE)
    with pytest.raises(SecretException, match="letters, digits") as unusable:
        Secret.create("a name", VALUE)
    assert VALUE not in f"{taken.value} {unusable.value}"


def test_a_value_is_in_no_file_of_the_server(name: str, berm: Instance) -> None:
    Secret.create(name, VALUE, metadata={"found": name})
    database = b"".join((berm.home / file).read_bytes() for file in ("berm.db", "berm.db-wal"))
    assert name.encode() in database
    assert VALUE.encode() not in database
    assert VALUE.encode() not in (berm.home / "run/server.log").read_bytes()
