"""AlluxioRuntime."""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.data.dataset import GROUP, SPOKE, User
from addon_framework.api.data.parts import (
    GATEWAY_COLUMNS,
    SCALE,
    InitUsers,
    Part,
    PodMetadata,
    RuntimeManagement,
    Server,
    Workers,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore, VersionSpec
from addon_framework.api.meta import Definition, ObjectMeta, RawList, Resource, Struct, schema


class AlluxioServer(Server, frozen=True):
    """One of master, jobMaster, worker, jobWorker and apiGateway."""

    enabled: bool = False
    env: dict[str, str] = {}
    jvm_options: list[str] = []
    properties: dict[str, str] = {}
    volume_mounts: RawList = []
    image_pull_secrets: RawList = []


class AlluxioFuse(Part, frozen=True):
    """The client."""

    image: str = ""
    image_tag: str = ""
    image_pull_policy: str = ""
    args: list[str] = []
    env: dict[str, str] = {}
    jvm_options: list[str] = []
    properties: dict[str, str] = {}
    volume_mounts: RawList = []
    image_pull_secrets: RawList = []
    clean_policy: str = ""


class AlluxioData(Struct, frozen=True):
    """How many copies of a file the workers keep, and whether loaded ones are never evicted."""

    replicas: Annotated[int, schema(format="int32")] = 0
    pin: bool = False


class AlluxioRuntimeSpec(Struct, frozen=True):
    """A cache shared by its workers."""

    alluxio_version: VersionSpec = VersionSpec()
    init_users: InitUsers = InitUsers()
    master: AlluxioServer = AlluxioServer()
    job_master: AlluxioServer = AlluxioServer()
    worker: AlluxioServer = AlluxioServer()
    job_worker: AlluxioServer = AlluxioServer()
    api_gateway: AlluxioServer = AlluxioServer()
    fuse: AlluxioFuse = AlluxioFuse()
    properties: dict[str, str] = {}
    jvm_options: list[str] = []
    tieredstore: TieredStore = TieredStore()
    data: AlluxioData = AlluxioData()
    replicas: Workers = 0
    run_as: User | None = None
    disable_prometheus: bool = False
    hadoop_config: str = ""
    volumes: RawList = []
    pod_metadata: PodMetadata = PodMetadata()
    management: RuntimeManagement = RuntimeManagement()
    image_pull_secrets: RawList = []


class AlluxioRuntime(Struct, frozen=True):
    """A cache by Alluxio."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "alluxioruntimes", "AlluxioRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("alluxio",), categories=("fluid",), places=SPOKE, columns=GATEWAY_COLUMNS, scale=SCALE
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: AlluxioRuntimeSpec = AlluxioRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()
