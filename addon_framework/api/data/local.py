"""LocalRuntime, which is ours."""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.data.dataset import AGE, SPOKE, SecretKeySelector
from addon_framework.api.data.fields import NodeSelector, Resources, Tolerations
from addon_framework.api.data.parts import SCALE, PodMetadata
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore
from addon_framework.api.meta import Definition, ObjectMeta, Resource, Struct, schema

LOCAL_GROUP = "data.boundaryless.io"


class LocalPeers(Struct, frozen=True):
    """Nodes fetch from each other before the origin, and from `addresses` (host:port) of workers elsewhere.

    They show each other a token: the Secret's, or one that follows from the sources' credentials.
    """

    enabled: Annotated[bool, schema(default=True)] = True
    """False: nodes read the origin only. Default: true."""
    token_secret: SecretKeySelector | None = None
    """The Secret with the token. Default: a token that follows from the sources' credentials; without such,
    as with pvc://, nodes then do not share.
    """
    addresses: list[str] = []
    """Workers elsewhere that have the data, as host:port, such as another cluster's."""


class LocalWorker(Struct, frozen=True):
    """Where the cache is, and what its workers and loads may use."""

    node_selector: NodeSelector = {}
    tolerations: Tolerations = []
    resources: Resources = {}
    pod_metadata: PodMetadata = PodMetadata()


class LocalRuntimeSpec(Struct, frozen=True):
    """Copies on the nodes' own disks. `replicas` 0 means every node that fits."""

    replicas: Annotated[int, schema(minimum=0, format="int32")] = 0
    """On how many nodes a copy is. Default: 0, every node that fits."""
    tieredstore: TieredStore = TieredStore()
    """The directory and its size: one level, on the node's disk or in its memory."""
    worker: LocalWorker = LocalWorker()
    """The pods that own the copies, and what they and loads may use."""
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
