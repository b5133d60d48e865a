"""LocalRuntime, which is ours."""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.data.dataset import AGE, SPOKE, SecretKeySelector
from addon_framework.api.data.parts import SCALE, PodMetadata
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore
from addon_framework.api.meta import Definition, ObjectMeta, Raw, RawList, Resource, Struct, schema

LOCAL_GROUP = "data.boundaryless.io"


class LocalPeers(Struct, frozen=True):
    """Nodes fetch from each other before the origin, and from `addresses` (host:port) of workers elsewhere.

    They show each other a token: the Secret's, or one that follows from the sources' credentials.
    """

    enabled: Annotated[bool, schema(default=True)] = True
    token_secret: SecretKeySelector | None = None
    addresses: list[str] = []


class LocalWorker(Struct, frozen=True):
    """Where the cache is, and what its workers and loads may use."""

    node_selector: dict[str, str] = {}
    tolerations: RawList = []
    resources: Raw = {}
    pod_metadata: PodMetadata = PodMetadata()


class LocalRuntimeSpec(Struct, frozen=True):
    """Copies on the nodes' own disks. `replicas` 0 means every node that fits."""

    replicas: Annotated[int, schema(minimum=0, format="int32")] = 0
    tieredstore: TieredStore = TieredStore()
    worker: LocalWorker = LocalWorker()
    peers: LocalPeers = LocalPeers()


class LocalRuntime(Struct, frozen=True):
    """Our node-local cache: parallel ranged reads into a directory of the node, no FUSE."""

    RESOURCE: ClassVar = Resource(LOCAL_GROUP, "v1alpha1", "localruntimes", "LocalRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("localcache",),
        categories=("fluid",),
        places=SPOKE,
        columns=(("Worker Phase", "string", ".status.workerPhase"), AGE),
        scale=SCALE,
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: LocalRuntimeSpec = LocalRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()
