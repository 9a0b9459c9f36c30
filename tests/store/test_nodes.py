from berm.models import NodeState, NodeStatus
from berm.store import nodes as store
from berm.store.database import Database
from tests.store.samples import MINUTE, NOON


async def test_the_last_status_of_a_node_counts(database: Database) -> None:
    assert await database.run(store.find, "one") is None
    for status, at in ((NodeStatus.DRAINING, NOON), (NodeStatus.READY, NOON + MINUTE)):
        await database.run(store.put, NodeState("one", status, at))
    assert await database.run(store.find, "one") == NodeState("one", NodeStatus.READY, NOON + MINUTE)
    assert await database.run(store.find, "two") is None
