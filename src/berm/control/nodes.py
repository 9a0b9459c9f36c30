"""Nodes: what they are, how busy they are, and whether they take new sandboxes."""

import logging
import uuid
from dataclasses import dataclass

from berm.control.states import now
from berm.errors import BermError, Code
from berm.models import Machine, MachineLoad, NodeState, NodeStatus
from berm.node.interface import Node
from berm.observability.metrics import Metrics
from berm.store import nodes as store
from berm.store import sandboxes
from berm.store.database import Database

_LONGEST_ECHO = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """All there is to say about a node; memory in bytes."""

    state: NodeState
    instance_id: str
    """Of the server's process: another after each start, and the counts begin anew with it."""
    machine: Machine
    load: MachineLoad
    sandboxes: int
    allocated_cpus: int
    allocated_memory: int
    """What the running sandboxes may use at most, together."""
    created: int
    failed: int


class Nodes:
    """This machine is the only one. Its status is recorded: who drains a machine may restart its server."""

    def __init__(self, database: Database, node: Node, metrics: Metrics) -> None:
        self._database = database
        self._node = node
        self._metrics = metrics
        self._instance_id = str(uuid.uuid4())
        self._state = NodeState(node.node_id, NodeStatus.READY, now())

    async def start(self) -> None:
        found = await self._database.run(store.find, self._node.node_id)
        self._state = found or self._state
        if self._state.status is not NodeStatus.READY:
            log.warning("this node is %s: it takes no new sandboxes", self._state.status)

    def admit(self) -> None:
        """Raises BermError UNAVAILABLE while no new sandbox is wanted here. Asks memory only."""
        if self._state.status is not NodeStatus.READY:
            raise BermError(
                Code.UNAVAILABLE,
                f"this server is {self._state.status}: it takes no new sandboxes, those it has live on",
                f"the operator sets it ready with POST /nodes/{self._state.node_id}",
            )

    async def list(self) -> list[NodeInfo]:
        return [await self.get(self._node.node_id)]

    async def get(self, node_id: str) -> NodeInfo:
        """Raises BermError NOT_FOUND."""
        self._check(node_id)
        cpus, memory_mb = await self._database.run(sandboxes.allocated, now())
        return NodeInfo(
            state=self._state,
            instance_id=self._instance_id,
            machine=self._node.machine,
            load=await self._node.load(),
            sandboxes=len(self._node.running()),
            allocated_cpus=cpus,
            allocated_memory=memory_mb << 20,
            created=self._metrics.created,
            failed=self._metrics.failed,
        )

    async def set_status(self, node_id: str, status: NodeStatus) -> None:
        """Raises BermError NOT_FOUND."""
        self._check(node_id)
        if status is not self._state.status:
            state = NodeState(node_id, status, now())
            await self._database.run(store.put, state)
            self._state = state
            log.warning("this node is %s from now on", status)

    def _check(self, node_id: str) -> None:
        if node_id != self._node.node_id:
            raise BermError(Code.NOT_FOUND, f"node {node_id[:_LONGEST_ECHO]!r} not found", "GET /nodes")
