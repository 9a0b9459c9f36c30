"""What others need to check the tokens of sandboxes: OpenID Connect Discovery 1.0. No key is asked for."""

from typing import Any

from fastapi import APIRouter, Request

from berm.control.control import Control
from berm.control.identity import ALGORITHM, Identities

router = APIRouter()

_KEYS = "/.well-known/jwks.json"


@router.get("/.well-known/openid-configuration")
async def configuration(request: Request) -> dict[str, Any]:
    issuer = _identities(request).issuer
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}{_KEYS}",
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "claims_supported": ["iss", "sub", "aud", "iat", "exp", "jti", "team_id", "sandbox_id"],
    }


@router.get(_KEYS)
async def keys(request: Request) -> dict[str, Any]:
    return _identities(request).keys()


def _identities(request: Request) -> Identities:
    control: Control = request.app.state.control
    return control.identities
