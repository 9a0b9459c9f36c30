"""The E2B answers about API keys and access tokens."""

from berm.api.wire.common import Json, instant
from berm.models import ApiKey, Credential

_PREFIXES = {Credential.API_KEY: "e2b_", Credential.ACCESS_TOKEN: "sk_e2b_"}


def api_key(key: ApiKey) -> Json:
    """`TeamAPIKey`."""
    return {
        "id": key.key_id,
        "name": key.name,
        "mask": _mask(key),
        "createdAt": instant(key.created_at),
        "createdBy": None,
        "lastUsed": key.last_used and instant(key.last_used),
    }


def new_key(key: ApiKey, secret: str) -> Json:
    """`CreatedTeamAPIKey`."""
    return {**api_key(key), "key": secret}


def access_token(key: ApiKey, secret: str) -> Json:
    """`CreatedAccessToken`."""
    return {
        "id": key.key_id,
        "name": key.name,
        "token": secret,
        "mask": _mask(key),
        "createdAt": instant(key.created_at),
    }


def _mask(key: ApiKey) -> Json:
    """`IdentifierMaskingDetails`."""
    prefix = _PREFIXES[key.kind]
    return {
        "prefix": prefix,
        "valueLength": key.length - len(prefix),
        "maskedValuePrefix": key.prefix.removeprefix(prefix),
        "maskedValueSuffix": key.suffix,
    }
