"""The services that the API, the gateway and the command line stand on."""

from dataclasses import dataclass

from berm.config import Config
from berm.control.keys import Keys
from berm.control.reconcile import Reconciler
from berm.control.sandboxes import Sandboxes
from berm.control.templates import Templates
from berm.node.interface import Node
from berm.store.database import Database


@dataclass(frozen=True, slots=True)
class Control:
    """All services over one database and one node."""

    config: Config
    database: Database
    keys: Keys
    templates: Templates
    sandboxes: Sandboxes
    reconciler: Reconciler

    @classmethod
    def over(cls, database: Database, node: Node, config: Config) -> "Control":
        templates = Templates(database)
        reconciler = Reconciler(database, node)
        return cls(
            config=config,
            database=database,
            keys=Keys(database),
            templates=templates,
            sandboxes=Sandboxes(database, node, templates, reconciler, config),
            reconciler=reconciler,
        )

    async def start(self) -> None:
        """Open the database and agree with the node, which must have been started."""
        await self.database.start()
        await self.keys.start(self.config.key_file)
        await self.reconciler.start()
        await self.sandboxes.start()

    async def close(self) -> None:
        """Finish what was begun and let go of the database; sandboxes live on."""
        await self.sandboxes.close()
        await self.reconciler.close()
        await self.keys.close()
        await self.database.close()
