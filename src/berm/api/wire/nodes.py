"""The E2B answers about nodes, named after their schemas in the OpenAPI file."""

from berm import __version__
from berm.api.requests.nodes import CLUSTER
from berm.api.wire.common import Json, instant
from berm.control.nodes import NodeInfo


def node(info: NodeInfo, starting: int) -> Json:
    """`Node`."""
    return {**detail(info), "sandboxStartingCount": starting}


def detail(info: NodeInfo) -> Json:
    """`NodeDetail`."""
    machine = info.machine
    return {
        "id": info.state.node_id,
        "clusterID": str(CLUSTER),
        "serviceInstanceID": info.instance_id,
        "version": __version__,
        "commit": "",
        "status": info.state.status,
        "statusChangedAt": instant(info.state.changed_at),
        "sandboxCount": info.sandboxes,
        "createSuccesses": info.created,
        "createFails": info.failed,
        "metrics": _metrics(info),
        "machineInfo": {
            "cpuFamily": machine.cpu_family,
            "cpuModel": machine.cpu_model,
            "cpuModelName": machine.cpu_model_name,
            "cpuArchitecture": machine.cpu_architecture,
        },
    }


def _metrics(info: NodeInfo) -> Json:
    """`NodeMetrics`."""
    load = info.load
    return {
        "allocatedCPU": info.allocated_cpus,
        "allocatedMemoryBytes": info.allocated_memory,
        "cpuCount": load.cpu_count,
        "cpuPercent": round(load.cpu_percent),
        "memoryTotalBytes": load.memory_total,
        "memoryUsedBytes": load.memory_used,
        "hugePagesTotal": load.huge_pages.total,
        "hugePagesUsed": load.huge_pages.used,
        "hugePagesReserved": load.huge_pages.reserved,
        "hugePageSizeBytes": load.huge_pages.size,
        "disks": [
            {
                "mountPoint": disk.mount_point,
                "device": disk.device,
                "filesystemType": disk.kind,
                "usedBytes": disk.used,
                "totalBytes": disk.total,
            }
            for disk in load.disks
        ],
    }
