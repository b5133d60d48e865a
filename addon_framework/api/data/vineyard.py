"""VineyardRuntime."""

from __future__ import annotations

from typing import ClassVar

from addon_framework.api.data.dataset import GROUP, SPOKE, EncryptOption
from addon_framework.api.data.parts import (
    GATEWAY_COLUMNS,
    SCALE,
    NetworkMode,
    PodMetadata,
    Server,
    Workers,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore
from addon_framework.api.meta import Definition, ObjectMeta, Raw, RawList, Resource, Struct


class ExternalEndpoint(Struct, frozen=True):
    """A metadata service that runs elsewhere."""

    uri: str = ""
    options: dict[str, str] = {}
    encrypt_options: list[EncryptOption] = []


class VineyardWorker(Server, frozen=True):
    """vineyardd."""

    image: str = ""
    image_tag: str = ""
    image_pull_policy: str = ""
    env: dict[str, str] = {}
    options: dict[str, str] = {}
    volume_mounts: RawList = []


class VineyardMaster(VineyardWorker, frozen=True):
    """etcd, ours or another's."""

    endpoint: ExternalEndpoint = ExternalEndpoint()


class VineyardFuse(Struct, frozen=True):
    """The client side: a socket and a configuration, not a file system."""

    image: str = ""
    image_tag: str = ""
    image_pull_policy: str = ""
    env: dict[str, str] = {}
    options: dict[str, str] = {}
    network_mode: NetworkMode = ""
    pod_metadata: PodMetadata = PodMetadata()
    resources: Raw = {}
    clean_policy: str = ""


class VineyardRuntimeSpec(Struct, frozen=True):
    """Immutable objects in the shared memory of nodes."""

    master: VineyardMaster = VineyardMaster()
    worker: VineyardWorker = VineyardWorker()
    fuse: VineyardFuse = VineyardFuse()
    tieredstore: TieredStore = TieredStore()
    replicas: Workers = 0
    disable_prometheus: bool = False
    volumes: RawList = []
    pod_metadata: PodMetadata = PodMetadata()


class VineyardRuntime(Struct, frozen=True):
    """Objects in memory, by Vineyard."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "vineyardruntimes", "VineyardRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("v6d",), categories=("fluid",), places=SPOKE, columns=GATEWAY_COLUMNS, scale=SCALE
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: VineyardRuntimeSpec = VineyardRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()
