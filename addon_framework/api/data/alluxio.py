"""AlluxioRuntime."""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.data.dataset import GROUP, SPOKE, User
from addon_framework.api.data.fields import (
    CleanPolicy,
    DisablePrometheus,
    EnvMap,
    Image,
    ImageTag,
    JvmOptions,
    Properties,
    PullPolicy,
    PullSecrets,
    VolumeMounts,
    Volumes,
    Workers,
)
from addon_framework.api.data.parts import (
    GATEWAY_COLUMNS,
    SCALE,
    InitUsers,
    Part,
    PodMetadata,
    RuntimeManagement,
    Server,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore, VersionSpec
from addon_framework.api.meta import Definition, ObjectMeta, Resource, Struct, schema


class AlluxioServer(Server, frozen=True):
    """One of master, jobMaster, worker, jobWorker and apiGateway."""

    enabled: bool = False
    """True: it runs. Only apiGateway has this; the others always run."""
    env: EnvMap = {}
    jvm_options: JvmOptions = []
    properties: Properties = {}
    volume_mounts: VolumeMounts = []
    image_pull_secrets: PullSecrets = []


class AlluxioFuse(Part, frozen=True):
    """The client."""

    image: Image = ""
    image_tag: ImageTag = ""
    image_pull_policy: PullPolicy = ""
    args: list[str] = []
    """Arguments of the client, instead of the usual ones."""
    env: EnvMap = {}
    jvm_options: JvmOptions = []
    properties: Properties = {}
    volume_mounts: VolumeMounts = []
    image_pull_secrets: PullSecrets = []
    clean_policy: CleanPolicy = ""


class AlluxioData(Struct, frozen=True):
    """How many copies of a file the workers keep, and whether loaded ones are never evicted."""

    replicas: Annotated[int, schema(format="int32")] = 0
    """Copies of a file that the workers keep at most. Default: 1."""
    pin: bool = False
    """True: what a DataLoad has loaded is never evicted."""


class AlluxioRuntimeSpec(Struct, frozen=True):
    """A cache shared by its workers."""

    alluxio_version: VersionSpec = VersionSpec()
    """Image of all servers."""
    init_users: InitUsers = InitUsers()
    """The container that makes the users of `runAs` known; only with `runAs`."""
    master: AlluxioServer = AlluxioServer()
    """The masters, which know the files: 1, 3 or 5."""
    job_master: AlluxioServer = AlluxioServer()
    """Hands out loads; it runs in the masters' pods."""
    worker: AlluxioServer = AlluxioServer()
    """The workers, which hold the data; `replicas` is how many."""
    job_worker: AlluxioServer = AlluxioServer()
    """Loads; it runs in the workers' pods."""
    api_gateway: AlluxioServer = AlluxioServer()
    """A REST gateway beside the masters, if it is enabled."""
    fuse: AlluxioFuse = AlluxioFuse()
    """The clients, which mount the data on nodes."""
    properties: Properties = {}
    """Alluxio's properties, for all parts; those of a part win."""
    jvm_options: JvmOptions = []
    """Options of the Java machines of all parts."""
    tieredstore: TieredStore = TieredStore()
    """Where workers keep data."""
    data: AlluxioData = AlluxioData()
    """Copies, and whether they stay."""
    replicas: Workers = 0
    run_as: User | None = None
    """The user of the servers, whose the cached files are. Default: root."""
    disable_prometheus: DisablePrometheus = False
    hadoop_config: str = ""
    """A ConfigMap with hdfs-site.xml and core-site.xml, for hdfs:// sources."""
    volumes: Volumes = []
    pod_metadata: PodMetadata = PodMetadata()
    """Labels and annotations of all pods; those of a part win."""
    management: RuntimeManagement = RuntimeManagement()
    image_pull_secrets: PullSecrets = []


class AlluxioRuntime(Struct, frozen=True):
    """A cache by Alluxio."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "alluxioruntimes", "AlluxioRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("alluxio",), categories=("fluid",), places=SPOKE, columns=GATEWAY_COLUMNS, scale=SCALE
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: AlluxioRuntimeSpec = AlluxioRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()
