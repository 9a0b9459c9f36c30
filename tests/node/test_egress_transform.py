"""Headers of rules, and the secrets in them."""

import pytest

from berm.errors import BermError, Code
from berm.models import Egress
from berm.node.egress import transform
from berm.node.egress.dial import RefusedError

RULES = {
    "*.example.com": {"X-A": "1", "X-B": "1"},
    "api.example.com": {"x-a": "2", "Authorization": "Bearer ${e2b.secrets.API_KEY}"},
}


async def secret(name: str) -> str:
    values = {"API_KEY": "s3cret", "TWO_LINES": "a\r\nX-Evil: 1"}
    if name not in values:
        raise BermError(Code.NOT_FOUND, "the secret was not found")
    return values[name]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("www.example.com", {"X-A": "1", "X-B": "1"}),
        ("API.example.com", {"x-a": "2", "X-B": "1", "Authorization": "Bearer ${e2b.secrets.API_KEY}"}),
        ("example.com", {}),
        ("*.example.com", {}),
        (None, {}),
    ],
)
def test_all_rules_for_a_host_count_together(name: str | None, found: dict[str, str]) -> None:
    assert transform.headers(RULES, name) == found


def test_the_secrets_that_are_named() -> None:
    assert transform.secrets(RULES) == {"API_KEY"}


async def test_a_secret_takes_its_place() -> None:
    wanted = {"A": "x ${e2b.secrets.API_KEY} y ${e2b.secrets.API_KEY}", "B": "${e2b.other.API_KEY}"}
    assert await transform.resolved(wanted, Egress(secret=secret)) == {
        "A": "x s3cret y s3cret",
        "B": "${e2b.other.API_KEY}",
    }


@pytest.mark.parametrize("name", ["MISSING", "TWO_LINES"])
async def test_one_that_is_not_there_or_no_value_is_no_header(name: str) -> None:
    with pytest.raises(RefusedError, match=name) as failure:
        await transform.resolved({"A": f"${{e2b.secrets.{name}}}"}, Egress(secret=secret))
    assert "Evil" not in str(failure.value)


async def test_without_anybody_who_gives_secrets_there_are_none() -> None:
    with pytest.raises(RefusedError, match="API_KEY"):
        await transform.resolved(RULES["api.example.com"], Egress())


async def test_an_identity_takes_its_place_and_is_not_read_again() -> None:
    wanted = {
        "A": "Bearer ${e2b.identity.tokens.my token}",
        "B": "${e2b.identity.tokens.${e2b.secrets.API_KEY}}",
    }
    made = Egress(secret=secret, identity=lambda name: f"<{name}>")
    assert await transform.resolved(wanted, made) == {
        "A": "Bearer <my token>",
        "B": "${e2b.identity.tokens.s3cret}",
    }
    with pytest.raises(RefusedError, match="identity token"):
        await transform.resolved({"A": "${e2b.identity.tokens.a}"}, Egress(secret=secret))
