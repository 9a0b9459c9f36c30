"""The services that the API, the gateway and the command line stand on."""

from dataclasses import dataclass

from berm.config import Config
from berm.control.activity import Activities
from berm.control.admin import Admin
from berm.control.builds import Builds
from berm.control.creation import Creator
from berm.control.history import History
from berm.control.identity import Identities
from berm.control.images import Images
from berm.control.ingress import Ingresses
from berm.control.keys import Keys
from berm.control.layers import Layers
from berm.control.limits import Limiter
from berm.control.metering import Metering
from berm.control.networks import Networks
from berm.control.nodes import Nodes
from berm.control.pauses import Pauses
from berm.control.products import Products
from berm.control.reconcile import Reconciler
from berm.control.sandboxes import Sandboxes
from berm.control.secrets import Secrets
from berm.control.snapshots import Snapshots
from berm.control.teams import Teams
from berm.control.templates import Templates
from berm.control.usage import Sampler
from berm.control.volumes import Volumes
from berm.control.workshop import Workshop
from berm.node.interface import Node
from berm.observability.metrics import Metrics
from berm.store.database import Database


@dataclass(frozen=True, slots=True)
class Control:
    """All services over one database and one node."""

    config: Config
    database: Database
    keys: Keys
    teams: Teams
    admin: Admin
    secrets: Secrets
    templates: Templates
    history: History
    builds: Builds
    products: Products
    workshop: Workshop
    volumes: Volumes
    sandboxes: Sandboxes
    pauses: Pauses
    snapshots: Snapshots
    networks: Networks
    identities: Identities
    reconciler: Reconciler
    metering: Metering
    usage: Sampler
    activity: Activities
    nodes: Nodes

    @classmethod
    def over(cls, database: Database, node: Node, config: Config) -> "Control":
        metrics = Metrics()
        templates = Templates(database, metrics)
        workshop = Workshop(node, Layers(database))
        images = Images(templates, workshop)
        nodes = Nodes(database, node, metrics)
        limiter, ingresses = Limiter(node, config), Ingresses()
        secrets = Secrets(database)
        identities = Identities(config)
        networks = Networks(database, node, secrets.value, identities)
        volumes = Volumes(database, node)
        pauses = Pauses(database, node, config, limiter=limiter, networks=networks, volumes=volumes)
        reconciler = Reconciler(database, node, pauses, ingresses)
        creator = Creator(
            database,
            node,
            templates,
            reconciler,
            config,
            ingresses=ingresses,
            limiter=limiter,
            networks=networks,
            volumes=volumes,
            metrics=metrics,
            nodes=nodes,
        )
        sandboxes = Sandboxes(
            database, node, creator, reconciler, pauses=pauses, ingresses=ingresses, networks=networks
        )
        keys = Keys(database)
        builds = Builds(node, templates, images, workshop, config)
        return cls(
            config=config,
            database=database,
            keys=keys,
            teams=Teams(database, limiter),
            admin=Admin(database, keys, sandboxes, builds),
            secrets=secrets,
            templates=templates,
            history=History(database),
            products=Products(workshop, config.home / "work"),
            workshop=workshop,
            builds=builds,
            sandboxes=sandboxes,
            pauses=pauses,
            networks=networks,
            identities=identities,
            snapshots=Snapshots(database, workshop, sandboxes, templates, creator=creator, pauses=pauses),
            volumes=volumes,
            reconciler=reconciler,
            metering=Metering(database, node, metrics),
            activity=Activities(database),
            nodes=nodes,
            usage=Sampler(node, database, config.home / "usage.jsonl"),
        )

    async def start(self) -> None:
        """Open the database and agree with the node, which must have been started."""
        await self.database.start()
        await self.keys.start(self.config.key_file)
        await self.teams.start()
        await self.admin.start(self.config.admin_token_file)
        await self.secrets.start(self.config.secrets_key_file)
        await self.nodes.start()
        await self.reconciler.start()
        await self.pauses.start()
        self.identities.start(self.config.identity_key_file)
        await self.networks.start(self.config.networks_key_file)
        await self.volumes.start()
        await self.sandboxes.start()
        await self.usage.start()
        await self.activity.start()
        await self.workshop.start(self.config.home / "boot")
        await self.products.start()
        await self.builds.start()

    async def close(self) -> None:
        """Finish what was begun and let go of the database; sandboxes live on."""
        await self.builds.close()
        await self.sandboxes.close()
        await self.pauses.close()
        await self.usage.close()
        await self.activity.close()
        await self.volumes.close()
        await self.reconciler.close()
        await self.keys.close()
        await self.database.close()
