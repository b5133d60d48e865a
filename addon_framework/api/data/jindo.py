"""JindoRuntime."""

from __future__ import annotations

from typing import ClassVar

from addon_framework.api.data.dataset import GROUP, SPOKE, User
from addon_framework.api.data.fields import (
    CleanPolicy,
    EnvMap,
    Image,
    ImageTag,
    NetworkMode,
    NodeSelector,
    Ports,
    Properties,
    PullPolicy,
    PullSecrets,
    Replicas,
    Resources,
    Tolerations,
    VolumeMounts,
    Volumes,
    Workers,
)
from addon_framework.api.data.parts import (
    COLUMNS,
    SCALE_WITHOUT_SELECTOR,
    CleanCachePolicy,
    ClientMetrics,
    PodMetadata,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore, VersionSpec
from addon_framework.api.meta import Definition, ObjectMeta, Resource, Struct


class JindoPart(Struct, frozen=True):
    """What master, worker and client say alike. `networkmode` is the runtime's."""

    disabled: bool = False
    """True: it does not run. Master and worker go together: then clients read the source themselves. A client
    cannot be disabled.
    """
    env: EnvMap = {}
    labels: dict[str, str] = {}
    """The old name of podMetadata.labels; say one of them."""
    node_selector: NodeSelector = {}
    pod_metadata: PodMetadata = PodMetadata()
    properties: Properties = {}
    resources: Resources = {}
    tolerations: Tolerations = []
    image_pull_secrets: PullSecrets = []


class JindoServer(JindoPart, frozen=True):
    """The master or the workers."""

    replicas: Replicas | None = None
    ports: Ports = {}
    volume_mounts: VolumeMounts = []


class JindoFuse(JindoPart, frozen=True):
    """The client."""

    image: Image = ""
    image_tag: ImageTag = ""
    image_pull_policy: PullPolicy = ""
    args: list[str] = []
    """Arguments of the client, instead of those for read-only or writable data."""
    clean_policy: CleanPolicy = ""
    log_config: dict[str, str] = {}
    """Settings of its log: values by name."""
    metrics: ClientMetrics = ClientMetrics()
    """Whether clients serve metrics."""


class JindoRuntimeSpec(Struct, frozen=True):
    """A cache shared by its workers."""

    jindo_version: VersionSpec = VersionSpec()
    """Image of the masters and workers."""
    master: JindoServer = JindoServer()
    """The masters, which know the files: 1 or 3."""
    worker: JindoServer = JindoServer()
    """The workers, which hold the data; `replicas` is how many."""
    fuse: JindoFuse = JindoFuse()
    """The clients, which mount the data on nodes."""
    properties: Properties = {}
    """Properties of the clients, by name; those of `fuse` win. Servers have their own, by part."""
    tieredstore: TieredStore = TieredStore()
    """Where workers keep data: one level, which may have several paths."""
    replicas: Workers = 0
    run_as: User | None = None
    """Has no effect: the servers run as root; see `user`."""
    user: str = ""
    """The user whose the files seem to be."""
    hadoop_config: str = ""
    """A ConfigMap with hdfs-site.xml and core-site.xml, for hdfs:// sources."""
    secret: str = ""
    """A Secret with the keys of the source, instead of encryptOptions."""
    labels: dict[str, str] = {}
    """The old name of podMetadata.labels; say one of them."""
    log_config: dict[str, str] = {}
    """Settings of the servers' logs: values by name."""
    networkmode: NetworkMode = ""
    clean_cache_policy: CleanCachePolicy | None = None
    """How the cache is cleaned when it goes."""
    volumes: Volumes = []
    pod_metadata: PodMetadata = PodMetadata()
    """Labels and annotations of all pods; those of a part win."""
    image_pull_secrets: PullSecrets = []


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
