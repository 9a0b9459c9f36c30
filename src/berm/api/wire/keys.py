"""The E2B answers about API keys."""

from berm.api.wire.common import Json, instant
from berm.models import ApiKey


def api_key(key: ApiKey) -> Json:
    """`TeamAPIKey`."""
    return {
        "id": key.key_id,
        "name": key.name,
        "mask": {
            "prefix": "e2b_",
            "valueLength": key.length - len("e2b_"),
            "maskedValuePrefix": key.prefix.removeprefix("e2b_"),
            "maskedValueSuffix": key.suffix,
        },
        "createdAt": instant(key.created_at),
        "createdBy": None,
        "lastUsed": key.last_used and instant(key.last_used),
    }
