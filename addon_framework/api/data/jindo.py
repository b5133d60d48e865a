"""JindoRuntime."""

from __future__ import annotations

from typing import ClassVar

from addon_framework.api.data.dataset import GROUP, SPOKE, User
from addon_framework.api.data.parts import (
    COLUMNS,
    SCALE_WITHOUT_SELECTOR,
    CleanCachePolicy,
    ClientMetrics,
    NetworkMode,
    PodMetadata,
    Ports,
    Replicas,
    Workers,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore, VersionSpec
from addon_framework.api.meta import Definition, ObjectMeta, Raw, RawList, Resource, Struct


class JindoPart(Struct, frozen=True):
    """What master, worker and client say alike. `networkmode` is the runtime's."""

    disabled: bool = False
    env: dict[str, str] = {}
    labels: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    pod_metadata: PodMetadata = PodMetadata()
    properties: dict[str, str] = {}
    resources: Raw = {}
    tolerations: RawList = []
    image_pull_secrets: RawList = []


class JindoServer(JindoPart, frozen=True):
    """The master or the workers."""

    replicas: Replicas | None = None
    ports: Ports = {}
    volume_mounts: RawList = []


class JindoFuse(JindoPart, frozen=True):
    """The client."""

    image: str = ""
    image_tag: str = ""
    image_pull_policy: str = ""
    args: list[str] = []
    clean_policy: str = ""
    log_config: dict[str, str] = {}
    metrics: ClientMetrics = ClientMetrics()


class JindoRuntimeSpec(Struct, frozen=True):
    """A cache shared by its workers."""

    jindo_version: VersionSpec = VersionSpec()
    master: JindoServer = JindoServer()
    worker: JindoServer = JindoServer()
    fuse: JindoFuse = JindoFuse()
    properties: dict[str, str] = {}
    tieredstore: TieredStore = TieredStore()
    replicas: Workers = 0
    run_as: User | None = None
    user: str = ""
    hadoop_config: str = ""
    secret: str = ""
    labels: dict[str, str] = {}
    log_config: dict[str, str] = {}
    networkmode: NetworkMode = ""
    clean_cache_policy: CleanCachePolicy | None = None
    volumes: RawList = []
    pod_metadata: PodMetadata = PodMetadata()
    image_pull_secrets: RawList = []


class JindoRuntime(Struct, frozen=True):
    """A cache by JindoCache."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "jindoruntimes", "JindoRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("jindo",),
        categories=("fluid",),
        places=SPOKE,
        columns=COLUMNS,
        scale=SCALE_WITHOUT_SELECTOR,
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: JindoRuntimeSpec = JindoRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()
