"""The E2B answers about snapshots and forks."""

from berm.api.errors import STATUS
from berm.api.wire import sandboxes
from berm.api.wire.common import Json
from berm.errors import BermError
from berm.models import Sandbox
from berm.store.snapshots import Snapshot


def snapshot(found: Snapshot) -> Json:
    """`SnapshotInfo`."""
    reference = f"{found.name}:{found.tag}"
    return {"snapshotID": reference, "names": [reference] if found.is_named else []}


def fork(result: Sandbox | BermError, domain: str) -> Json:
    """`SandboxForkResult`."""
    if isinstance(result, BermError):
        return {"error": {"code": STATUS[result.code], "message": str(result)}}
    return {"sandbox": sandboxes.sandbox(result, domain)}
