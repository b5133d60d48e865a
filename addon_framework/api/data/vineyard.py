"""VineyardRuntime."""

from __future__ import annotations

from typing import ClassVar

from addon_framework.api.data.dataset import GROUP, SPOKE, EncryptOption
from addon_framework.api.data.fields import (
    CleanPolicy,
    DisablePrometheus,
    EnvMap,
    Image,
    ImageTag,
    NetworkMode,
    PullPolicy,
    Resources,
    VolumeMounts,
    Volumes,
    Workers,
)
from addon_framework.api.data.parts import (
    GATEWAY_COLUMNS,
    SCALE,
    PodMetadata,
    Server,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore
from addon_framework.api.meta import Definition, ObjectMeta, Resource, Struct


class ExternalEndpoint(Struct, frozen=True):
    """A metadata service that runs elsewhere."""

    uri: str = ""
    """Its address, such as http://etcd:2379."""
    options: dict[str, str] = {}
    """Refused: vineyardd connects without any."""
    encrypt_options: list[EncryptOption] = []
    """Refused: vineyardd connects without any."""


class VineyardWorker(Server, frozen=True):
    """vineyardd."""

    image: Image = ""
    image_tag: ImageTag = ""
    image_pull_policy: PullPolicy = ""
    env: EnvMap = {}
    options: dict[str, str] = {}
    """vineyardd.reserve.memory (true or false), etcd.prefix and wait.etcd.timeout (seconds)."""
    volume_mounts: VolumeMounts = []


class VineyardMaster(VineyardWorker, frozen=True):
    """etcd, ours or another's."""

    endpoint: ExternalEndpoint = ExternalEndpoint()
    """An etcd that is there already, instead of ours. Default: ours."""


class VineyardFuse(Struct, frozen=True):
    """The client side: a socket and a configuration, not a file system."""

    image: Image = ""
    image_tag: ImageTag = ""
    image_pull_policy: PullPolicy = ""
    env: EnvMap = {}
    options: dict[str, str] = {}
    """size (bytes of memory where a node has no worker), etcd_endpoint and etcd_prefix."""
    network_mode: NetworkMode = ""
    pod_metadata: PodMetadata = PodMetadata()
    resources: Resources = {}
    clean_policy: CleanPolicy = ""


class VineyardRuntimeSpec(Struct, frozen=True):
    """Immutable objects in the shared memory of nodes."""

    master: VineyardMaster = VineyardMaster()
    """etcd, which knows the objects."""
    worker: VineyardWorker = VineyardWorker()
    """The workers, which hold the objects; `replicas` is how many."""
    fuse: VineyardFuse = VineyardFuse()
    """On every node, what keeps the socket in the volume."""
    tieredstore: TieredStore = TieredStore()
    """Level 1, of MEM: the memory for objects. Level 2, if there is one: the directory they are spilt to."""
    replicas: Workers = 0
    disable_prometheus: DisablePrometheus = False
    volumes: Volumes = []
    pod_metadata: PodMetadata = PodMetadata()
    """Labels and annotations of all pods; those of a part win."""


class VineyardRuntime(Struct, frozen=True):
    """Objects in memory, by Vineyard."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "vineyardruntimes", "VineyardRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("v6d",), categories=("fluid",), places=SPOKE, columns=GATEWAY_COLUMNS, scale=SCALE
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: VineyardRuntimeSpec = VineyardRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()
