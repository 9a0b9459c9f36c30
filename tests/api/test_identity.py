"""Identity tokens of sandboxes, as they are asked for, and what they are checked with."""

from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from jwt.algorithms import ECAlgorithm

from berm.config import load
from berm.control.identity import Identities
from berm.errors import BermError
from berm.models import IdentityToken
from tests.api.checks import check_error
from tests.serving import Served

TOKENS = {"cloud": {"audience": "sts.example.com", "tokenType": "JWT-SVID"}}


def rules(value: str) -> dict[str, Any]:
    return {"a.com": [{"transform": {"headers": {"X": value}}}]}


def create(served: Served, tokens: object, value: str) -> httpx.Response:
    body = {"templateID": "base", "iam": {"tokens": tokens}, "network": {"rules": rules(value)}}
    return served.client.post("/v2/sandboxes", json=body)


def test_a_token_is_made_for_the_node_and_holds_for_the_audience(served: Served) -> None:
    made = create(served, TOKENS, "Bearer ${e2b.identity.tokens.cloud}").json()["sandboxID"]
    egress = served.node.specs[made].egress
    assert egress
    assert egress.tokens == {"cloud": IdentityToken("sts.example.com", "JWT-SVID")}
    assert egress.identity
    token = egress.identity("cloud")
    with httpx.Client(base_url=served.url) as anybody:
        told = anybody.get("/.well-known/openid-configuration").json()
        (key,) = anybody.get("/.well-known/jwks.json").json()["keys"]
    assert told["jwks_uri"] == f"{told['issuer']}/.well-known/jwks.json"
    assert "d" not in key
    claims = jwt.decode(token, jwt.PyJWK(key), ["ES256"], audience="sts.example.com", issuer=told["issuer"])
    assert claims["sub"] == f"spiffe://localhost/team/{served.team_id}/sandbox/{made}"
    assert claims["exp"] - claims["iat"] == 300
    assert jwt.get_unverified_header(token)["kid"] == key["kid"]
    assert egress.identity("cloud") != token


def test_an_update_leaves_them(served: Served) -> None:
    made = create(served, TOKENS, "x").json()["sandboxID"]
    body = {"rules": rules("${e2b.identity.tokens.cloud}")}
    assert served.client.put(f"/sandboxes/{made}/network", json=body).status_code == 204
    egress = served.node.policed[-1][1]
    assert egress.identity
    assert egress.identity("cloud").count(".") == 2
    body = {"rules": rules("${e2b.identity.tokens.other}")}
    response = served.client.put(f"/sandboxes/{made}/network", json=body)
    check_error(response, 400, "names the identity token 'other', which iam.tokens does not have")


@pytest.mark.parametrize(
    ("tokens", "value", "words"),
    [
        ({}, "${e2b.identity.tokens.cloud}", "names the identity token 'cloud', which iam.tokens does not"),
        (TOKENS, "${e2b.identity.tokens.clou}", "names the identity token 'clou'"),
        (TOKENS, "${e2b.identity.cloud}", "names no identity token"),
        (TOKENS, "${e2b.identity.tokens.}", "names no identity token"),
        ({"": TOKENS["cloud"]}, "x", "iam.tokens: '' cannot be a name"),
        ({"a}b": TOKENS["cloud"]}, "x", "iam.tokens: 'a}b' cannot be a name"),
        ({"a": {"audience": "x", "tokenType": "SAML"}}, "x", "iam.tokens.a.tokenType is 'SAML'"),
        ({"a": {"audience": "", "tokenType": "JWT-SVID"}}, "x", "iam.tokens.a.audience"),
        ({"a": {"tokenType": "JWT-SVID"}}, "x", "iam.tokens.a.audience is missing"),
        ({"a": {"audience": "x"}}, "x", "iam.tokens.a.tokenType is missing"),
        ({str(number): TOKENS["cloud"] for number in range(33)}, "x", "iam.tokens"),
    ],
)
def test_what_cannot_be_is_named(untouched: Served, tokens: object, value: str, words: str) -> None:
    check_error(create(untouched, tokens, value), 400, words)
    assert not untouched.node.specs


def test_the_key_outlives_the_server_in_a_file_of_the_owner_s(tmp_path: Path) -> None:
    config = load({"BERM_HOME": str(tmp_path), "BERM_IDENTITY_ISSUER": "https://berm.example.com/"})
    one, other = Identities(config), Identities(config)
    one.start(config.identity_key_file)
    other.start(config.identity_key_file)
    assert config.identity_key_file.stat().st_mode & 0o777 == 0o600
    assert other.keys() == one.keys()
    token = one.token("team", "sandbox", "a")
    key: Any = ECAlgorithm.from_jwk(other.keys()["keys"][0])
    claims = jwt.decode(token, key, ["ES256"], audience="a", issuer="https://berm.example.com")
    assert (claims["team_id"], claims["sandbox_id"]) == ("team", "sandbox")
    config.identity_key_file.write_text("nonsense")
    with pytest.raises(BermError, match="does not hold a key"):
        Identities(config).start(config.identity_key_file)
