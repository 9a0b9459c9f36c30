"""Queries on nodes."""

from sqlalchemy import Connection, delete, insert, select

from berm.models import NodeState, NodeStatus
from berm.store.schema import nodes as table


def find(connection: Connection, node_id: str) -> NodeState | None:
    row = connection.execute(select(table).where(table.c.node_id == node_id)).first()
    return NodeState(row.node_id, NodeStatus(row.status), row.changed_at) if row else None


def put(connection: Connection, state: NodeState) -> None:
    """Record the status of a node, whatever was recorded of it before."""
    connection.execute(delete(table).where(table.c.node_id == state.node_id))
    values = {"node_id": state.node_id, "status": state.status, "changed_at": state.changed_at}
    connection.execute(insert(table), values)
