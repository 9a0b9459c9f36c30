"""The E2B answers about secrets: never a value."""

from berm.api.wire.common import Json, instant
from berm.store.secrets import Secret


def secret(found: Secret) -> Json:
    """`Secret`."""
    return {
        "secretID": found.secret_id,
        "name": found.name,
        "currentVersion": found.version,
        "metadata": dict(found.metadata),
        "createdAt": instant(found.created_at),
        "updatedAt": instant(found.updated_at),
    }
